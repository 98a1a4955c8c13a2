"""Records through the worker's own code: chunks in, `Engine.push`, `Decision.step`, alert events out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile, tee
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
from holter.signal.features import BEAT_FIELDS
from holter.signal.filters import FS
from holter.signal.lethal import Weights, weigh
from holter.signal.measures import EXTRA
from holter.signal.measures import NAMES as MEASURES
from holter.signal.patient import BEATS
from holter.signal.quality import GOOD
from holter.signal.resample import HALF
from holter.sim.patient import Patient
from holter.sim.recording import RecordError, device_id
from holter.sim.recording import read as read_recording
from holter.sim.scenario import SCENARIOS, Person
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
        weights: by record name: of the VT/VF score, instead of the release's.
        measures: whether outcomes hold each second's.
    """

    channel: str | None = None
    noise: Noise | None = None
    profiles: Mapping[str, PatientProfile] | None = None
    weights: Mapping[str, Weights] | None = None
    measures: bool = False


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
        features: shape (n, 8), float32, of each beat, as known when it was found: `signal.features.NAMES`.
        windows: all of them, of the learning period too.
        told: all alerts, of the learning period too, in order of being told.
        measured_at: shape (n,), float64, ends of the seconds that were measured, seconds of record time.
        measures: shape (n, 23), float32, `signal.measures.NAMES`.
        extra: shape (n, 19), float32, what they are made of.
        good: shape (n,), bool, quality of the last ten seconds; all four are empty unless `Setup.measures`.
    """

    name: str
    lead: str
    fs: float
    seconds: float
    reference: Reference
    beats: NDArray[np.float64]
    ventricular: NDArray[np.bool_]
    features: NDArray[np.float32]
    windows: Windows
    told: tuple[Told, ...]
    measured_at: NDArray[np.float64]
    measures: NDArray[np.float32]
    extra: NDArray[np.float32]
    good: NDArray[np.bool_]

    @property
    def hours(self) -> float:
        """Of the scored part."""
        return max(0.0, self.seconds - LEARNING_SECONDS) / 3600


@dataclass(slots=True)
class Bed:
    """One record, or one simulated patient, while it is played.

    Attributes:
        name: of it.
        lead: name of the channel.
        fs: Hz.
        length: seconds.
        reference: what is annotated; asked for at the end.
        chunks: the first of them is `upcoming`.
    """

    name: str
    lead: str
    fs: float
    length: float
    reference: Callable[[], Reference]
    chunks: Iterator[Chunk]
    upcoming: Chunk | None
    told: list[Told] = field(default_factory=list)
    beats: list[tuple[float, bool, list[float]]] = field(default_factory=list)
    measures: list[tuple[float, NDArray[np.float32], NDArray[np.float32], bool]] = field(default_factory=list)
    seen: int = 0
    seconds: int = 0


def _record(path: Path, setup: Setup) -> Bed:
    recording = read_recording(path, channel=setup.channel)
    reference = references.read(path, recording.fs, recording.seconds)
    if setup.noise is not None:
        try:
            mixed = noises.add(recording.millivolts, recording.fs, reference, setup.noise)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        recording = replace(recording, millivolts=mixed)
    chunks = recording.chunks(device_id("", recording.name), BASE_SECOND * MICROSECONDS)
    return Bed(
        recording.name, recording.lead, recording.fs, recording.seconds, lambda: reference, chunks, next(chunks, None)
    )


@dataclass(frozen=True, slots=True)
class Simulated:
    """A simulated patient of whom nothing physiological should be told, or a rhythm from `onset` on.

    Attributes:
        rhythm: a key of `sim.scenario.SCENARIOS`.
        number: of the patient; with the seed it says who that is.
        seconds: length.
        seed: of the ward.
        onset: second of the scenario's event.
    """

    rhythm: str
    number: int
    seconds: int
    seed: int = 0
    onset: float = 400.0

    @property
    def name(self) -> str:
        """Of the patient."""
        return f"{self.rhythm}-{self.number:03d}"

    def bed(self) -> Bed:
        """Laid down."""
        rng = np.random.default_rng([self.seed, self.number])
        heart = SCENARIOS[self.rhythm](Person.draw(rng, FS, self.onset))
        heart.beats, beats = tee(heart.beats)
        chunks = islice(Patient(self.name, heart, FS).chunks(BASE_SECOND * MICROSECONDS), self.seconds)

        def reference() -> Reference:
            known = list(takewhile(lambda b: b.at < self.seconds, beats))
            times, codes = [b.at for b in known], ["V" if b.form else "N" for b in known]
            notes = ["(N", *("" for _ in known)]
            return references.parse([0.0, *times], ["+", *codes], notes, self.seconds)

        return Bed(self.name, "simulated", float(FS), float(self.seconds), reference, chunks, next(chunks, None))


class Batch:
    """Records as the devices of one engine, played side by side.

    Args:
        sources: paths of records, without extension, and simulated patients. What cannot be read is in `failures`.
        setup: see there.
    """

    def __init__(self, sources: Sequence["Path | Simulated"], setup: Setup) -> None:
        self._failures: dict[str, str] = {}
        self._beds: dict[str, Bed] = {}
        for source in sources:
            try:
                bed = source.bed() if isinstance(source, Simulated) else _record(source, setup)
            except (RecordError, ValueError) as error:
                self._failures[source.name] = str(error)
            else:
                self._beds[device_id("", source.name)] = bed
        profiles = setup.profiles or {}
        self._engine = Engine(WINDOW, INTERVAL, capacity=max(1, len(self._beds)))
        self._life = Life("", "evaluate", COOLDOWN)
        self._decision = Decision(
            self._engine, self._life, Limits(cooldown=COOLDOWN), lambda name: profiles.get(name, PatientProfile())
        )
        self._weights, self._keeps = setup.weights or {}, setup.measures
        self._scores: list[WindowScores] = []
        self._going_on: dict[tuple[str, Kind], int] = {}
        """Place in `told` of each alert that is not cleared."""

    def failures(self) -> dict[str, str]:
        """Records that could not be read, and why."""
        return self._failures

    def seconds(self) -> float:
        """Length of the longest record."""
        return max((bed.length for bed in self._beds.values()), default=0.0)

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
                judged = self._weighed(tick)
                self._collect(judged, self._decision.step(judged))

    def _weighed(self, tick: Tick) -> Tick:
        """The tick, its VT/VF score by each record's own weights where there are such."""
        if not self._weights:
            return tick
        probability = tick.probability.copy()
        for i, slot in enumerate(tick.slots):
            weights = self._weights.get(self._engine.device_ids[slot] or "")
            if weights is not None:
                weigh(tick.measures[i : i + 1], weights.table, weights.bias, probability[i : i + 1])
        return replace(tick, probability=probability)

    def windows(self, last: int) -> WindowScores | None:
        """Windows so far that end by a second of record time; None when there are none."""
        until = (BASE_SECOND + last) * MICROSECONDS
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
        for row, (slot, second, count) in enumerate(
            zip(tick.slots, tick.seconds.tolist(), counts.tolist(), strict=True)
        ):
            name = engine.device_ids[slot] or ""
            bed = self._beds[name]
            bed.seconds = second - BASE_SECOND
            if self._keeps:
                kept = (tick.measures[row].copy(), tick.extra[row].copy(), bool(tick.quality[row] >= GOOD))
                bed.measures.append((float(bed.seconds), *kept))
            record = state[slot]
            delay = FIDUCIAL_DELAY + (0.0 if bed.fs == FS else HALF / bed.fs)
            for number in range(bed.seen, count):
                beat = record["beats"][number % BEATS]
                at = bed.seconds - (int(record["n"]) - int(beat["r"])) / FS - delay
                features = [float(beat[name]) for name in BEAT_FIELDS]
                bed.beats.append((at, bool(beat["ventricular"]), features))
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


def _outcome(bed: Bed, scores: WindowScores | None) -> Outcome:
    beats = sorted(bed.beats, key=lambda beat: beat[0])
    return Outcome(
        name=bed.name,
        lead=bed.lead,
        fs=bed.fs,
        seconds=bed.seconds,
        reference=bed.reference(),
        beats=np.array([at for at, _, _ in beats], np.float64),
        ventricular=np.array([ventricular for _, ventricular, _ in beats], np.bool_),
        features=np.array([features for _, _, features in beats], np.float32).reshape(-1, len(BEAT_FIELDS)),
        windows=_windows(scores),
        told=tuple(bed.told),
        measured_at=np.array([at for at, *_ in bed.measures], np.float64),
        measures=np.array([row for _, row, _, _ in bed.measures], np.float32).reshape(-1, len(MEASURES)),
        extra=np.array([row for _, _, row, _ in bed.measures], np.float32).reshape(-1, EXTRA),
        good=np.array([good for *_, good in bed.measures], np.bool_),
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
