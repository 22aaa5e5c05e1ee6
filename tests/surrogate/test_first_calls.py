"""The seconds of the posterior stage's parts, from the calls that it makes."""

from __future__ import annotations

import time

import numpy as np
import pytest

from estimhank.surrogate.first_calls import FirstCalls


def test_parts_last_from_one_turn_to_the_next():
    asked = []
    calls = FirstCalls(lambda *call: asked.append(call))  # type: ignore[arg-type]
    time.sleep(0.05)
    calls("certificate", 0, np.zeros((1, 2)))
    assert calls.surrogate_seconds is not None and calls.exact_seconds is None
    for iteration in (1, 2, 3):  # the first batch is not the origin of time
        calls("exact", iteration, np.zeros((1, 2)), True)
        time.sleep(0.03)
    calls("certificate", 1, np.zeros((1, 2)))
    assert calls.surrogate_seconds == pytest.approx(0.05, abs=0.04)
    assert calls.exact_seconds == pytest.approx(0.09, abs=0.08)
    assert [call[:2] for call in asked] == [
        ("certificate", 0),
        ("exact", 1),
        ("exact", 2),
        ("exact", 3),
        ("certificate", 1),
    ]
    assert asked[1][3] is True and asked[0][3] is False
