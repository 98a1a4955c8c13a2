"""`holter ingest`."""

import asyncio
import signal
import sys

import click
from pydantic import ValidationError

from holter import logs, memory
from holter.ingest.service import Service
from holter.keys import KeyFileError
from holter.settings import SettingError, from_environment


@click.command()
def command() -> None:
    """Take in ECG over HTTP, WebSocket and UDP; settings come from the environment (docs/architecture.md)."""
    logs.configure("ingest")
    try:
        broken = asyncio.run(_run())
    except (SettingError, KeyFileError, ValidationError, OSError) as e:
        raise click.ClickException(str(e)) from e
    if broken is not None:
        sys.exit(1)


async def _run() -> str | None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    service = Service(from_environment())
    memory.settle()
    await service.run(stop)
    return service.broken
