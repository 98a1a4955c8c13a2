"""Keeps a component's process running: restart with backoff, probes, a visible crash loop, a clean stop."""

import asyncio
import math
import signal
import time
from collections.abc import Callable
from enum import StrEnum

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, wait_exponential_jitter
from tenacity.wait import wait_base

from holter_operator.local import probes
from holter_operator.local.process import Process, Register
from holter_operator.local.specs import ProcessSpec

BACKOFF = wait_exponential_jitter(multiplier=0.5, max=300, jitter=0.25)
"""A kubelet's CrashLoopBackOff (doubling, at most 5 minutes), begun at half a second: somebody is watching."""
RESET_AFTER = 600.0
"""A process that ran this long, in seconds, begins a new backoff, as with a kubelet."""
CRASH_LOOP = 3
"""Restarts in a row from which it is called a crash loop."""


class State(StrEnum):
    """What a component is doing."""

    STARTING = "starting"
    READY = "ready"
    UNREADY = "unready"
    BACKOFF = "backoff"
    CRASH_LOOP = "crash loop"
    STOPPED = "stopped"


class Component:
    """One supervised process."""

    def __init__(
        self,
        spec: ProcessSpec,
        *,
        log: structlog.typing.FilteringBoundLogger,
        line: Callable[[str, str], None],
        register: Register,
        backoff: wait_base = BACKOFF,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self.state = State.STARTING
        self.restarts = 0
        self._log = log.bind(component=spec.name)
        self._line = line
        self._register = register
        self._backoff = backoff
        self._changed = changed
        self._clock = clock
        self._stopping = asyncio.Event()
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the running process, if one runs."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start and keep running until `stop`."""
        self._task = asyncio.create_task(self._keep(), name=f"component {self.spec.name}")

    async def stop(self) -> None:
        """SIGTERM, SIGKILL after the grace period; returns when nothing is left of it."""
        self._stopping.set()
        if self._process is not None:
            await self._process.end()
        if self._task is not None:
            await self._task
        self._be(State.STOPPED)

    def kill(self) -> None:
        """SIGKILL at once; `stop` still has to be awaited."""
        self._stopping.set()
        if self._process is not None:
            self._process.kill()

    async def _keep(self) -> None:
        while not self._stopping.is_set():
            await AsyncRetrying(
                retry=retry_if_result(lambda lived: lived < RESET_AFTER),
                wait=self._backoff,
                before_sleep=self._tell_restart,
                sleep=self._sleep,
            )(self._run)

    async def _run(self) -> float:
        """Run the process once.

        Returns:
            Seconds it lived, infinity when it is to stop.
        """
        if self._stopping.is_set():
            return math.inf
        begun = self._clock()
        self._be(State.STARTING)
        try:
            self._process = await Process.launch(self.spec, self._line, self._register)
        except OSError as error:
            self._log.error("cannot start", command=self.spec.argv[0], reason=str(error))
            return self._clock() - begun
        if self._stopping.is_set():  # `stop` came while it was being started and found no process
            self._process.kill()
        self._log.info("started", pid=self._process.pid)
        watch = asyncio.create_task(self._watch(self._process, begun))
        code = await self._process.wait()
        watch.cancel()
        await asyncio.wait([watch])
        self._process = None
        if self._stopping.is_set():
            self._log.info("stopped", code=code)
            return math.inf
        self._log.error("ended", **exit_in_words(code))
        return self._clock() - begun

    async def _watch(self, process: Process, begun: float) -> None:
        """Probe until cancelled; ends the process when a startup or liveness probe says so."""
        spec = self.spec

        def tell(fault: str | None) -> None:
            if self._stopping.is_set():
                return
            if fault is None:
                self._log.info("ready", after_s=round(self._clock() - begun, 1))
                self._be(State.READY)
            else:
                self._log.warning("not ready", reason=fault)
                self._be(State.UNREADY)

        fault = await probes.until_up(spec.startup) if spec.startup is not None else None
        which = "startup"
        if fault is None:
            telling = None
            if spec.readiness is not None:
                telling = asyncio.create_task(probes.tell_readiness(spec.readiness, tell))
            else:
                tell(None)
            try:
                if spec.liveness is None:
                    await asyncio.Event().wait()  # until cancelled
                else:
                    fault, which = await probes.until_alive_no_more(spec.liveness), "liveness"
            finally:
                if telling is not None:
                    telling.cancel()
        self._log.error(f"{which} probe failed: restarting", reason=fault)
        # In a task of its own: the process's end cancels this one.
        ending = asyncio.create_task(process.end())
        await asyncio.shield(ending)

    def _tell_restart(self, retry: RetryCallState) -> None:
        if self._stopping.is_set():
            return
        self.restarts += 1
        loop = retry.attempt_number >= CRASH_LOOP
        pause = round(retry.next_action.sleep, 1) if retry.next_action is not None else 0.0
        self._be(State.CRASH_LOOP if loop else State.BACKOFF)
        if loop:
            self._log.error("crash loop", restarts=self.restarts, next_try_s=pause)
        else:
            self._log.warning("will be started again", restarts=self.restarts, next_try_s=pause)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    def _be(self, state: State) -> None:
        self.state = state
        self._changed()


def exit_in_words(code: int) -> dict[str, int | str]:
    """An exit code, or the signal that ended the process."""
    return {"signal": signal.Signals(-code).name} if code < 0 else {"code": code}
