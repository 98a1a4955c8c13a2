"""`holter console`: the ward in a browser."""

import asyncio
import signal

import click
import structlog
from pydantic import ValidationError
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from holter import certificate, logs, serving
from holter.config import ConsoleConfig, read
from holter.console.access import Access, TokenFileError
from holter.console.live import LiveHandler
from holter.console.measures import Measures
from holter.console.monitor import Monitor
from holter.console.web import application
from holter.settings import SettingError, Settings, from_environment
from holter.store.open import open_store

_WATCH_SECONDS = 2.0
_log = structlog.get_logger()


class Service:
    """One console process."""

    def __init__(self, settings: Settings) -> None:
        """Read configuration and tokens.

        Raises:
            SettingError, OSError, pydantic.ValidationError, TokenFileError: what is wrong with them.
        """
        self._settings = settings
        self.config = read(ConsoleConfig, settings.config / "console.json")
        if settings.console_tokens is None:
            raise SettingError("HOLTER_CONSOLE_TOKENS is not set: a folder of `view` and `acknowledge` is expected")
        self.access = Access(settings.console_tokens)
        self.measures = Measures(self.config.cohort)
        self.monitor = Monitor(
            lambda: open_store(settings.store, layout=self.config.layout, writer=settings.pod), self.measures
        )
        self._tls = certificate.context(settings.tls)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`. Ready as soon as it listens: a store that is away is for the page to tell.

        Raises:
            SettingError, OSError: a port cannot be had.
        """
        settings = self._settings
        metrics = serving.serve(
            self.measures.metrics.registry,
            alive=lambda: None,
            ready=lambda: None,
            port=settings.port("metrics"),
            address=settings.listen,
        )
        app = application(self.monitor, self.access, LiveHandler)
        app.settings["cohort"] = {"cohort": self.config.cohort, "namespace": self.config.namespace}
        server = HTTPServer(
            app, ssl_options=self._tls, xheaders=False, max_header_size=16 << 10, max_body_size=16 << 10,
            max_buffer_size=1 << 20, idle_connection_timeout=75, body_timeout=10,
        )  # fmt: skip
        sockets = bind_sockets(settings.port("http"), settings.listen)
        self.http_port: int = sockets[0].getsockname()[1]
        server.add_sockets(sockets)
        _log.info("listening", address=settings.listen, http=self.http_port, tls=self._tls is not None)
        tasks = [asyncio.create_task(one) for one in (self.monitor.run(), self._watch(), stop.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended = [task for task in tasks if task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for one in (server, metrics):
                one.stop()
                await one.close_all_connections()
            await self.monitor.close()
        for task in ended:
            task.result()
        _log.info("stopped")

    async def _watch(self) -> None:
        """Follow the mounted tokens and certificate."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            try:
                if self.access.refresh():
                    _log.info("tokens_changed")
                if self._tls is not None and self._settings.tls is not None:
                    await asyncio.to_thread(certificate.load, self._tls, self._settings.tls)
            except (OSError, TokenFileError) as error:
                _log.warning("not_reloaded", error=str(error))


@click.command()
def command() -> None:
    """Show the ward in a browser; settings come from the environment (docs/architecture.md)."""
    logs.configure("console")
    try:
        asyncio.run(_main())
    except (SettingError, TokenFileError, ValidationError, OSError) as error:
        raise click.ClickException(str(error)) from error


async def _main() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Service(from_environment()).run(stop)
