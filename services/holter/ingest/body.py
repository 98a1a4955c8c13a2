"""JSON bodies: from bytes to samples in microvolts, with the field and the fault of whatever is wrong. Pure."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from holter.chunk import DEVICE_ID, FS_MAX, FS_MIN, LEAD_OFF, MAX_MILLIVOLTS, Chunk
from holter.frame import MAX_T0
from holter.ingest.refusal import RefusalError

MAX_SECONDS = 10
MAX_LINES = 5000
_FIELDS = frozenset({"device_id", "samples", "t0", "fs", "seq", "lead_off"})
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS = frozenset({int, float})


@dataclass(frozen=True, slots=True)
class Post:
    """A JSON body, or one line of many.

    Attributes:
        chunk: up to 10 s of samples; `t0` is 0 when `timed` is False.
        timed: whether the device gave a `t0`.
        token: the bearer token of a line.
    """

    chunk: Chunk
    timed: bool
    token: str | None = None


def parse(body: bytes, default_fs: float) -> Post:
    """Read a JSON body; without `fs` the rate is `default_fs` (Hz).

    Raises:
        RefusalError: 400, names the field and the fault.
    """
    return _post(_load(body), default_fs, _FIELDS)


def parse_lines(body: bytes, default_fs: float) -> Iterator[Post | RefusalError]:
    """Read NDJSON; blank lines are let be.

    Raises:
        RefusalError: 413, too many lines.
    """
    lines = [line for line in body.split(b"\n", MAX_LINES + 1) if line.strip()]
    if len(lines) > MAX_LINES:
        raise RefusalError(413, "body", f"has more than {MAX_LINES} lines: send fewer at a time")
    for line in lines:
        try:
            document = _load(line)
            post = _post(document, default_fs, _FIELDS | {"token"})
            yield Post(post.chunk, post.timed, _token(document))
        except RefusalError as e:
            yield e


def _load(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        document = _load_with_nan(body, e)
    if not isinstance(document, dict):
        raise _bad("body", "has to be a JSON object with device_id and samples", type(document).__name__)
    return document


def _load_with_nan(body: bytes, error: orjson.JSONDecodeError) -> Any:
    """Many JSON writers write NaN: read it the lenient way, so that the fault is named where it is."""
    if b"NaN" in body or b"Infinity" in body:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            pass
    raise _bad("body", f"is not JSON: {error}")


def _post(document: dict[str, Any], default_fs: float, known: frozenset[str]) -> Post:
    if not document.keys() <= known:
        unknown = min(document.keys() - known)
        raise _bad(unknown[:64], f"is not a field of this protocol; its fields are {', '.join(sorted(known))}")
    device_id = _required(document, "device_id")
    if not isinstance(device_id, str) or not DEVICE_ID.fullmatch(device_id):
        raise _bad("device_id", f"has to be a string that matches {DEVICE_ID.pattern}", device_id)
    try:
        return _from(device_id, document, default_fs)
    except RefusalError as refusal:
        raise refusal.about(device_id) from refusal.__cause__


def _from(device_id: str, document: dict[str, Any], default_fs: float) -> Post:
    fs = _fs(document.get("fs"), default_fs)
    samples = _samples(_required(document, "samples"), fs)
    t0 = _t0(document.get("t0"))
    flags = LEAD_OFF if _lead_off(document.get("lead_off", False)) else 0
    chunk = Chunk(device_id, t0 or 0, fs, samples, _seq(document.get("seq", 0)), flags)
    return Post(chunk, t0 is not None)


def _required(document: dict[str, Any], field: str) -> Any:
    try:
        return document[field]
    except KeyError:
        raise _bad(field, "is missing") from None


def _fs(value: Any, default: float) -> float:
    if value is None:
        return default
    if type(value) not in _NUMBERS or not FS_MIN <= value <= FS_MAX:
        raise _bad("fs", f"has to be a number of Hz, {FS_MIN:.0f}..{FS_MAX:.0f}", value)
    return round(float(value), 3)


def _samples(value: Any, fs: float) -> NDArray[np.int16]:
    if not isinstance(value, list):
        raise _bad("samples", "has to be a list of numbers in millivolts", type(value).__name__)
    if not value:
        raise _bad("samples", "is empty: at least one sample is expected")
    if len(value) > MAX_SECONDS * fs:
        raise _bad(
            "samples", f"is more than {MAX_SECONDS} s: at {fs:g} Hz a body holds {MAX_SECONDS * fs:.0f}", len(value)
        )
    if not _NUMBERS.issuperset(map(type, value)):
        at = next(i for i, x in enumerate(value) if type(x) not in _NUMBERS)
        raise _bad(f"samples[{at}]", "has to be a number in millivolts", value[at])
    try:
        millivolts = np.array(value, np.float64)
    except OverflowError:
        raise _bad("samples", f"holds a number beyond ±{MAX_MILLIVOLTS} mV") from None
    sound = np.abs(millivolts) <= MAX_MILLIVOLTS
    if not sound.all():
        at = int(np.argmin(sound))
        raise _bad(f"samples[{at}]", f"has to be a finite number of millivolts within ±{MAX_MILLIVOLTS}", value[at])
    return np.rint(millivolts * 1000).astype(np.int16)


def _t0(value: Any) -> int | None:
    if value is None:
        return None
    expected = "has to be an RFC 3339 time with a zone, or epoch milliseconds"
    try:
        if isinstance(value, str) and _RFC3339.fullmatch(value):
            t0 = (datetime.fromisoformat(value.upper()) - _EPOCH) // timedelta(microseconds=1)
        elif type(value) in _NUMBERS and math.isfinite(value):
            t0 = round(value * 1000)
        else:
            raise _bad("t0", expected, value)
    except (ValueError, OverflowError):
        raise _bad("t0", expected, value) from None
    if not 0 <= t0 < MAX_T0:
        raise _bad("t0", "is out of range: " + expected, value)
    return t0


def _seq(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 32:
        raise _bad("seq", "has to be an integer, 0..4294967295", value)
    return value


def _lead_off(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _bad("lead_off", "has to be true or false", value)
    return value


def _token(document: dict[str, Any]) -> str | None:
    value = document.get("token")
    if value is not None and not isinstance(value, str):
        raise RefusalError(401, "token", "has to be a string: the device's bearer token")
    return value


def _bad(field: str, reason: str, value: Any = None) -> RefusalError:
    return RefusalError(400, field, reason, value=value)
