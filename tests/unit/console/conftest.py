"""A console on a SQLite store, with a clock that the test sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from holter.alert import AlertEvent, Kind, Priority, Transition
from holter.chunk import MICROSECONDS, Chunk
from holter.console.access import Access
from holter.console.measures import Measures
from holter.console.monitor import Monitor
from holter.store.sqlite import SqliteStore
from holter.window import WindowScores

NOW = 1_800_000_000 * MICROSECONDS
VIEW, ACKNOWLEDGE = "view-token-of-a-test", "acknowledge-token-of-a-test"


@pytest.fixture
def now() -> int:
    return NOW


@pytest.fixture
def beats() -> Callable[..., np.ndarray]:
    """A train of narrow complexes: rate in 1/min, microvolts."""

    def make(rate: float, seconds: float, fs: float = 250.0, height: float = 1000.0, noise: float = 5.0) -> np.ndarray:
        times = np.arange(round(seconds * fs)) / fs
        phase = (times * rate / 60 + 0.5) % 1 - 0.5
        complexes = height * np.exp(-0.5 * (phase * 60 / rate / 0.012) ** 2)
        return (complexes + np.random.default_rng(1).normal(0, noise, len(times))).astype(np.int16)

    return make


@pytest.fixture
def chunk() -> Callable[..., Chunk]:
    """One second of a device; `ago` seconds before now it ended."""

    def make(device: str = "bed1", ago: float = 0.0, samples: np.ndarray | None = None, **more: object) -> Chunk:
        samples = np.zeros(250, np.int16) if samples is None else samples
        return Chunk(device, NOW - round((ago + 1) * MICROSECONDS), 250.0, samples, **more)

    return make


@pytest.fixture
def event() -> Callable[..., AlertEvent]:
    """An alert event; `ago` seconds before now it was decided, 3.5 s after its onset."""

    def make(alert: str = "ab1", number: int = 0, ago: float = 60.0, **more: object) -> AlertEvent:
        decided = NOW - round(ago * MICROSECONDS)
        fields = {
            "id": f"{alert}-{number}",
            "alert_id": alert,
            "event": Transition.RAISED if number == 0 else Transition.UPDATED,
            "device_id": "bed1",
            "kind": Kind.VENTRICULAR_TACHYCARDIA,
            "priority": Priority.HIGH,
            "onset": decided - 3_500_000,
            "decided_at": decided,
            "reason": "wide-complex rhythm 182/min for 3 s",
        }
        return AlertEvent(**{**fields, **more})

    return make


@pytest.fixture
def windows() -> Callable[..., WindowScores]:
    """One window each of these devices, ending `ago` seconds before now."""

    def make(devices: tuple[str, ...], ago: float = 2.0, revision: int = 4) -> WindowScores:
        n = len(devices)
        column = np.arange(n, dtype=np.float32)
        return WindowScores(
            devices,
            np.full(n, NOW - round(ago * MICROSECONDS)),
            ("width", "tilt"),
            np.column_stack([column, np.full(n, np.nan, np.float32)]),
            column, np.full(n, np.nan, np.float32), column + 1, np.full(n, 0.9, np.float32),
            np.zeros(n, bool), np.zeros(n, bool), np.full(n, revision, np.int32),
        )  # fmt: skip

    return make


@pytest.fixture
def store(tmp_path: Path):
    made = SqliteStore(tmp_path / "store.db", clock=lambda: NOW)
    yield made
    made.close()


@pytest.fixture
def monitor(store: SqliteStore) -> Monitor:
    return Monitor(lambda: store, Measures("ward"), clock=lambda: NOW)


@pytest.fixture
def tokens() -> tuple[str, str]:
    return VIEW, ACKNOWLEDGE


@pytest.fixture
def token_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tokens"
    folder.mkdir()
    (folder / "view").write_text(f"{VIEW}\n")
    (folder / "acknowledge").write_text(ACKNOWLEDGE)
    return folder


@pytest.fixture
def access(token_folder: Path) -> Access:
    return Access(token_folder)
