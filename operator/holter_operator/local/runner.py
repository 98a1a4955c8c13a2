"""A cohort on one machine: reads its file, builds what the operator builds, and keeps it running as the file says."""

import asyncio
import json
import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from watchfiles import awatch

from holter_operator.build.everything import objects
from holter_operator.build.given import Component, Connection, ConsoleTokens, DeviceKey, Given, ModelFiles
from holter_operator.local.cohort_file import CohortFile, FileFaultError, notes, one_machine, read
from holter_operator.local.endpoints import endpoints
from holter_operator.local.host import Host
from holter_operator.local.manifests import Machine, plan, port_wishes
from holter_operator.local.models import Models, examine, in_use
from holter_operator.local.mounts import ManifestError
from holter_operator.local.output import Output
from holter_operator.local.ports import PortError, allocate
from holter_operator.local.specs import Plan, ProcessSpec
from holter_operator.local.state import StateFolder, free_port
from holter_operator.reconcile.gate import Verdict

_IMAGES = dict.fromkeys(Component, "this-machine")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says.

    Attributes:
        holter: the command that services are run with, absolute.
        ports: numbers by port name or `<component>.<name>`, instead of the manifest's; 0 is any.
        influxdb: the bucket to use instead of a SQLite file.
    """

    holter: Path
    ports: Mapping[str, int] = field(default_factory=dict)
    influxdb: Connection | None = None


class Runner:
    """One cohort. `start`, then `serve` until it is to end, then `stop`."""

    def __init__(self, file: Path, folder: StateFolder, options: Options, output: Output) -> None:
        self._file = file
        self._folder = folder
        self._options = options
        self._log = output.logger()
        self._sqlite = None if options.influxdb else f"sqlite:{folder.path / 'store.db'}"
        self._models = Models(folder.path / "models")
        self._candidate = folder.path / "candidate"
        self._source: CohortFile | None = None
        self._model: ModelFiles | None = None
        self._fault: str | None = None
        self._seen = b""
        self._wake = asyncio.Event()
        self._judged = asyncio.Event()
        self.verdict: Verdict | None = None
        self.host = Host(
            log=self._log,
            line=output.line,
            register=folder,
            finished=self._refitted,
            learning=lambda: self._model is None,
            changed=self._write_status,
        )

    async def start(self) -> None:
        """Clear what an earlier run left, and start the cohort.

        Raises:
            FileFaultError: the file is not a valid cohort.
            PortError: a port is taken.
            StateError: the state folder cannot be used.
            ManifestError: an object cannot be had on this machine.
        """
        (self._folder.path / "endpoints.json").unlink(missing_ok=True)
        for name in await asyncio.to_thread(self._folder.end_stale):
            self._log.warning("ended what a killed `holter up` had left", component=name)
        for folder in (self._folder.path / "mounts", self._candidate):
            shutil.rmtree(folder, ignore_errors=True)
        self._seen = self._file.read_bytes()
        self._source = read(self._file, self._folder.read("cohort.json") or None)
        for note in notes(self._source.cohort):
            self._log.info(note)
        await self._apply(self._source)

    async def ready(self) -> dict[str, Any]:
        """Wait until every component is ready; then `endpoints.json` is there.

        Returns:
            Its content.
        """
        await self.host.ready()
        return self._write_endpoints()

    def refit_now(self) -> None:
        """Start a refit without waiting for its time."""
        self.host.start_jobs_now()

    async def judged(self) -> Verdict:
        """Wait for the next verdict on a refit's model."""
        self._judged.clear()
        await self._judged.wait()
        assert self.verdict is not None
        return self.verdict

    async def serve(self) -> None:
        """Reconcile when the file changes or a model is accepted; runs until cancelled."""
        watch = asyncio.create_task(self._watch())
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._reconcile()
        finally:
            watch.cancel()
            await asyncio.wait([watch])

    async def stop(self) -> None:
        """Stop everything; nothing of it is left afterwards."""
        (self._folder.path / "endpoints.json").unlink(missing_ok=True)
        await self.host.stop()
        self._write_status()

    async def _watch(self) -> None:
        """Wake when the file was edited, in place or replaced by another."""
        name = self._file.name
        # The folder is watched, for an editor that renames a new file over the old one would take the watch with it;
        # and the content is looked at each second, for there are file systems that tell nothing.
        async for _ in awatch(
            self._file.resolve().parent,
            watch_filter=lambda _, path: Path(path).name == name,
            debounce=200,
            rust_timeout=1000,
            yield_on_timeout=True,
            recursive=False,
        ):
            try:
                now = self._file.read_bytes()
            except OSError as error:
                now = b""
                if self._seen:
                    self._log.warning("the file cannot be read: what runs is left as it is", reason=str(error))
            if now != self._seen:
                self._seen = now
                if now:
                    self._wake.set()

    async def _reconcile(self) -> None:
        """One pass: whatever woke us, look at all of it. A fault in the file leaves the last good one in force."""
        self._reload()
        assert self._source is not None
        try:
            await self._apply(self._source)
        except (ManifestError, PortError, OSError) as error:
            self._tell_fault(error)
            return
        self._write_endpoints()

    async def _apply(self, source: CohortFile) -> None:
        if source.cohort.spec.paused:
            self._log.warning("paused: what runs is left as it is until spec.paused is false")
            return
        await self.host.apply(self._desired(source))
        self._folder.write("cohort.json", source.document)
        self._write_status()
        self._log.info("reconciled")

    def _reload(self) -> None:
        try:
            self._source = read(self._file, self._source.document if self._source else None)
            self._fault = None
        except FileFaultError as error:
            self._tell_fault(error)

    def _tell_fault(self, error: Exception) -> None:
        self._fault = str(error)
        self._log.error("the cohort's file is not applied: what runs is left as it is")
        for line in self._fault.splitlines():
            self._log.error(line)
        self._write_status()

    def _desired(self, source: CohortFile) -> Plan:
        """What should run now."""
        cohort = one_machine(source.cohort)
        history = self._models.history()
        self._model = self._choose(history, cohort.spec.model.pinned_revision)
        key = self._folder.device_key()
        connection = self._options.influxdb
        given = Given(
            images=_IMAGES,
            owner_uid="this-machine",
            influxdb=dict.fromkeys(Component, connection) if connection else {},
            device_key=DeviceKey(**{name: value.decode() for name, value in key.items()}),
            console_tokens=ConsoleTokens(**self._folder.console_tokens()),
            model=self._model,
            history=history,
        )
        documents = (*objects(cohort, given), *source.others)
        ports = allocate(
            port_wishes(documents),
            free=lambda udp, number: free_port(socket.SOCK_DGRAM if udp else socket.SOCK_STREAM, number),
            saved=self._folder.read("ports.json"),
            chosen=self._options.ports,
            held={f"{p.name}.{name}": number for p in self.host.plan.processes for name, number in p.ports.items()},
        )
        self._folder.write("ports.json", ports)
        return plan(documents, Machine(self._folder.path, self._options.holter, ports, self._sqlite))

    def _choose(self, history: tuple[ModelFiles, ...], pinned: int | None) -> ModelFiles | None:
        model = in_use(history, pinned)
        if model is None and pinned is not None:
            kept = ", ".join(f"r{m.revision}" for m in history) or "none"
            self._log.warning("spec.model.pinnedRevision is not kept: nothing changes", pinned=pinned, kept=kept)
            return self._model or in_use(history, None)
        return model

    def _refitted(self, _: ProcessSpec) -> None:
        """A refit has left a candidate: judge it, and keep it when it is accepted."""
        assert self._source is not None
        cohort = self._source.cohort
        refit = cohort.spec.refit
        self.verdict, document, arrays = examine(self._candidate, self._model, refit.min_windows)
        shutil.rmtree(
            self._candidate, ignore_errors=True
        )  # or a later refit that leaves none would be given this one's verdict
        if self.verdict.accepted:
            model = self._models.accept(document, arrays)
            self._models.prune(refit.keep_revisions, cohort.spec.model.pinned_revision)
            self._log.info("model accepted", revision=model.revision, reason=self.verdict.message)
            self._wake.set()
        else:
            self._log.warning("model refused", verdict=self.verdict.reason, reason=self.verdict.message)
        self._write_status()
        self._judged.set()

    def _write_status(self) -> None:
        model = json.loads(self._model.document) if self._model else {}
        self._folder.note(
            "status.json",
            {
                "pid": os.getpid(),
                "fault": self._fault,
                "components": {
                    name: {"state": c.state, "pid": c.pid, "restarts": c.restarts}
                    for name, c in self.host.components.items()
                },
                "model": {
                    "revision": self._model.revision if self._model else 0,
                    **{name: model.get(name) for name in ("trainedAt", "windows", "threshold")},
                    "candidate": asdict(self.verdict) if self.verdict else None,
                },
            },
        )

    def _write_endpoints(self) -> dict[str, Any]:
        store = self._sqlite or f"influxdb:{self._options.influxdb.url if self._options.influxdb else ''}"
        value = endpoints(self.host.plan, store=store, pid=os.getpid())
        self._folder.write("endpoints.json", value)
        return value
