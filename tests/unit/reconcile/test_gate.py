import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter_operator.reconcile.gate import Limits, judge

LIMITS = Limits(min_windows=500)
SOUND = {
    "format": 1,
    "windows": 20_000,
    "usable": 18_000,
    "kept": 10_800,
    "features": ["resx", "drr"],
    "offset": -0.6,
    "threshold": 2.6,
    "flagRate": 0.02,
    "scoreQuantiles": {"p50": -1.0, "p90": 0.8, "p99": 3.0},
    "currentRevision": 6,
    "currentFlagRate": 0.018,
    "currentScoreQuantiles": {"p50": -1.1, "p90": 0.9, "p99": 3.2},
    "sha256": "0" * 64,
    "bytes": 160_000,
}
CURRENT = {"revision": 6, "flagRate": 0.05, "scoreQuantiles": {"p50": -3.0, "p90": -1.0, "p99": 1.0}}


def quantiles(**changed):
    return {"scoreQuantiles": {**SOUND["scoreQuantiles"], **changed}}


@pytest.mark.parametrize(
    ("changed", "current", "reason"),
    [
        ({}, CURRENT, "Accepted"),
        ({}, None, "Accepted"),
        # The first model only has to be sound.
        ({"currentRevision": None, "currentFlagRate": None, "currentScoreQuantiles": None}, None, "Accepted"),
        ({"flagRate": 0.9}, None, "Accepted"),
        # What a refit with too little to read leaves.
        ({"usable": 499}, CURRENT, "TooFewWindows"),
        ({"usable": 500}, CURRENT, "Accepted"),
        ({"usable": 0, "windows": 0, "sha256": None, "threshold": None, "bytes": None}, None, "TooFewWindows"),
        # Soundness.
        ({"format": 2}, CURRENT, "FormatUnsupported"),
        ({"format": None}, None, "FormatUnsupported"),
        ({"sha256": None}, CURRENT, "Malformed"),
        ({"sha256": "0" * 63}, None, "Malformed"),
        ({"threshold": math.nan}, None, "Malformed"),
        ({"threshold": None}, None, "Malformed"),
        ({"threshold": 10**400}, None, "Malformed"),
        ({"threshold": -math.inf}, None, "Malformed"),
        ({"offset": "-0.6"}, None, "Malformed"),
        ({"flagRate": 1.5}, None, "Malformed"),
        ({"usable": True}, None, "Malformed"),
        ({"features": []}, None, "Malformed"),
        ({"scoreQuantiles": {"p50": 0.0}}, None, "Malformed"),
        ({"scoreQuantiles": None}, None, "Malformed"),
        ({"bytes": 900_001}, CURRENT, "TooLarge"),
        # Against the model in use, on the same windows.
        (quantiles(p50=-0.05), CURRENT, "ScoreDrift"),
        (quantiles(p50=-0.2), CURRENT, "Accepted"),
        (quantiles(p99=1.9), CURRENT, "ScoreDrift"),
        ({"flagRate": 0.037}, CURRENT, "AlertRateChange"),
        ({"flagRate": 0.008}, CURRENT, "AlertRateChange"),
        ({"flagRate": 0.0}, CURRENT, "AlertRateChange"),
        ({"flagRate": 0.0, "currentFlagRate": 0.004}, CURRENT, "Accepted"),
        ({"flagRate": 0.009, "currentFlagRate": 0.0}, CURRENT, "Accepted"),
        # Another revision is in use by now, or the refit could not read it: its own numbers at its training.
        ({}, {**CURRENT, "revision": 7}, "ScoreDrift"),
        ({"currentRevision": None, "currentScoreQuantiles": None, "currentFlagRate": None}, CURRENT, "ScoreDrift"),
        ({}, {**CURRENT, "revision": 7, "scoreQuantiles": SOUND["scoreQuantiles"]}, "AlertRateChange"),
        (
            {},
            {"revision": 7, "scoreQuantiles": SOUND["scoreQuantiles"], "flagRate": 0.02},
            "Accepted",
        ),
    ],
)
def test_verdicts(changed, current, reason):
    verdict = judge({**SOUND, **changed}, current, LIMITS)
    assert verdict.reason == reason
    assert verdict.accepted == (reason == "Accepted")
    assert verdict.message


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"usable": 12}, ["12 of 20000", "500", "refit.minWindows"]),
        ({"threshold": "high"}, ["threshold", "'high'", "number"]),
        (quantiles(p90=2.4), ["p90", "+1.50", "0.90", "2.40"]),
        ({"flagRate": 0.1}, ["1.800%", "10.000%", "factor of 2"]),
        ({"bytes": 1_000_000}, ["1000000", "900000", "estimators", "maxSamples"]),
        ({}, ["10800 of 20000", "2.60"]),
    ],
)
def test_messages_hold_the_numbers_and_what_would_be_right(changed, said):
    message = judge({**SOUND, **changed}, CURRENT, LIMITS).message
    assert all(part in message for part in said), message


def test_limits_are_the_callers():
    assert judge(SOUND, CURRENT, Limits(min_windows=18_001)).reason == "TooFewWindows"
    assert judge(SOUND, CURRENT, Limits(min_windows=1, max_shift=0.1)).reason == "ScoreDrift"
    assert judge(SOUND, CURRENT, Limits(min_windows=1, max_rate_factor=1.05)).reason == "AlertRateChange"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["p50", "p90", "p99"]), inner),
    max_leaves=4,
)


@given(changed=st.dictionaries(st.sampled_from(sorted(SOUND)), JSON, max_size=3), current=st.just(CURRENT) | st.none())
def test_anything_may_be_in_a_candidate(changed, current):
    verdict = judge({**SOUND, **changed}, current, LIMITS)
    assert verdict.accepted == (verdict.reason == "Accepted")
