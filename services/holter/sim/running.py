"""Runs a sender from a command: signals end it in order, progress is logged, the counts say how it went."""

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import suppress

import click
import structlog

from holter.chunk import Chunk
from holter.sim.endpoints import Target
from holter.sim.link import AccessError
from holter.sim.sender import Counts, Schedule, Sender, play

log = structlog.get_logger()

_PROGRESS_SECONDS = 10.0
_DRAIN_SECONDS = 15.0


def send(
    streams: Iterable[Iterator[Chunk]],
    schedule: Schedule,
    target: Target,
    *,
    lanes: int,
    jitter: Callable[[], float],
    beside: Callable[[], Coroutine[None, None, None]] | None = None,
) -> Counts:
    """Send until the streams end or SIGINT or SIGTERM comes; what is under way is then still sent.

    Args:
        streams: one a device.
        schedule: when each chunk is due.
        target: the ingest.
        lanes: connections.
        jitter: see `play`.
        beside: runs at the same time and is cancelled at the end.

    Raises:
        click.ClickException: the ingest does not accept the key.
    """

    async def run() -> Counts:
        sender = Sender(target.connect, lanes=lanes)
        async with sender:
            playing = asyncio.create_task(play(streams, schedule, sender, clock=time.time, jitter=jitter))
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, playing.cancel)
            others = [asyncio.create_task(_progress(sender))]
            if beside is not None:
                others.append(asyncio.create_task(beside()))
            try:
                with suppress(asyncio.CancelledError):
                    await playing
                with suppress(TimeoutError):
                    async with asyncio.timeout(_DRAIN_SECONDS):
                        await sender.drain()
            finally:
                for other in others:
                    other.cancel()
                await asyncio.gather(*others, return_exceptions=True)
        return sender.counts

    try:
        return asyncio.run(run())
    except AccessError as e:
        raise click.ClickException(f"{target.url}: {e}; is --keys this cohort's device key?") from e


async def _progress(sender: Sender) -> None:
    while True:
        await asyncio.sleep(_PROGRESS_SECONDS)
        counts = sender.counts
        log.info(
            "sending",
            acknowledged=counts.acknowledged,
            refused=counts.refused,
            retries=counts.retries,
            waiting=counts.waiting,
        )


def conclude(counts: Counts) -> None:
    """Print the counts.

    Raises:
        click.ClickException: something was refused, or never acknowledged.
    """
    click.echo(
        f"{counts.acknowledged} chunks acknowledged, {counts.refused} refused, {counts.retries} attempts repeated"
    )
    if counts.waiting:
        raise click.ClickException(f"ended before {counts.waiting} chunks were acknowledged")
    if counts.refused:
        raise click.ClickException(f"{counts.refused} chunks were refused; the last: {counts.last_refusal}")
