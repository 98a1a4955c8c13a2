"""The worker's hot path in this process: from the feed's bytes to the committed decision, stage by stage."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from holter import logs
from holter.batch.chunks import Chunks
from holter.bench import usage
from holter.bench.playing import Patients, Tape, record
from holter.chunk import MICROSECONDS, Chunk
from holter.feed import wire
from holter.inference.decision import Decision, Limits
from holter.inference.decision.life import Life
from holter.inference.engine import Engine
from holter.inference.outbox import Outbox
from holter.inference.telemetry import Telemetry
from holter.inference.warm import warm
from holter.inference.worker import Parts, Worker
from holter.ingest.records import record as log_record
from holter.memory import keep_flat
from holter.metrics import Metrics
from holter.model.fit import FitSettings, fit
from holter.model.fusion import fuse
from holter.model.pipeline import Model, select
from holter.signal.features import FEATURES, NAMES, ordered_score, window_features
from holter.store.open import open_store

BURSTS = 4
"""Looks a second, as a worker looks at its feed."""
MESSAGE_CHUNKS = 450
"""In one message of the feed, about 256 KiB."""
WARM_SECONDS = 25


@dataclass(frozen=True, slots=True)
class Judging:
    """What a patient costs a worker. CPU in µs for a patient and interval.

    Attributes:
        patients: how many.
        interval: seconds.
        fetch: reading the feed's bytes and putting them into streams.
        decided: fetch to committed decision, the life-threatening path each second and a window each interval.
        window: fetch, features and score of the window alone.
        stored: writing its scores to the store, beside that.
        bytes: of this process's memory for a patient.
    """

    patients: int
    interval: int
    fetch: float
    decided: float
    window: float
    stored: float
    bytes: float


class Feeding:
    """What the feed would bring, made before it is measured."""

    def __init__(self, tape: Tape, patients: int, base: int) -> None:
        self._patients = Patients(tape, patients, bytes(32), base)

    def second(self, second: int) -> list[list[bytes]]:
        """Of each look in one second: payloads of CHUNKS."""
        n, looks = self._patients.n, []
        for look in range(BURSTS):
            records = [
                self._record(i, second) for i in range(n * look // BURSTS, n * (look + 1) // BURSTS)
            ]  # fmt: skip
            looks.append(
                [wire.encode_batch(0, records[k : k + MESSAGE_CHUNKS]) for k in range(0, len(records), MESSAGE_CHUNKS)]
            )
        return looks

    def _record(self, patient: int, second: int) -> bytes:
        p = self._patients
        t0 = p.t0(patient, second)
        samples = p.tape.second(patient, second)
        return log_record(Chunk(p.ids[patient], t0, 250.0, samples, second, 0, t0 + MICROSECONDS))


def read(payloads: list[bytes]) -> Chunks:
    """As the feed's client reads them."""
    return Chunks.join([wire.decode_batch(payload).chunks for payload in payloads])


def measure(store: str, folder: Path, patients: int, seconds: int, memory: Callable[[], int]) -> Judging:
    """Judge `patients` for so many seconds of event time, as fast as it goes.

    Args:
        store: as in HOLTER_STORE; scores go there.
        folder: for the outbox.
        patients: how many.
        seconds: a multiple of the interval.
        memory: bytes of this process.
    """
    base = round(time.time() - 60) * MICROSECONDS
    feeding, empty = Feeding(record(), patients, base), memory()
    engine = Engine(capacity=64)
    worker = _worker(engine, store, folder)
    for second in range(WARM_SECONDS):
        for payloads in feeding.second(second):
            worker.judge(read(payloads))
            worker.look()
        if second == WARM_SECONDS - 6:
            worker.use(_model(engine), time.time())
    worker.errands.run(time.time())
    fetch = decided = stored = 0.0
    for second in range(WARM_SECONDS, WARM_SECONDS + seconds):
        looks = feeding.second(second)
        began = time.process_time()
        taken = [read(payloads) for payloads in looks]
        fetch += time.process_time() - began
        began = time.process_time()
        for chunks in taken:
            worker.judge(chunks)
            worker.look()
        decided += time.process_time() - began
        began = time.process_time()
        worker.errands.run(time.time())
        stored += time.process_time() - began
    held = memory() - empty
    rows = patients * seconds / engine.interval
    streams = _streams_alone(feeding, patients, engine.interval)
    window = _window_alone(engine)
    return Judging(
        patients, engine.interval, 1e6 * (fetch / rows + streams), 1e6 * (fetch + decided) / rows,
        1e6 * (fetch / rows + streams + window), 1e6 * stored / rows, held / patients,
    )  # fmt: skip


def _worker(engine: Engine, store: str, folder: Path) -> Worker:
    outbox = Outbox(folder / "outbox.db")
    life = Life("bench", "bench", 60)
    decision = Decision(engine, life, Limits())
    telemetry = Telemetry(Metrics("bench"))
    opened = open_store(store, layout="Chunks", writer="bench")
    worker = Worker(Parts(opened, outbox, engine, life, decision, telemetry), range(64))
    worker.restore()
    return worker


def _model(engine: Engine) -> Model:
    """Of the windows that end now."""
    slots = _slots(engine)
    features = window_features(engine.state, slots, engine.window)
    ordered = np.nan_to_num(ordered_score(features))
    rng = np.random.default_rng(0)
    features = np.where(np.isfinite(features), features, rng.random(features.shape)).astype(np.float32)
    return fit(FEATURES, features, ordered, FitSettings()).model


def _slots(engine: Engine) -> "np.typing.NDArray[np.int64]":
    return np.flatnonzero([device is not None for device in engine.device_ids])


def _streams_alone(feeding: Feeding, patients: int, interval: int) -> float:
    """CPU seconds of a patient's chunks of one interval into seconds, without what is made of them."""
    engine = Engine(capacity=64)
    looks = [[read(payloads) for payloads in feeding.second(s)] for s in range(2 + interval)]
    spent = 0.0
    for second, chunks in enumerate(looks):
        began = time.process_time()
        for some in chunks:
            for _ in _seconds(engine, some):
                pass
        spent += time.process_time() - began if second >= 2 else 0.0
    return spent / patients


def _seconds(engine: Engine, chunks: Chunks) -> Iterator[object]:
    slots = engine.place(chunks)
    touched = np.unique(slots)
    at = 0
    while (at := engine.streams.push(slots, chunks, at, 1.0)) < len(chunks):
        yield engine.streams.take(touched)
    while (taken := engine.streams.take(touched)) is not None:
        yield taken


def _window_alone(engine: Engine, times: int = 3) -> float:
    """CPU seconds of one window's features and score, batched as the engine batches them."""
    assert engine.model is not None
    slots, size = _slots(engine), 256
    began = time.process_time()
    for _ in range(times):
        for first in range(0, len(slots), size):
            some = slots[first : first + size]
            features = window_features(engine.state, some, engine.window)
            fuse(engine.model.score(select(NAMES, features, engine.model.names)), ordered_score(features))
    return (time.process_time() - began) / times / len(slots)


def main() -> None:
    """Arguments on stdin, figures on stdout: in a process of its own, so that its CPU and memory are the worker's."""
    keep_flat()
    given = json.load(sys.stdin)
    logs.configure("bench")
    out = sys.stdout
    warm()
    found = measure(
        given["store"], Path(given["folder"]), given["patients"], given["seconds"], lambda: usage.memory(os.getpid())
    )
    json.dump(asdict(found), out)


if __name__ == "__main__":
    main()
