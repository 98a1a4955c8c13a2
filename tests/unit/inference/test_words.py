"""An alert's reason in words."""

from types import SimpleNamespace

import numpy as np
import pytest

from holter.alert import Kind
from holter.inference.decision.words import reason
from holter.signal.rhythm import RHYTHM


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4, "heart rate 152/min, suddenly from 72/min"), (10, "heart rate 149/min for 10 s")],
)
def test_a_tachycardia_that_came_at_once_says_from_where_and_one_that_lasts_how_long(seconds, words):
    rhythm = np.zeros(1, RHYTHM)
    rhythm["rate"], rhythm["rate_now"], rhythm["rate_before"] = 149.2, 151.9, 71.6
    assert reason(Kind.TACHYCARDIA, SimpleNamespace(rhythm=rhythm), 0, seconds) == words
