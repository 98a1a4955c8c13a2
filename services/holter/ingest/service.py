"""The ingest process: ports, log, writer; how it starts, follows its configuration, and ends."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import structlog
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets

from holter import certificate, serving
from holter.config import IngestConfig, read
from holter.feed.client import parse_peers
from holter.feed.hub import Hub
from holter.ingest.commit import Commits, LogBrokenError
from holter.ingest.door import Door
from holter.ingest.handover import hand_over
from holter.ingest.http import application
from holter.ingest.intake import Intake, now
from holter.ingest.measures import Measures
from holter.ingest.post import READ_AND_DROPPED
from holter.ingest.prune import prune_hourly
from holter.ingest.records import MAX_RECORD_BYTES
from holter.ingest.refused import PERIOD
from holter.ingest.stream import StreamHandler
from holter.ingest.timeline import Timeline
from holter.ingest.udp import UdpPort
from holter.ingest.wal import Log, LogFullError
from holter.ingest.writer import Drain, Writer
from holter.keys import KeyFileError, KeyFolder, feed_keys
from holter.settings import SettingError, Settings
from holter.store.open import open_store, warm
from holter.store.protocol import Store

ANSWER_SECONDS = 5.0
"""What requests under way are given when the process ends."""
STORE_SECONDS = 15.0
"""What the store is given then."""
ILL_STORE_SECONDS = 3.0
"""The same when it takes nothing already."""
HAND_OVER_SECONDS = 25.0
"""What other processes are given for what it has not taken. All of it is less than a pod's 60 s."""
_WATCH_SECONDS = 2.0
_log = structlog.get_logger()


class _DeviceServer(HTTPServer):
    """Bounds the number of connections; one more is closed at once."""

    limit: Callable[[], int]
    door: Door

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        if len(self._connections) >= self.limit():
            stream.close()
        else:
            super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        self.door.on_close(server_conn)
        super().on_close(server_conn)


class Service:
    """One ingest process."""

    def __init__(self, settings: Settings) -> None:
        """Read configuration and keys.

        Raises:
            SettingError, OSError, pydantic.ValidationError, KeyFileError: what is wrong with them.
        """
        self._settings = settings
        self._config_file = settings.config / "ingest.json"
        config = read(IngestConfig, self._config_file)
        self._peers = parse_peers(settings.feed_peers) if settings.feed_peers else ()
        self._keys = _keys(settings, config)
        self._tls = certificate.context(settings.tls)
        self.measures = Measures(config.cohort)
        self.log = Log(settings.state / "log", config.log_bytes)
        drain = Drain(self.log, self._open_store, self.measures)
        self.writer = Writer(drain, self.log, config, self.measures)
        keys = self._keys
        self._feed_keys = lambda: feed_keys(None if keys is None else keys.keys)
        self.hub = Hub(self._feed_keys, self.measures.feed_dropped.inc, take_over=self._take_over)
        self.commits = Commits(self.log, self._committed, lambda records: self.intake.could_not_keep(records))
        self.intake = Intake(config, None if keys is None else lambda: keys.keys, self.commits, self.measures)
        self._fault: str | None = "is starting"
        self.measures.log_bytes.set_function(lambda: self.log.backlog)
        self.measures.patients.set_function(lambda: len(self.intake.timeline))

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, then end in order: all that was answered with 202 is in the store or in the log.

        Raises:
            SettingError, OSError: a port cannot be had.
        """
        settings = self._settings
        metrics = serving.serve(
            self.measures.metrics.registry,
            alive=lambda: self.commits.fault,
            ready=self._unready,
            port=settings.port("metrics"),
            address=settings.listen,
        )
        await asyncio.to_thread(warm, settings.store)
        recalled = await asyncio.to_thread(_recall, self.log, self.intake.timeline)
        _log.info("log_recovered", recalled_chunks=recalled, bytes_to_store=self.log.backlog)
        writing = asyncio.create_task(self.writer.run())
        server = self._serve_devices()
        if "feed" in settings.ports:
            await self.hub.listen(settings.listen, settings.port("feed"))
        udp = UdpPort(self.intake, settings.listen, settings.port("udp")) if self.intake.config.udp else None
        watching = asyncio.create_task(self._watch())
        sweeping = asyncio.create_task(server.door.sweep())
        naming = asyncio.create_task(self._name_refused())
        pruning = asyncio.create_task(prune_hourly(self._open_store, lambda: self.intake.config.retention, now))
        self._fault = None
        self.udp_port = None if udp is None else udp.port
        ports = {"http": self.http_port, "udp": self.udp_port, "feed": self.hub.port or None}
        _log.info("listening", address=settings.listen, access=self.intake.config.access, **ports)

        failing = asyncio.create_task(self.commits.broken.wait())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({failing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (failing, stopping, watching, naming, pruning, sweeping):
            task.cancel()
        self._fault = "is closing"
        _log.info("closing", bytes_to_store=self.log.backlog, fault=self.commits.fault)
        server.stop()
        if udp is not None:
            udp.close()
        self.intake.closing = True
        await self._answer()
        await server.close_all_connections()
        await self.hub.close()
        await self._store_rest(writing)
        metrics.stop()
        await metrics.close_all_connections()
        self.commits.close()
        self.writer.shutdown()
        self.log.close()

    @property
    def broken(self) -> str | None:
        """Why the process had to end by itself."""
        return self.commits.fault

    async def _take_over(self, block: bytes) -> int:
        return await self.intake.take_over(block)

    def _committed(self, records: Sequence[bytes], count: int) -> None:
        """They are on disk: workers may see them."""
        self.writer.committed(count)
        self.hub.publish(records)

    def _open_store(self) -> Store:
        return open_store(self._settings.store, layout=self.intake.config.layout, writer=self._settings.pod)

    def _serve_devices(self) -> _DeviceServer:
        door = Door(self.intake, application(self.intake, StreamHandler))
        server = _DeviceServer(
            door,
            ssl_options=self._tls,
            max_header_size=16 << 10,
            max_body_size=READ_AND_DROPPED,
            max_buffer_size=READ_AND_DROPPED,
        )
        server.door = door
        server.conn_params.header_timeout = None  # the door sees to it
        # A device reconnects before its old connection is known to be dead.
        server.limit = lambda: 2 * self.intake.config.max_patients + 64
        sockets = bind_sockets(self._settings.port("http"), self._settings.listen, backlog=1024)
        self.http_port: int = sockets[0].getsockname()[1]
        server.add_sockets(sockets)
        return server

    def _unready(self) -> str | None:
        if self._fault or self.commits.fault:
            return self._fault or self.commits.fault
        try:
            self.log.check_room(3 * MAX_RECORD_BYTES)
        except LogFullError as e:
            return f"{e}; the store: {self.writer.fault or 'takes chunks'}"
        return None

    async def _answer(self) -> None:
        """Let requests and frames under way be answered, and say goodbye to streams."""
        with suppress(LogBrokenError, LogFullError):
            await self.commits.flush()
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.intake.requests.none_left()
                for stream in tuple(self.intake.streams):
                    stream.close(1001, "closing: connect again")
                await self.intake.streams.none_left()

    async def _store_rest(self, writing: asyncio.Task[None]) -> None:
        """To the store; what it does not take, to another process; what none takes stays in the log."""
        self.writer.close()
        try:
            await asyncio.wait_for(writing, STORE_SECONDS if self.writer.fault is None else ILL_STORE_SECONDS)
        except TimeoutError:
            _log.warning("not_stored", bytes_to_store=self.log.backlog, store=self.writer.fault)
        else:
            _log.info("stored_all")
            return
        own = (self._settings.listen, self.hub.port)
        peers = [peer for peer in self._peers if peer != own]
        if peers:
            with suppress(TimeoutError):
                async with asyncio.timeout(HAND_OVER_SECONDS):
                    await hand_over(self.log, peers, self._feed_keys)
        if backlog := self.log.backlog:
            _log.warning("kept_in_log", bytes_to_store=backlog)

    async def _watch(self) -> None:
        """Follow the mounted files: configuration, device keys, certificate."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            try:
                config = await asyncio.to_thread(read, IngestConfig, self._config_file)
                if config != self.intake.config:
                    self._reconfigure(config)
                if self._keys is not None and await asyncio.to_thread(self._keys.refresh):
                    _log.info("device_keys_changed")
                if self._tls is not None and self._settings.tls is not None:
                    await asyncio.to_thread(certificate.load, self._tls, self._settings.tls)
            except (OSError, ValueError, KeyFileError) as e:
                _log.warning("not_reloaded", error=str(e))

    async def _name_refused(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            self.measures.devices.tell(time.monotonic())

    def _reconfigure(self, config: IngestConfig) -> None:
        if config.access == "Token" and self._keys is None:
            _log.warning("not_reloaded", error="access mode Token needs HOLTER_DEVICE_KEYS: restart")
            return
        self.intake.reconfigure(config)
        self.writer.reconfigure(config)
        self.log.limit = config.log_bytes
        _log.info("configuration_changed")


def _recall(log: Log, timeline: Timeline) -> int:
    count = 0
    for chunks in log.recent():
        timeline.recall(chunks, now())
        count += len(chunks)
    return count


def _keys(settings: Settings, config: IngestConfig) -> KeyFolder | None:
    if settings.device_keys is not None:
        return KeyFolder(settings.device_keys)
    if config.access == "Token":
        raise SettingError("HOLTER_DEVICE_KEYS is not set: access mode Token needs the folder of the device key")
    return None
