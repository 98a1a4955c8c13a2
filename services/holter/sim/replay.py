"""`holter replay`: recorded patients send to an ingest, their annotations printed beside the alerts."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from holter import logs
from holter.alert import AlertEvent
from holter.chunk import MICROSECONDS
from holter.sim.comparison import calls, clock, compare, table
from holter.sim.endpoints import Transport, resolve, target_options
from holter.sim.recording import RecordError, Recording, device_id, read
from holter.sim.running import conclude, send
from holter.sim.sender import Schedule
from holter.store.open import open_store
from holter.store.protocol import Store, StoreRefusedError, StoreUnavailableError

_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Playing:
    """A recording as a device.

    Attributes:
        recording: what is played.
        device_id: under which name.
        base: event time of its first sample, µs since the epoch.
    """

    recording: Recording
    device_id: str
    base: int


def start_of(seconds: float, speed: float, now: float) -> int:
    """The event time (µs since the epoch) at which a replay of this length begins, so that its end is reached just now.

    At `speed` it takes seconds / speed; no sample is ever in the future.
    """
    return round((now - seconds * max(0.0, 1 - 1 / speed)) * MICROSECONDS)


@click.command()
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RECORD…")
@target_options
@click.option("--speed", type=click.FloatRange(0.1), default=1.0, show_default=True, help="Record seconds per second.")
@click.option("--channel", help="Name or number.  [default: MLII where there is one, else the first]")
@click.option("--start", type=click.FloatRange(0), default=0.0, show_default=True, help="Seconds into the record.")
@click.option("--seconds", type=click.FloatRange(1), help="How much to play.  [default: to the end]")
@click.option(
    "--base",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S"]),
    help="UTC time of the first sample.  [default: so that the end is now]",
)
@click.option(
    "--device-prefix", help="Device ids are this and the record's name.  [default: hour, minute and second of the base]"
)
@click.option("--store", "store_url", help="Where alerts are: sqlite:FILE.  [default: that of --state]")
@click.option(
    "--settle", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds to wait for the last alerts."
)
def replay(
    records: tuple[Path, ...],
    transport: Transport,
    state: Path | None,
    url: str | None,
    udp: str | None,
    keys: Path | None,
    speed: float,
    channel: str | None,
    start: float,
    seconds: float | None,
    base: datetime | None,
    device_prefix: str | None,
    store_url: str | None,
    settle: float,
) -> None:
    """Send recorded ECG to an ingest and print its annotations beside the alerts.

    RECORD is the path of a WFDB record without extension, of any rate from 100 to 1000 Hz. Alerts are read from the
    store of --state or --store; without either only the sending is done.
    """
    logs.configure("replay")
    target = resolve(transport, state=state, url=url, udp=udp, keys=keys)
    try:
        recordings = [read(path, channel=channel, start=start, seconds=seconds) for path in records]
    except RecordError as e:
        raise click.ClickException(str(e)) from e
    now = time.time()
    longest = max(recording.seconds for recording in recordings)
    first = round(base.replace(tzinfo=UTC).timestamp() * MICROSECONDS) if base else start_of(longest, speed, now)
    playing = _devices(recordings, first, device_prefix)
    for p in playing:
        r = p.recording
        click.echo(f"{p.device_id}: {r.name} {r.lead}, {r.fs:g} Hz, {clock(r.start)} to {clock(r.start + r.seconds)}")
    address = store_url or target.store
    store = _open(address) if address else None
    schedule = Schedule(now, first, speed)
    counts = send(
        [p.recording.chunks(p.device_id, p.base) for p in playing],
        schedule,
        target,
        lanes=min(4, len(playing)),
        jitter=lambda: 0.0,
        beside=None if store is None else lambda: _watch(store, playing, schedule, click.echo),
    )
    if store is not None:
        time.sleep(settle)
        events = store.read_alerts(first)
        store.close()
        for p in playing:
            for line in _report(p, events):
                click.echo(line)
    conclude(counts)


def _devices(recordings: Sequence[Recording], base: int, prefix: str | None) -> list[Playing]:
    if prefix is None:
        # A device's clock never goes back: each replay is a device of its own.
        prefix = f"{datetime.fromtimestamp(base / MICROSECONDS, UTC):%H%M%S}-"
    try:
        playing = [Playing(recording, device_id(prefix, recording.name), base) for recording in recordings]
    except RecordError as e:
        raise click.ClickException(str(e)) from e
    if len({p.device_id for p in playing}) < len(playing):
        raise click.UsageError("two records have the same name: replay them one after the other")
    return playing


def _open(address: str) -> Store:
    try:
        return open_store(address, layout="Chunks", writer="replay")
    except (StoreUnavailableError, StoreRefusedError) as e:
        raise click.ClickException(f"--store {address}: {e}") from e


def _report(p: Playing, events: Sequence[AlertEvent]) -> list[str]:
    r = p.recording
    found = calls([e for e in events if e.device_id == p.device_id], p.base, r.start)
    return ["", *table(p.device_id, r.annotations, compare(r.annotations, found))]


async def _watch(store: Store, playing: Sequence[Playing], schedule: Schedule, echo: Callable[[str], None]) -> None:
    """Tell each episode as it is played and each alert as it is raised."""
    told: set[str] = set()
    episodes = sorted(
        ((e.start - p.recording.start, e, p) for p in playing for e in p.recording.annotations.episodes),
        key=lambda item: item[0],
    )
    since = schedule.live
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        try:
            events = await asyncio.to_thread(store.read_alerts, since)
        except StoreUnavailableError:
            continue  # the next round asks again
        played = (time.time() - schedule.start) * schedule.speed
        while episodes and episodes[0][0] <= played:
            _, episode, p = episodes.pop(0)
            echo(f"{p.device_id} {clock(episode.start):>8}  annotated {episode.label} until {clock(episode.end)}")
        by_device = {p.device_id: p for p in playing}
        for event in events:
            p_of = by_device.get(event.device_id)
            if p_of is None or event.id in told:
                continue
            told.add(event.id)
            at = p_of.recording.start + (event.decided_at - p_of.base) / MICROSECONDS
            echo(
                f"{event.device_id} {clock(at):>8}    {event.event} {event.priority} {event.kind}, "
                f"onset {clock(p_of.recording.start + (event.onset - p_of.base) / MICROSECONDS)}: {event.reason}"
            )
