"""News at long horizons from few dates: against all of them, and where few dates do not do."""

from __future__ import annotations

import numpy as np
import pytest

from estimhank.households import fake_news
from estimhank.households.fake_news import household_jacobians
from estimhank.households.few_dates import FIRST, SHORTEST, FewDates, few_dates
from estimhank.households.one_asset import StandardIncompleteMarkets
from estimhank.households.stationary import compiled_stationary
from estimhank.parameters.parameter_table import Values
from tests.households.test_two_asset import INPUTS, PARAMETERS, SMALL

T = SHORTEST + 20


def test_few_dates_go_through_what_dies_out_slowly() -> None:
    few = few_dates(1500)
    assert few is not None and few_dates(SHORTEST - 1) is None
    assert len(few.dates) < 120 and list(few.dates[:FIRST]) == list(range(FIRST)) and few.dates[-1] == 1499
    t = np.arange(1500)
    slow = np.stack([0.995**t, 0.9**t, t * 0.99**t / 40, 0.98**t * np.cos(t / 100)], axis=1)
    np.testing.assert_allclose(few.paths @ slow[few.dates], slow, atol=1e-10)
    assert not np.isin(few.between, few.dates).any()
    fast = np.cos(t / 2) * 0.999**t
    assert np.abs(few.paths @ fast[few.dates] - fast)[few.between].max() > 1e-3


@pytest.mark.long
def test_two_assets_have_the_jacobians_of_all_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    steady, p = compiled_stationary(SMALL)(INPUTS, PARAMETERS, 1e-13), Values(PARAMETERS)

    def jacobians() -> np.ndarray:
        return np.asarray(household_jacobians(SMALL, steady, INPUTS, p, T, ("A", "UCE")))

    few = jacobians()
    monkeypatch.setattr(fake_news, "few_dates", lambda horizon: None)
    every = jacobians()
    np.testing.assert_allclose(few, every, rtol=0, atol=1e-10 * np.abs(every).max())


def test_where_few_dates_miss_others_all_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    block, p = StandardIncompleteMarkets(n_a=30, n_e=3), Values({"beta": 0.95, "eis": 0.5, "rho_e": 0.95, "sd_e": 0.5})
    inputs = {"r": 0.01, "Z": 1.0}
    steady = compiled_stationary(block)(inputs, p.as_dict(), 1e-13)

    def jacobians() -> np.ndarray:
        return np.asarray(household_jacobians(block, steady, inputs, p, T))

    right = jacobians()
    good = few_dates(T)
    assert good is not None
    wrong = FewDates(good.dates, np.roll(good.paths, 1, axis=0), good.between)
    monkeypatch.setattr(fake_news, "few_dates", lambda horizon: wrong)
    np.testing.assert_allclose(jacobians(), right, rtol=0, atol=1e-10 * np.abs(right).max())
    monkeypatch.setattr(fake_news, "MISSED", np.inf)
    assert np.abs(jacobians() - right).max() > 1e-3 * np.abs(right).max()
