"""InfluxDB line protocol from our own types: pure functions, bytes out, every line with its newline.

Tags are written in the order of their keys, timestamps in nanoseconds.
"""

import base64
from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
import orjson

from holter.alert import Acknowledgement, AlertEvent
from holter.chunk import Chunk, shard_of
from holter.store.protocol import Baseline, StoreRefusedError, Strip
from holter.window import WindowScores

NANOSECONDS = 1000
"""In a microsecond."""

Value = float | int | bool | str

_TRUTH = {False: b"false", True: b"true"}
SCORES = ("ordered", "forest", "score", "quality")
STATES = ("flagged", "alerted", "revision")
_RESERVED = {*SCORES, *STATES, "_time", "_value", "_field", "_measurement", "device_id", "shard", "time"}

_KEY = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})
_TEXT = str.maketrans({'"': r"\"", "\\": r"\\"})


def line(measurement: str, tags: Mapping[str, str], fields: Mapping[str, Value | None], time: int | None) -> bytes:
    """One point.

    Args:
        measurement: its name.
        tags: by key.
        fields: by key; None and numbers that are not finite are left out.
        time: ns since the epoch; None lets InfluxDB take its own clock.

    Returns:
        The line with its newline; empty when no field is left.

    Raises:
        StoreRefusedError: a tag or key cannot be written: empty, with a line break, or ending in a backslash.
    """
    key = ",".join([_key(measurement), *(f"{_key(tag)}={_key(value)}" for tag, value in sorted(tags.items()))])
    written = ((name, _value(value)) for name, value in fields.items())
    body = ",".join(f"{_key(name)}={text}" for name, text in written if text is not None)
    stamp = "" if time is None else f" {time}"
    return f"{key} {body}{stamp}\n".encode() if body else b""


@lru_cache(1 << 17)
def chunk_key(name: bytes) -> bytes:
    """Measurement and tags of a device's chunks in layout `Chunks`; an id needs no escaping."""
    return b"ecg_chunk,device_id=%b,shard=%d" % (name, shard_of(name.decode()))


@lru_cache(1 << 17)
def _score_key(device_id: str) -> bytes:
    return b"ecg_score,device_id=%b,shard=%d" % (device_id.encode(), shard_of(device_id))


def sample_lines(chunk: Chunk) -> bytes:
    """Layout `Samples`: one point a sample, in mV; the chunk's first point also says what the chunk was."""
    return _samples("ecg_signal", _device(chunk.device_id), chunk)


def sample_times(t0: int, fs: float, n: int) -> list[int]:
    """Times of n samples, ns since the epoch: t0 + i / fs, each rounded by itself, so that nothing drifts.

    Args:
        t0: µs since the epoch.
        fs: Hz, taken at 1 mHz.
        n: how many.
    """
    millihertz = round(fs * 1000)
    start = t0 * NANOSECONDS
    return [start + (2 * i * 10**12 + millihertz) // (2 * millihertz) for i in range(n)]


def strip_lines(strip: Strip) -> bytes:
    """The samples around an alert, as `sample_lines`, under the alert's id."""
    return _samples("ecg_strip", {"device_id": strip.chunk.device_id, "alert": strip.alert_id}, strip.chunk)


def score_lines(scores: WindowScores) -> Iterator[bytes]:
    """One point a window, each feature a field of its own name; a feature that is NaN has no field.

    Raises:
        StoreRefusedError: a feature has the name of another column.
    """
    if taken := _RESERVED.intersection(scores.names):
        raise StoreRefusedError(f"features {sorted(taken)}: names that ecg_score has for something else; rename them")
    heads = [f",{_key(name)}=".encode() for name in (*SCORES, *scores.names)]
    numbers = np.column_stack([*(getattr(scores, name) for name in SCORES), scores.features]).astype(np.float32)
    # The shortest text that is read back as the same float32, or null: seven times as quick as `repr`, value by value.
    rows = orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].split(b"],[")
    states = zip(scores.flagged.tolist(), scores.alerted.tolist(), scores.revision.tolist(), strict=True)
    for device_id, end, row, (flagged, alerted, revision) in zip(
        scores.device_ids, scores.ends.tolist(), rows, states, strict=True
    ):
        fields = b"".join(
            [head + text for head, text in zip(heads, row.split(b","), strict=True) if text != b"null"]
        )  # fmt: skip
        yield b"%b flagged=%b,alerted=%b,revision=%di%b %d\n" % (
            _score_key(device_id), _TRUTH[flagged], _TRUTH[alerted], revision, fields, end * NANOSECONDS,
        )  # fmt: skip


def alert_line(event: AlertEvent) -> bytes:
    """One alert event; the alert, its event and `decided_at` tell it from any other."""
    tags = {"device_id": event.device_id, "alert": event.alert_id, "kind": event.kind, "event": event.event}
    fields: dict[str, Value | None] = {
        "id": event.id,
        "priority": str(event.priority),
        "category": str(event.category),
        "onset": event.onset,
        "reason": event.reason,
        "score": _float(event.score),
        "threshold": _float(event.threshold),
        "model_revision": event.model_revision,
    }
    return line("ecg_alert", tags, fields, event.decided_at * NANOSECONDS)


def ack_line(ack: Acknowledgement) -> bytes:
    """One acknowledgement."""
    fields = {"by": ack.by, "reason": ack.reason}
    return line("ecg_ack", {"device_id": ack.device_id, "alert": ack.alert_id}, fields, ack.at * NANOSECONDS)


def baseline_line(baseline: Baseline) -> bytes:
    """One baseline."""
    payload = {"payload": base64.b64encode(baseline.payload).decode()}
    return line("ecg_baseline", _device(baseline.device_id), payload, baseline.at * NANOSECONDS)


def _samples(measurement: str, tags: Mapping[str, str], chunk: Chunk) -> bytes:
    first, *rest = sample_times(chunk.t0, chunk.fs, len(chunk.samples))
    voltage = (chunk.samples / 1000).tolist()
    about = f"{len(chunk.samples)} {round(chunk.fs * 1000)} {chunk.seq} {chunk.flags} {chunk.arrived}"
    head = line(measurement, tags, {"voltage": voltage[0], "chunk": about}, first)
    # The hot loop: the key is escaped once, above.
    key = line(measurement, tags, {"voltage": 0.0}, 0).partition(b" voltage=")[0].decode()
    body = "".join(f"{key} voltage={v!r} {t}\n" for v, t in zip(voltage[1:], rest, strict=True))
    return head + body.encode()


def _device(device_id: str) -> dict[str, str]:
    return {"device_id": device_id, "shard": str(shard_of(device_id))}


def _key(text: str) -> str:
    if not text or "\n" in text or "\r" in text or text.endswith("\\"):
        raise StoreRefusedError(f"{text!r} in a tag or key: expected text on one line that does not end in a backslash")
    return text.translate(_KEY)


def _value(value: Value | None) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value}i"
        case float():
            return repr(value) if np.isfinite(value) else None
        case _:
            return f'"{value.translate(_TEXT)}"'


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)
