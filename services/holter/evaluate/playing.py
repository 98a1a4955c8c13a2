"""Records through the worker's own code: chunks in, `Engine.push`, `Decision.step`, alert events out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holter.alert import AlertEvent, Category, Kind, Priority, Transition
from holter.chunk import MICROSECONDS, Chunk
from holter.config import PatientProfile
from holter.evaluate import noise as noises
from holter.evaluate import reference as references
from holter.evaluate.noise import Noise
from holter.evaluate.reference import Reference
from holter.inference.decision import Decision, Limits
from holter.inference.decision.life import Life
from holter.inference.engine import Engine, Tick
from holter.model.pipeline import Model
from holter.signal.filters import FS
from holter.signal.patient import BEATS
from holter.signal.resample import HALF
from holter.sim.recording import RecordError, Recording, device_id
from holter.sim.recording import read as read_recording
from holter.window import WindowScores

BASE_SECOND = 1_800_000_000
"""Event time at which every record begins, s since the epoch (2027-01-15 08:00 UTC): on the grid of windows."""
LEARNING_SECONDS = 300
WINDOW, INTERVAL, COOLDOWN = 10, 5, 60
_COLUMNS = ("ends", "features", "ordered", "forest", "score", "quality", "flagged", "alerted", "revision")
FIDUCIAL_DELAY = 0.010
"""Seconds by which the filters delay R: the median over the development records, never fitted to one of them."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How records are read.

    Attributes:
        channel: name or number; None: MLII where there is one, else the first.
        noise: added to each of them.
        profiles: by device id; what is known of each patient.
    """

    channel: str | None = None
    noise: Noise | None = None
    profiles: Mapping[str, PatientProfile] | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """An alert's onset as it was told: when it was raised, and anew with each update that carries another onset.

    Times are seconds of record time.

    Attributes:
        kind: what.
        priority: the most urgent it had.
        onset: since when the condition held.
        start: when it was told.
        end: the last second at which the condition held before it was told anew or ended.
        score: see AlertEvent.
        reason: in words.
    """

    kind: Kind
    category: Category
    priority: Priority
    onset: float
    start: float
    end: float
    score: float | None
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """A record's windows as columns, each of shape (n,).

    Attributes:
        ends: float64, seconds of record time.
        ordered: float32, NaN where undefined.
        forest: float32, NaN without a model.
        score: float32, fused.
        quality: float32.
        flagged: bool.
    """

    ends: NDArray[np.float64]
    ordered: NDArray[np.float32]
    forest: NDArray[np.float32]
    score: NDArray[np.float32]
    quality: NDArray[np.float32]
    flagged: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """All that came out of one record.

    Attributes:
        name: of the record.
        lead: name of the channel.
        fs: Hz.
        seconds: of the record that were processed.
        reference: what is annotated.
        beats: shape (n,), float64, times of R, seconds of record time.
        ventricular: shape (n,), bool.
        windows: all of them, of the learning period too.
        told: all alerts, of the learning period too, in order of being told.
    """

    name: str
    lead: str
    fs: float
    seconds: float
    reference: Reference
    beats: NDArray[np.float64]
    ventricular: NDArray[np.bool_]
    windows: Windows
    told: tuple[Told, ...]

    @property
    def hours(self) -> float:
        """Of the scored part."""
        return max(0.0, self.seconds - LEARNING_SECONDS) / 3600


@dataclass(slots=True)
class _Bed:
    """One record while it is played."""

    recording: Recording
    reference: Reference
    chunks: Iterator[Chunk]
    upcoming: Chunk | None
    told: list[Told] = field(default_factory=list)
    beats: list[tuple[float, bool]] = field(default_factory=list)
    seen: int = 0
    seconds: int = 0


class Batch:
    """Records as the devices of one engine, played side by side.

    Args:
        paths: of records, without extension. What cannot be read is in `failures`.
        setup: see there.
    """

    def __init__(self, paths: Sequence[Path], setup: Setup) -> None:
        self._failures: dict[str, str] = {}
        self._beds: dict[str, _Bed] = {}
        for path in paths:
            try:
                self._take(path, setup)
            except (RecordError, ValueError) as error:
                self._failures[path.name] = str(error)
        profiles = setup.profiles or {}
        self._engine = Engine(WINDOW, INTERVAL, capacity=max(1, len(self._beds)))
        self._life = Life("", "evaluate", COOLDOWN)
        self._decision = Decision(
            self._engine, self._life, Limits(cooldown=COOLDOWN), lambda name: profiles.get(name, PatientProfile())
        )
        self._scores: list[WindowScores] = []
        self._going_on: dict[tuple[str, Kind], int] = {}
        """Place in `told` of each alert that is not cleared."""

    def _take(self, path: Path, setup: Setup) -> None:
        recording = read_recording(path, channel=setup.channel)
        reference = references.read(path, recording.fs, recording.seconds)
        if setup.noise is not None:
            try:
                mixed = noises.add(recording.millivolts, recording.fs, reference, setup.noise)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
            recording = replace(recording, millivolts=mixed)
        name = device_id("", recording.name)
        chunks = recording.chunks(name, BASE_SECOND * MICROSECONDS)
        self._beds[name] = _Bed(recording, reference, chunks, next(chunks, None))

    def failures(self) -> dict[str, str]:
        """Records that could not be read, and why."""
        return self._failures

    def seconds(self) -> float:
        """Length of the longest record."""
        return max((bed.recording.seconds for bed in self._beds.values()), default=0.0)

    def play(self, first: int, last: int) -> None:
        """Take in the seconds [first, last) of record time of every record, one at a time."""
        for second in range(first, last):
            until = (BASE_SECOND + second + 1) * MICROSECONDS
            due: list[Chunk] = []
            for bed in self._beds.values():
                while bed.upcoming is not None and bed.upcoming.t0 < until:
                    due.append(bed.upcoming)
                    bed.upcoming = next(bed.chunks, None)
            for tick in self._engine.push(due):
                events = self._decision.step(tick)
                self._collect(tick, events)

    def learnt_from(self) -> WindowScores | None:
        """Windows of the learning period so far; None when there are none."""
        until = (BASE_SECOND + LEARNING_SECONDS) * MICROSECONDS
        everything = join(self._scores)
        return everything and take(everything, everything.ends <= until)

    def use(self, model: Model) -> None:
        """Swap the model in, as the worker does between two cycles."""
        self._engine.model = model
        limits = replace(self._decision.limits, revision=model.revision, threshold=model.threshold)
        self._decision.limits = limits

    def outcomes(self) -> list[Outcome]:
        """What came out of each record so far."""
        everything = join(self._scores)
        devices = np.array(everything.device_ids if everything else ())
        return [_outcome(bed, everything and take(everything, devices == name)) for name, bed in self._beds.items()]

    def _collect(self, tick: Tick, events: Sequence[AlertEvent]) -> None:
        engine, state = self._engine, self._engine.state
        if tick.scores is not None:
            self._scores.append(tick.scores)
        for event in events:
            self._follow(event)
        counts = state["beat_n"][tick.slots]
        for slot, second, count in zip(tick.slots, tick.seconds.tolist(), counts.tolist(), strict=True):
            name = engine.device_ids[slot] or ""
            bed = self._beds[name]
            bed.seconds = second - BASE_SECOND
            record = state[slot]
            delay = FIDUCIAL_DELAY + (0.0 if bed.recording.fs == FS else HALF / bed.recording.fs)
            for number in range(bed.seen, count):
                beat = record["beats"][number % BEATS]
                at = bed.seconds - (int(record["n"]) - int(beat["r"])) / FS - delay
                bed.beats.append((at, bool(beat["ventricular"])))
            bed.seen = count
            for kind, alert in self._life.open(name).items():
                place = self._going_on[name, kind]
                bed.told[place] = replace(bed.told[place], end=float(alert.last_on - BASE_SECOND))

    def _follow(self, event: AlertEvent) -> None:
        if event.event is Transition.CLEARED:
            return
        told = self._beds[event.device_id].told
        onset, at = (t / MICROSECONDS - BASE_SECOND for t in (event.onset, event.decided_at))
        if event.event is Transition.UPDATED:
            place = self._going_on[event.device_id, event.kind]
            if told[place].onset == onset:  # more urgent now; nothing new
                told[place] = replace(told[place], priority=event.priority)
                return
        self._going_on[event.device_id, event.kind] = len(told)
        told.append(Told(event.kind, event.category, event.priority, onset, at, at, event.score, event.reason))


def _outcome(bed: _Bed, scores: WindowScores | None) -> Outcome:
    beats = sorted(bed.beats)
    return Outcome(
        name=bed.recording.name,
        lead=bed.recording.lead,
        fs=bed.recording.fs,
        seconds=bed.seconds,
        reference=bed.reference,
        beats=np.array([at for at, _ in beats], np.float64),
        ventricular=np.array([ventricular for _, ventricular in beats], np.bool_),
        windows=_windows(scores),
        told=tuple(bed.told),
    )


def _windows(scores: WindowScores | None) -> Windows:
    if scores is None:
        none = np.empty(0, np.float32)
        return Windows(np.empty(0), none, none, none, none, np.empty(0, np.bool_))
    ends = scores.ends / MICROSECONDS - BASE_SECOND
    return Windows(ends, scores.ordered, scores.forest, scores.score, scores.quality, scores.flagged)


def take(scores: WindowScores, rows: Sequence[int] | NDArray[np.intp] | NDArray[np.bool_]) -> WindowScores:
    """Some of the windows, in the order of `rows`."""
    columns = {name: getattr(scores, name)[rows] for name in _COLUMNS}
    devices = np.array(scores.device_ids, object)[rows]
    return WindowScores(device_ids=tuple(devices), names=scores.names, **columns)


def join(parts: Sequence[WindowScores]) -> WindowScores | None:
    """Several batches as one; None where there are no windows."""
    full = [part for part in parts if len(part)]
    if not full:
        return None
    columns = {name: np.concatenate([getattr(part, name) for part in full]) for name in _COLUMNS}
    devices = tuple(device for part in full for device in part.device_ids)
    return WindowScores(device_ids=devices, names=full[0].names, **columns)
