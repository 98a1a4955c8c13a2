"""The two ways InfluxDB keeps chunks: one point a chunk, or one point a sample."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
import structlog
from numpy.typing import NDArray

from holter.chunk import Chunk
from holter.packed import Batch
from holter.store import flux, lines, pcm
from holter.store.rows import Table

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Layout:
    """How chunks become points and points chunks.

    Attributes:
        measurement: where they are.
        fields: what has to be read of them.
        encode: a batch's lines.
        compress: whether gzip pays for a body (docs/store.md).
        decode: the chunks whose points are all there, each device's in order of `t0`; columns `device_id`, `_field`,
            `_time`, `_value` are read.
    """

    measurement: str
    fields: tuple[str, ...]
    encode: Callable[[Batch], bytes]
    decode: Callable[[Iterable[Table]], list[Chunk]]
    compress: bool

    @property
    def condition(self) -> str:
        """The series to read, in Flux."""
        return flux.any_of("_field", self.fields)


def _chunk_lines(chunks: Batch) -> bytes:
    return pcm.chunk_lines(chunks, list(map(lines.chunk_key, chunks.names)))


def _sample_lines(chunks: Batch) -> bytes:
    return b"".join(map(lines.sample_lines, chunks))


def _decode_chunks(tables: Iterable[Table]) -> list[Chunk]:
    chunks = []
    for table in tables:
        times = (table.times() // lines.NANOSECONDS).tolist()
        texts, device_ids = table.texts("_value"), table.texts("device_id")
        for i, chunk in enumerate(pcm.decode_all(device_ids, times, texts)):
            if chunk is not None:
                chunks.append(chunk)
                continue
            # One that another program wrote must not hide the rest.
            why = pcm.reason(texts[i])
            _log.warning("unreadable chunk left out", device_id=device_ids[i], t0=times[i], reason=why)
    return sorted(chunks, key=lambda chunk: (chunk.t0, chunk.device_id))


def _decode_samples(tables: Iterable[Table]) -> list[Chunk]:
    heads: list[tuple[int, str, str]] = []
    signals: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float64]]]] = defaultdict(list)
    for table in tables:
        times = table.times()
        # Text and numbers never share a table, so a table holds heads alone or samples alone.
        if table.texts("_field")[0] == "chunk":
            heads += zip(times.tolist(), table.texts("device_id"), table.texts("_value"), strict=True)
            continue
        values = table.floats("_value")
        for device_id, rows in _runs(table.texts("device_id")):
            signals[device_id].append((times[rows], values[rows]))
    joined = {device_id: _join(parts) for device_id, parts in signals.items()}
    chunks = []
    for time, device_id, about in sorted(heads):
        try:
            chunk = _assemble(time, device_id, about, *joined[device_id]) if device_id in joined else None
        except ValueError as error:  # as above
            _log.warning("unreadable chunk left out", device_id=device_id, time=time, reason=str(error))
            continue
        if chunk is not None:
            chunks.append(chunk)
    return chunks


def _assemble(
    time: int, device_id: str, about: str, times: NDArray[np.int64], voltage: NDArray[np.float64]
) -> Chunk | None:
    """The chunk that began at `time` (ns), None while some of its samples are missing: a write still under way.

    Raises:
        ValueError: `about` is not as this Holter writes it.
    """
    n, millihertz, seq, flags, arrived = (int(number) for number in about.split())
    t0, fs = time // lines.NANOSECONDS, millihertz / 1000
    expected = np.array(lines.sample_times(t0, fs, n))
    places = np.minimum(np.searchsorted(times, expected), len(times) - 1)
    if not np.array_equal(times[places], expected):
        return None
    return Chunk(device_id, t0, fs, np.rint(voltage[places] * 1000).astype(np.int16), seq, flags, arrived)


def _join(parts: list[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    times, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(times, kind="stable")
    return times[order], values[order]


def _runs(values: Sequence[str]) -> Iterator[tuple[str, slice]]:
    """Runs of one value, with the slice where each is."""
    start = 0
    for value, run in groupby(values):
        stop = start + sum(1 for _ in run)
        yield value, slice(start, stop)
        start = stop


LayoutName = Literal["Chunks", "Samples"]
LAYOUTS: dict[LayoutName, Layout] = {
    "Chunks": Layout("ecg_chunk", ("pcm",), _chunk_lines, _decode_chunks, compress=False),
    "Samples": Layout("ecg_signal", ("voltage", "chunk"), _sample_lines, _decode_samples, compress=True),
}
