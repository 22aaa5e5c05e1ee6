"""Numbers in words."""

from __future__ import annotations

import math

import pytest

from estimhank.analysis.wording import (
    REASON_WORDS,
    count,
    decimals_for,
    duration,
    fixed,
    joined,
    percent,
    plural,
    with_error,
)
from estimhank.analysis.wording import significant as sig
from estimhank.target.protocol import REASONS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (fixed(-0.0004, 2), "0.00"),
        (fixed(-1234.5, 1), "-1,234.5"),
        (fixed(math.nan), "n/a"),
        (sig(0.00123456), "0.00123"),
        (sig(123456.7, 2), "123,457"),
        (sig(9.4e-7, 2), "9.4e-07"),
        (sig(0), "0"),
        (with_error(0.04123, 0.0021), "0.0412 ± 0.0021"),
        (with_error(0.0042, 0.0003, percent=True), "0.420 ± 0.030 %"),
        (with_error(0.5, math.nan), "0.500"),
        (with_error(math.nan, 0.1), "n/a"),
        (percent(0.002), "0.20 %"),
        (percent(0.95), "95.0 %"),
        (count(1234.9), "1,234"),
        (count(math.nan), "n/a"),
        (plural(1, "start"), "1 start"),
        (plural(2, "start"), "2 starts"),
        (duration(0.314), "0.31 s"),
        (duration(59.7), "59.7 s"),
        (duration(252), "4 min 12 s"),
        (duration(3 * 3600 + 125), "3 h 2 min"),
        (joined(["a", "b", "c"]), "a, b and c"),
        (joined(["a"]), "a"),
    ],
)
def test_wording(text: str, expected: str) -> None:
    assert text == expected


def test_decimals_show_two_digits_of_the_error() -> None:
    assert [decimals_for(e) for e in (12.0, 1.2, 0.12, 0.0047)] == [0, 1, 2, 4]
    assert decimals_for(math.nan) == 3


def test_every_reason_of_the_evaluation_store_has_words() -> None:
    assert set(REASON_WORDS) == set(REASONS)
