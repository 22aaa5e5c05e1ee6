"""The licences of what the project stands on: listed as they are stated, and none of another kind."""

from __future__ import annotations

import pytest

from scripts import licences


def test_the_page_says_what_the_packages_say() -> None:
    page = licences.PAGE.read_text(encoding="utf-8")
    assert licences.written(page) == page, "run scripts/licences.py"


@pytest.mark.parametrize("words", ["AGPL-3.0-only", "GNU General Public License v3 (GPLv3)", "MIT AND Proprietary", ""])
def test_other_kinds_are_refused(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(licences, "said_by", lambda name: words)
    with pytest.raises(ValueError, match=r"numpy (is under|does not say)"):
        licences.families_of("numpy")


def test_what_is_entered_by_hand_is_not_said_by_the_package() -> None:
    for name in licences.BY_HAND:
        assert not licences.said_by(name), f"{name} says so itself now: take it out of BY_HAND"
