"""`make soak`: a long load on real processes; memory has to stay flat and nothing acknowledged may be lost.

    MINUTES=30 PATIENTS=500 python -m tests.soak

Each 10 s the resident memory of `holter ingest` and `holter infer` is read. The first third is warm-up, and at least
10 minutes: rings, caches and compiled code fill, last of all ingest's memory of each device's 512 newest chunks. A
straight line through the rest says how memory goes on; a run below 12 minutes leaves too little to judge and says so.

Flat means: less than 5 % of its mean in an hour. For a worker of 300 MB and 500 patients that is 8 bytes a chunk, so
whatever keeps an object for each chunk, window or request is found; and in 20 minutes it makes 1.7 %, well above what
allocators shift to and fro. Where fewer samples leave that open, the slope less twice its standard error counts, and
the table says how far off it may be. Growth below 1 MiB in all is flat too: that is one arena of Python's allocator,
the least it takes from the system.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table
from tests.machine import Machine

from holter.chunk import MICROSECONDS, Chunk
from holter.sim.link import Delivery, Link
from holter.sim.sender import Counts, Schedule, Sender, play
from holter.sim.ward import mix, ward

BOUND_PER_HOUR = 0.05
ARENA = 1 << 20
WARM_UP = 600.0
LEAST = 6
EVERY = 10.0
SERVICES = ("ingest-0", "infer-0")


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight line through memory over time.

    Attributes:
        mean: bytes.
        per_hour: share of the mean by which it grows in an hour.
        error: standard error of `per_hour`.
        grown: bytes, over the time that the line spans.
    """

    mean: float
    per_hour: float
    error: float
    grown: float

    @property
    def flat(self) -> bool:
        """Not shown to grow by more than the bounds."""
        return self.per_hour - 2 * self.error < BOUND_PER_HOUR or self.grown < ARENA


def warmed_up(seconds: Sequence[float]) -> int:
    """Where the warm-up ends."""
    return int(np.searchsorted(seconds, max(WARM_UP, seconds[-1] / 3)))


def trend(seconds: Sequence[float], size: Sequence[float]) -> Trend:
    """Least squares over what is after the warm-up.

    Args:
        seconds: n times from the start, rising.
        size: n sizes, bytes.

    Raises:
        ValueError: fewer than `LEAST` samples are left.
    """
    warm = warmed_up(seconds)
    x, y = np.asarray(seconds[warm:]), np.asarray(size[warm:])
    if len(x) < LEAST:
        raise ValueError(f"{len(x)} samples after the warm-up of {WARM_UP / 60:g} minutes; {LEAST} make a line")
    x, mean = x - x.mean(), float(y.mean())
    slope = float(x @ y / (x @ x))
    residual = y - mean - slope * x
    error = float(np.sqrt(residual @ residual / (len(x) - 2) / (x @ x)))
    return Trend(mean, slope * 3600 / mean, error * 3600 / mean, slope * float(x[-1] - x[0]))


@dataclass
class Counting:
    """A link that notes which chunks were acknowledged."""

    link: Link
    acknowledged: dict[str, set[int]]

    async def deliver(self, chunks: Sequence[Chunk]) -> Delivery:
        """See `Link`."""
        delivery = await self.link.deliver(chunks)
        for index in delivery.acknowledged:
            self.acknowledged.setdefault(chunks[index].device_id, set()).add(chunks[index].t0)
        return delivery

    async def close(self) -> None:
        """See `Link`."""
        await self.link.close()


@dataclass
class Samples:
    """Memory of both services over time."""

    seconds: list[float] = field(default_factory=list)
    sizes: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SERVICES})

    async def watch(self, machine: Machine) -> None:
        """Read memory each `EVERY` seconds, until cancelled.

        Raises:
            RuntimeError: a service has ended.
        """
        processes = {name: psutil.Process(machine.processes[name].pid) for name in SERVICES}
        begin = time.monotonic()
        while True:
            for name, process in processes.items():
                if machine.processes[name].poll() is not None:
                    raise RuntimeError(f"{name} has ended:\n{machine.log(name)[-3000:]}")
                self.sizes[name].append(float(process.memory_info().rss))
            self.seconds.append(time.monotonic() - begin)
            await asyncio.sleep(EVERY)


async def load(machine: Machine, patients: int, seconds: float) -> tuple[Samples, dict[str, set[int]], Counts]:
    """Send `patients` at their own pace for so long while memory is watched; then wait until all is acknowledged."""
    start = time.time()
    beds = ward(mix(patients), base=round(start * MICROSECONDS), onset=30.0)
    acknowledged: dict[str, set[int]] = {}
    samples, rng = Samples(), random.Random(1)
    async with Sender(lambda: Counting(machine.target.connect(), acknowledged), lanes=4) as sender:
        schedule = Schedule(start, round(start * MICROSECONDS))
        streams = [bed.patient.chunks(bed.base) for bed in beds]
        playing = asyncio.create_task(
            play(streams, schedule, sender, clock=time.time, jitter=lambda: min(rng.expovariate(100), 1.0))
        )
        watching = asyncio.create_task(samples.watch(machine))
        done, _ = await asyncio.wait((playing, watching), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in (playing, watching):
            task.cancel()
        with suppress(asyncio.CancelledError):
            for task in done:
                task.result()
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                await sender.drain()
    return samples, acknowledged, sender.counts


def report(samples: Samples, minutes: float, patients: int) -> list[str]:
    """Print the table; says what is not flat."""
    table = Table(title=f"{patients} patients, {minutes:g} minutes")
    for column in ("service", "RSS at the start", "warmed up", "at the end", "slope per hour", "verdict"):
        table.add_column(column, justify="left" if column in ("service", "verdict") else "right")
    faults = []
    for name, sizes in samples.sizes.items():
        moments = [sizes[0], sizes[min(warmed_up(samples.seconds), len(sizes) - 1)], sizes[-1]]
        try:
            line = trend(samples.seconds, sizes)
        except ValueError as error:
            slope, verdict = "", "TOO SHORT"
            faults.append(f"{name}: memory cannot be judged: {error}")
        else:
            slope, verdict = f"{line.per_hour:+.1%} ± {2 * line.error:.1%}", "flat" if line.flat else "GROWS"
            if not line.flat:
                faults.append(f"{name} grows by {slope} an hour; below {BOUND_PER_HOUR:.0%} is flat")
        table.add_row(name, *(f"{moment / 1e6:.1f} MB" for moment in moments), slope, verdict)
    Console(width=120).print(table)
    return faults


def main() -> int:
    """Run it; 0 when memory is flat and nothing was lost."""
    minutes, patients = float(os.environ.get("MINUTES") or 30), int(os.environ.get("PATIENTS") or 500)
    with tempfile.TemporaryDirectory(prefix="holter-soak-") as folder, Machine(Path(folder)) as machine:
        machine.start(*SERVICES)
        machine.wait_ready(*SERVICES)
        samples, acknowledged, counts = asyncio.run(load(machine, patients, minutes * 60))
        machine.stop("ingest-0", "infer-0")
        stored = machine.stored()
        alerts = len(machine.alerts())
        logs = {name: machine.log(name)[-2000:] for name in SERVICES}
    faults = report(samples, minutes, patients)
    sent = sum(map(len, acknowledged.values()))
    lost = sum(len(times - stored.get(device, set())) for device, times in acknowledged.items())
    say = Console(width=120, highlight=False).print
    say(
        f"{sent} chunks acknowledged, {counts.refused} refused, {counts.retries} attempts repeated; "
        f"{lost} acknowledged chunks are not in the store; {alerts} alert events"
    )
    expected = patients * minutes * 60
    if lost:
        faults.append(f"{lost} acknowledged chunks were lost")
    if counts.waiting > 0:
        faults.append(f"{counts.waiting} chunks were still not acknowledged a minute after the end")
    if counts.refused:
        faults.append(f"{counts.refused} chunks were refused; the last: {counts.last_refusal}")
    if sent < 0.9 * expected:
        faults.append(f"{sent} chunks were taken; {expected:g} make the load: this machine was too slow for it")
    for fault in faults:
        say(f"FAULT: {fault}")
    if faults:
        for name, log in logs.items():
            say(f"the end of the log of {name}:\n{log}", markup=False)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
