"""A recorded patient: one channel of a WFDB record as chunks, with what is annotated beside it."""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holter.chunk import DEVICE_ID, FS_MAX, FS_MIN, MAX_MILLIVOLTS, MICROSECONDS, Chunk
from holter.sim.annotations import Annotations, summarise

PREFERRED_LEAD = "MLII"


class RecordError(Exception):
    """A record cannot be played; the message says which, why, and what would be right."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A stretch of one channel.

    Attributes:
        name: of the record.
        lead: name of the channel.
        fs: Hz.
        start: of the stretch, seconds of record time.
        millivolts: shape (n,), float64; NaN where nothing was recorded.
        annotations: of the stretch.
    """

    name: str
    lead: str
    fs: float
    start: float
    millivolts: NDArray[np.float64]
    annotations: Annotations

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.millivolts) / self.fs

    def chunks(self, device_id: str, base: int) -> Iterator[Chunk]:
        """The stretch in chunks of at most a second, on a grid that depends on `base` alone (µs since the epoch).

        What was not recorded is a gap between chunks.
        """
        microvolts = np.rint(np.clip(self.millivolts, -MAX_MILLIVOLTS, MAX_MILLIVOLTS) * 1000)
        recorded = np.isfinite(self.millivolts)
        n, seq = int(self.fs), 0
        for second in range(0, len(microvolts), n):
            for first, last in _spans(recorded[second : second + n]):
                i, j = second + first, second + last
                t0 = base + round(i * MICROSECONDS / self.fs)
                yield Chunk(device_id, t0, self.fs, microvolts[i:j].astype(np.int16), seq)
                seq += 1


def device_id(prefix: str, name: str) -> str:
    """A device id for a record; what such an id may not hold becomes a dash.

    Raises:
        RecordError: it is too long.
    """
    found = re.sub(r"[^A-Za-z0-9._-]", "-", f"{prefix}{name}")
    if not DEVICE_ID.fullmatch(found):
        raise RecordError(f"device id {found!r} does not match {DEVICE_ID.pattern}: choose a shorter --device-prefix")
    return found


def read(path: Path, *, channel: str | None = None, start: float = 0.0, seconds: float | None = None) -> Recording:
    """Read a record with its annotations (`.atr`), where it has any.

    Args:
        path: of the record, without extension.
        channel: name or number; None: `PREFERRED_LEAD` where there is one, else the first.
        start: seconds into the record.
        seconds: length; None: to its end.

    Raises:
        RecordError: it is not there, or holds nothing of the kind.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies; none is about the record
        import wfdb

        if not path.with_name(f"{path.name}.hea").exists():
            raise RecordError(f"{path}: no such record ({path.name}.hea); its path without extension is expected")
        try:
            header = wfdb.rdheader(str(path))
            index = _channel(path, header.sig_name, channel)
            first = round(start * header.fs)
            last = header.sig_len if seconds is None else min(header.sig_len, first + round(seconds * header.fs))
            if first >= last:
                raise RecordError(f"{path}: --start {start:g} is beyond its end at {header.sig_len / header.fs:g} s")
            record = wfdb.rdrecord(str(path), sampfrom=first, sampto=last, channels=[index])
            annotated = path.with_name(f"{path.name}.atr").exists()
            marks = wfdb.rdann(str(path), "atr") if annotated else None
        except (OSError, ValueError) as e:
            raise RecordError(f"{path}: {e}") from e
    fs = float(header.fs)
    if not FS_MIN <= fs <= FS_MAX:
        raise RecordError(f"{path}: {fs:g} Hz; devices send {FS_MIN:g}..{FS_MAX:g} Hz")
    begin, end = first / fs, last / fs
    times, symbols, notes = (
        ((marks.sample / fs).tolist(), marks.symbol, marks.aux_note) if marks is not None else ([], [], [])
    )
    annotations = summarise(times, symbols, notes, begin, end)
    return Recording(path.name, header.sig_name[index], fs, begin, record.p_signal[:, 0], annotations)


def _channel(path: Path, names: list[str], wanted: str | None) -> int:
    if wanted is None:
        return names.index(PREFERRED_LEAD) if PREFERRED_LEAD in names else 0
    if wanted in names:
        return names.index(wanted)
    if wanted.isdigit() and int(wanted) < len(names):
        return int(wanted)
    raise RecordError(f"{path}: no channel {wanted!r}; there are {', '.join(names)}, or 0..{len(names) - 1}")


def _spans(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
