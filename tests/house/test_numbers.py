"""``docs/numbers.md`` shows every golden number that tests compare with, as it was found and within its tolerance."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.numbers import PAGE, RECORD, table, targets, users
from estimhank.support.files import read_json
from tests.helpers import golden


def test_what_was_found_is_on_the_page_and_within_the_tolerance() -> None:
    recorded, known = read_json(RECORD)["numbers"], targets()
    files = {name.partition("::")[0] for name in users()}
    used = "\n".join((PAGE.parents[1] / name).read_text(encoding="utf-8") for name in files)
    expected = {name for name in known if name.split()[0] in used}
    assert expected <= set(recorded), "run python -m benchmarks.numbers"
    for name, entry in recorded.items():
        np.testing.assert_allclose(entry["found"], known[name].value, rtol=0, atol=known[name].tolerance, err_msg=name)
    assert table(recorded) in PAGE.read_text(encoding="utf-8"), "run python -m benchmarks.numbers"


def test_a_number_is_noted_where_it_is_asked_for_even_if_it_is_wrong(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(golden.NOTES, str(tmp_path / "found"))
    golden.DEFAULT_CONSUMPTION.check(0.8)
    with pytest.raises(AssertionError, match="goods market"):
        golden.DEFAULT_CONSUMPTION.check(0.81)
    text = (tmp_path / "found").read_text()
    assert text.count("\n") == 2 and '"name": "DEFAULT_CONSUMPTION", "found": 0.81' in text
    assert "test_a_number_is_noted" in text
    assert golden.name_of(golden.MORE_SERIES["FPI_real"]) == "MORE_SERIES FPI_real"
