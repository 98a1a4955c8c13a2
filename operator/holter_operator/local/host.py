"""Carries out a plan: publishes files, starts and stops components and jobs, keeps the schedules."""

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Iterable

import structlog
from tenacity.wait import wait_base

from holter_operator.local import files
from holter_operator.local.changes import changes
from holter_operator.local.cron import Schedule
from holter_operator.local.process import Process, Register
from holter_operator.local.specs import CronSpec, Plan, ProcessSpec
from holter_operator.local.supervisor import BACKOFF, Component, State, exit_in_words

STOP_FIRST = ("ingest",)
"""Stopped before the others, so that the worker still sees what ingest took in."""


class Host:
    """What runs.

    Args:
        log: our own log.
        line: takes each line that a process writes: (component, text).
        register: remembers processes across a kill of this one.
        finished: called with a job's spec after it succeeded.
        learning: whether no model revision exists.
        changed: called when the state of a component changes.
        backoff: between restarts.
    """

    def __init__(
        self,
        *,
        log: structlog.typing.FilteringBoundLogger,
        line: Callable[[str, str], None],
        register: Register,
        finished: Callable[[ProcessSpec], None],
        learning: Callable[[], bool],
        changed: Callable[[], None] = lambda: None,
        backoff: wait_base = BACKOFF,
    ) -> None:
        self.plan = Plan()
        self.components: dict[str, Component] = {}
        self._log = log
        self._line = line
        self._register = register
        self._finished = finished
        self._learning = learning
        self._tell = changed
        self._moved = asyncio.Event()
        self._backoff = backoff
        self._schedules: list[tuple[Schedule, asyncio.Task[None]]] = []
        self._job: Process | None = None
        self._one_job = asyncio.Lock()

    async def apply(self, plan: Plan) -> None:
        """Get from what runs to this plan; touches only what differs."""
        todo = changes(self.plan, plan)
        for volume in todo.publish:
            files.publish(volume.folder, volume.files)
            if self.plan.volumes:
                self._log.info("files changed", folder=str(volume.folder))
        for folder in todo.make:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._stop(todo.stop)
        for folder in todo.remove:
            shutil.rmtree(folder, ignore_errors=True)
        self.plan = plan
        for spec in todo.start:
            self.components[spec.name] = Component(
                spec,
                log=self._log,
                line=self._line,
                register=self._register,
                backoff=self._backoff,
                changed=self._changed,
            )
            self.components[spec.name].start()
        if todo.reschedule:
            await self._reschedule(plan.crons)

    async def ready(self) -> None:
        """Return when every component is ready; components may come and go meanwhile."""
        while any(component.state is not State.READY for component in self.components.values()):
            self._moved.clear()
            await self._moved.wait()

    def start_jobs_now(self) -> None:
        """Start every job without waiting for its time."""
        for schedule, _ in self._schedules:
            schedule.start_now()

    async def stop(self) -> None:
        """Stop everything, in order; nothing of it is left afterwards."""
        await self._reschedule(())
        await self._stop(STOP_FIRST)
        await self._stop(tuple(self.components))
        self.plan = Plan()

    def kill(self) -> None:
        """SIGKILL to everything; `stop` still has to be awaited."""
        if self._job is not None:
            self._job.kill()
        for component in self.components.values():
            component.kill()

    def _changed(self) -> None:
        self._moved.set()
        self._tell()

    async def _stop(self, names: Iterable[str]) -> None:
        names = [name for name in names if name in self.components]
        await asyncio.gather(*(self.components[name].stop() for name in names))
        for name in names:  # only now: `kill` has to find those that take their time
            del self.components[name]
        self._changed()

    async def _reschedule(self, crons: tuple[CronSpec, ...]) -> None:
        for _, task in self._schedules:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._schedules = []
        for cron in crons:
            schedule = Schedule(cron, lambda spec=cron.process: self._run_job(spec), learning=self._learning)  # type: ignore[misc]
            self._schedules.append((schedule, asyncio.create_task(schedule.keep())))

    async def _run_job(self, spec: ProcessSpec) -> None:
        log = self._log.bind(component=spec.name)
        async with self._one_job:
            try:
                job = await Process.launch(spec, self._line, self._register)
            except OSError as error:
                log.warning("cannot start", command=spec.argv[0], reason=str(error))
                return
            self._job = job
            log.info("job started", pid=job.pid)
            try:
                code = await job.finish()
            finally:
                self._job = None
        if code == 0:
            self._finished(spec)
        else:
            log.error("job failed", **exit_in_words(code))
