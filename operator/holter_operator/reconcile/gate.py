"""The gate: whether a refit's candidate becomes the next model revision, judged from its `model.json` alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORMAT = 1
MAX_BYTES = 900_000
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a candidate has to hold.

    Attributes:
        min_windows: usable windows, at least (`refit.minWindows`).
        max_shift: of a quantile of the fused score, on its fixed scale. Populations differ by 0.6, so 1 is no drift of
            patients but of the model.
        max_rate_factor: between the shares of windows beyond the threshold, up or down: a model that has gone quiet is
            as wrong as one that has gone loud.
        least_rate: shares below count as this one: a few windows in a thousand are chance.
    """

    min_windows: int
    max_shift: float = 1.0
    max_rate_factor: float = 2.0
    least_rate: float = 0.005


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says.

    Attributes:
        accepted: the candidate becomes the next revision.
        reason: CamelCase, for conditions and Events: Accepted, Malformed, FormatUnsupported, TooFewWindows, TooLarge,
            ScoreDrift, AlertRateChange.
        message: in words, with the numbers.
    """

    accepted: bool
    reason: str
    message: str


class _MalformedError(Exception):
    """A number is missing or is none."""


def judge(candidate: Mapping[str, Any], current: Mapping[str, Any] | None, limits: Limits) -> Verdict:
    """Judge a candidate.

    It is compared with the current model on the windows that the refit scored with both. Where the refit compared with
    another revision, or could not, the current model's own numbers at its training are what it is compared with.

    Args:
        candidate: the candidate's `model.json`, from outside: anything may be in it.
        current: the `model.json` now in use; None for the first model, which only has to be sound.
        limits: see there.
    """
    try:
        return _refusal(candidate, current, limits) or Verdict(True, "Accepted", _accepted(candidate, current))
    except _MalformedError as error:
        return Verdict(False, "Malformed", str(error))


def _refusal(candidate: Mapping[str, Any], current: Mapping[str, Any] | None, limits: Limits) -> Verdict | None:
    if candidate.get("format") != FORMAT:
        return Verdict(
            False, "FormatUnsupported", f"model.json has format {candidate.get('format')!r:.80}, not {FORMAT}"
        )
    usable = _number(candidate, "usable")
    if usable < limits.min_windows:
        read = _number(candidate, "windows")
        return Verdict(
            False,
            "TooFewWindows",
            f"{usable:.0f} of {read:.0f} windows were usable, refit.minWindows asks for {limits.min_windows}",
        )
    if not _SHA256.fullmatch(str(candidate.get("sha256"))):
        raise _MalformedError(f"model.json: sha256 is {candidate.get('sha256')!r:.80}, not 64 hexadecimal digits")
    names = candidate.get("features")
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise _MalformedError(f"model.json: features is {names!r:.80}, not a list of names")
    for field in ("threshold", "offset", "kept"):
        _number(candidate, field)
    size = _number(candidate, "bytes")
    if size > MAX_BYTES:
        return Verdict(
            False, "TooLarge", f"model.npz is {size:.0f} bytes, at most {MAX_BYTES}: lower estimators or maxSamples"
        )
    now = _quantiles(candidate, "scoreQuantiles"), _rate(candidate, "flagRate")
    if current is None:
        return None
    if candidate.get("currentRevision") == current.get("revision") and candidate.get("currentScoreQuantiles"):
        then = _quantiles(candidate, "currentScoreQuantiles"), _rate(candidate, "currentFlagRate")
    else:
        then = _quantiles(current, "scoreQuantiles"), _rate(current, "flagRate")
    return _drift(now[0], then[0], limits) or _rate_change(now[1], then[1], limits)


def _drift(now: Mapping[str, float], then: Mapping[str, float], limits: Limits) -> Verdict | None:
    name, shift = max(((name, now[name] - then[name]) for name in now), key=lambda item: abs(item[1]))
    if abs(shift) <= limits.max_shift:
        return None
    return Verdict(
        False,
        "ScoreDrift",
        f"{name} of the score moves by {shift:+.2f}, from {then[name]:.2f} to {now[name]:.2f}:"
        f" more than {limits.max_shift:g}",
    )


def _rate_change(now: float, then: float, limits: Limits) -> Verdict | None:
    factor = max(now, limits.least_rate) / max(then, limits.least_rate)
    if 1 / limits.max_rate_factor <= factor <= limits.max_rate_factor:
        return None
    return Verdict(
        False,
        "AlertRateChange",
        f"the share of windows beyond the threshold goes from {then:.3%} to {now:.3%}:"
        f" more than a factor of {limits.max_rate_factor:g}",
    )


def _accepted(candidate: Mapping[str, Any], current: Mapping[str, Any] | None) -> str:
    first = "the first model: " if current is None else ""
    return (
        f"{first}trained on {_number(candidate, 'kept'):.0f} of {_number(candidate, 'windows'):.0f} windows,"
        f" threshold {_number(candidate, 'threshold'):.2f}"
    )


def _number(document: Mapping[str, Any], field: str) -> float:
    value = document.get(field)
    # NaN, infinities and integers beyond any float are outside, too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e18 < value < 1e18:
        raise _MalformedError(f"model.json: {field} is {value!r:.80}, not a number")
    return float(value)


def _rate(document: Mapping[str, Any], field: str) -> float:
    value = _number(document, field)
    if not 0 <= value <= 1:
        raise _MalformedError(f"model.json: {field} is {value!r:.80}, not a share, 0..1")
    return value


def _quantiles(document: Mapping[str, Any], field: str) -> dict[str, float]:
    value = document.get(field)
    if not isinstance(value, Mapping):
        raise _MalformedError(f"model.json: {field} is {value!r:.80}, not p50, p90 and p99")
    return {name: _number(value, name) for name in ("p50", "p90", "p99")}
