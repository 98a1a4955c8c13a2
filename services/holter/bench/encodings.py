"""How a chunk is best written as text: bytes on InfluxDB's disk once it has compacted them, and what it costs.

    python -m holter.bench.encodings INFLUXD [WFDB-RECORD ...]

Starts that program on a port and folder of its own, since compaction has to be told to come soon; docs/store.md has the
table. Without records simulated patients are written.
"""

import base64
import json
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from influxdb_client.client.write_api import SYNCHRONOUS
from numpy.typing import NDArray

from holter.bench import usage
from holter.bench.bucket import Influx, own_bucket
from holter.bench.influxd import Influxd
from holter.bench.playing import FS, record
from holter.chunk import MICROSECONDS, Chunk
from holter.sim.ward import MIX
from holter.store import pcm

DEVICES, SECONDS = 100, 180
_HEAD = struct.Struct("<BIIq")  # flags, seq, rate in mHz, arrival in µs
_SETTLE_SECONDS = 90.0
_SOON = {
    # What it would do after ten minutes and four hours.
    "INFLUXD_STORAGE_CACHE_SNAPSHOT_WRITE_COLD_DURATION": "3s",
    "INFLUXD_STORAGE_COMPACT_FULL_WRITE_COLD_DURATION": "6s",
}
Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class EncodingCost:
    """One encoding.

    Attributes:
        name: what it is.
        characters: of a text, on average.
        disk_bytes: of InfluxDB for each sample, compacted, index and other fields included.
        encode_us: CPU µs for a chunk.
        decode_us: the same back.
        influxd_us: CPU µs of influxd for a chunk, written and compacted.
    """

    name: str
    characters: float
    disk_bytes: float
    encode_us: float
    decode_us: float
    influxd_us: float


@dataclass(frozen=True, slots=True)
class Encoding:
    """A candidate: a chunk to text and back."""

    name: str
    encode: Callable[[Chunk], str]
    decode: Callable[[str], Samples]


def _head(chunk: Chunk) -> bytes:
    return _HEAD.pack(chunk.flags, chunk.seq, round(chunk.fs * 1000), chunk.arrived)


def _zigzag(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return values << 1 ^ values >> 63


def _unzigzag(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return values >> 1 ^ -(values & 1)


def _differences(chunk: Chunk) -> NDArray[np.int64]:
    samples = chunk.samples.astype(np.int64)
    samples[1:] -= samples[:-1].copy()
    return samples


def _raw(chunk: Chunk) -> str:
    return base64.b64encode(_head(chunk) + chunk.samples.tobytes()).decode()


def _from_raw(text: str) -> Samples:
    return np.frombuffer(base64.b64decode(text), "<i2", offset=0 if _HEAD.size % 2 == 0 else _HEAD.size)


def _varint(chunk: Chunk) -> str:
    """Differences, zigzag, 7 bits a byte."""
    values = _zigzag(_differences(chunk))
    parts = values[:, None] >> np.array([0, 7, 14]) & 127
    sizes = 1 + (values > 127) + (values > 16383)
    place = np.arange(3)
    parts[place < sizes[:, None] - 1] |= 128
    return base64.b64encode(_head(chunk) + parts[place < sizes[:, None]].astype(np.uint8).tobytes()).decode()


def _from_varint(text: str) -> Samples:
    data = np.frombuffer(base64.b64decode(text), np.uint8, offset=_HEAD.size).astype(np.int64)
    last = data < 128
    group = np.concatenate(([0], np.cumsum(last)[:-1]))
    first = np.concatenate(([True], last[:-1]))
    place = np.arange(len(data)) - np.flatnonzero(first)[group]
    values = np.bincount(group, weights=(data & 127) << 7 * place).astype(np.int64)
    return np.cumsum(_unzigzag(values)).astype(np.int16)


def _deflate(level: int) -> tuple[Callable[[Chunk], str], Callable[[str], Samples]]:
    """Differences as int16, low bytes and then high bytes, deflated, base85."""

    def encode(chunk: Chunk) -> str:
        planes = _zigzag(_differences(chunk)).astype("<u4").view(np.uint8).reshape(-1, 4)[:, :3].T.tobytes()
        return base64.b85encode(_head(chunk) + zlib.compress(planes, level)).decode()

    def decode(text: str) -> Samples:
        planes = np.frombuffer(zlib.decompress(base64.b85decode(text)[_HEAD.size :]), np.uint8).reshape(3, -1)
        values = (planes.astype(np.int64) << np.array([[0], [8], [16]])).sum(0)
        return np.cumsum(_unzigzag(values)).astype(np.int16)

    return encode, decode


def _decimal(chunk: Chunk) -> str:
    """Differences as a person would write them."""
    return base64.b64encode(_head(chunk)).decode() + " " + " ".join(map(str, _differences(chunk).tolist()))


def _from_decimal(text: str) -> Samples:
    return np.cumsum([int(x) for x in text.split()[1:]]).astype(np.int16)


ENCODINGS = (
    Encoding("base64 of int16", _raw, _from_raw),
    Encoding("decimal differences, as text", _decimal, _from_decimal),
    Encoding("base64 of difference varints", _varint, _from_varint),
    Encoding("base85 of deflated differences, level 1", *_deflate(1)),
    Encoding("base85 of deflated differences, level 6", *_deflate(6)),
    Encoding("R: Rice code of differences, 91 characters", pcm.encode, lambda text: pcm.decode("a", 0, text).samples),
)


def measure_encodings(program: Path, folder: Path, samples: Samples, seconds: int = SECONDS) -> list[EncodingCost]:
    """Write the same chunks in each encoding to a bucket of its own.

    Args:
        program: influxd 2.7.
        folder: for its files.
        samples: int16 µV at 250 Hz, some minutes; each device begins elsewhere in it.
        seconds: of each of `DEVICES` devices.

    Raises:
        RuntimeError: influxd does not start, or an encoding does not give back what it was given.
    """
    chunks = list(_chunks(samples, seconds))
    pcm.warm()
    influxd = Influxd(program, folder, **_SOON)
    influxd.start()
    try:
        return [_measure(encoding, chunks, influxd) for encoding in ENCODINGS]
    finally:
        influxd.kill()


def _measure(encoding: Encoding, chunks: Sequence[Chunk], influxd: Influxd) -> EncodingCost:
    began = time.process_time()
    texts = [encoding.encode(chunk) for chunk in chunks]
    encoded = time.process_time()
    back = [encoding.decode(text) for text in texts]
    decoded = time.process_time()
    if not all(np.array_equal(a, c.samples) for a, c in zip(back, chunks, strict=True)):
        raise RuntimeError(f"{encoding.name} does not give back what it was given")
    with own_bucket(influxd.environment) as influx, influx.client() as client:
        before, writer = usage.cpu(influxd.pid), client.write_api(SYNCHRONOUS)
        lines = [
            f'ecg_chunk,device_id={c.device_id},shard={c.shard} pcm="{text}",'
            f"n={len(c.samples)}i,fs={c.fs},seq={c.seq}i {c.t0}"
            for c, text in zip(chunks, texts, strict=True)
        ]
        for first in range(0, len(lines), 2000):
            writer.write(influx.bucket, record="\n".join(lines[first : first + 2000]), write_precision="us")
        size = _compacted(influx)
        return EncodingCost(
            encoding.name,
            sum(map(len, texts)) / len(texts),
            size / sum(len(c.samples) for c in chunks),
            1e6 * (encoded - began) / len(chunks),
            1e6 * (decoded - encoded) / len(chunks),
            1e6 * (usage.cpu(influxd.pid) - before) / len(chunks),
        )


def _chunks(samples: Samples, seconds: int) -> Iterator[Chunk]:
    """Second by second, as they come."""
    base = 1_750_000_000 * MICROSECONDS
    for second in range(seconds):
        for device in range(DEVICES):
            first = (device * 1777 + second * FS) % (len(samples) - FS)
            t0 = base + second * MICROSECONDS + device * 9973
            arrived = t0 + MICROSECONDS + (device * 7919 + second * 104_729) % 400_000
            yield Chunk(f"device-{device:05d}", t0, float(FS), samples[first : first + FS], second, 0, arrived)


def _compacted(influx: Influx) -> int:
    """Bytes of the bucket's shards once they have stayed the same for a while."""
    with influx.client() as client:
        label = f'bucket="{client.buckets_api().find_bucket_by_name(influx.bucket).id}"'
    until, size, since = time.monotonic() + _SETTLE_SECONDS, -1, 0.0
    while time.monotonic() < until:
        with urlopen(f"{influx.url}/metrics", timeout=30) as answer:  # noqa: S310 - of this run's own
            text = answer.read().decode()
        rows = [x for x in text.splitlines() if x.startswith("storage_shard_disk_size{") and label in x]
        now = round(sum(float(row.rpartition(" ")[2]) for row in rows))
        if now != size:
            size, since = now, time.monotonic()
        elif size and time.monotonic() - since > 20:
            return size
        time.sleep(1)
    raise RuntimeError(f"{influx.bucket} was not compacted within {_SETTLE_SECONDS:g} s")


def _record(path: str) -> Samples:
    """A WFDB record's first channel at 250 Hz, µV."""
    import wfdb
    from scipy.signal import resample_poly

    found = wfdb.rdrecord(path, channels=[0])
    resampled = resample_poly(found.p_signal[:, 0], FS, round(found.fs))
    samples: Samples = np.clip(np.rint(1000 * np.nan_to_num(resampled)), -32767, 32767).astype(np.int16)
    return samples


def _simulated() -> Samples:
    return record(MIX, templates=len(MIX), onset=5.0).samples.reshape(-1)


def main(arguments: Sequence[str]) -> None:
    """Measure and print a table, and the same as JSON."""
    program, *records = arguments
    samples = np.concatenate([_record(path) for path in records]) if records else _simulated()
    with tempfile.TemporaryDirectory() as folder:
        costs = measure_encodings(Path(program), Path(folder), samples)
    names = ("encoding", "characters", "bytes on disk a sample", "encode µs", "decode µs", "influxd µs")
    rows = [
        (c.name, f"{c.characters:.0f}", f"{c.disk_bytes:.2f}", *map("{:.1f}".format, astuple(c)[3:])) for c in costs
    ]
    for row in (names, ("---",) * len(names), *rows):
        sys.stdout.write(f"| {' | '.join(row)} |\n")
    sys.stdout.write(json.dumps([asdict(cost) for cost in costs]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
