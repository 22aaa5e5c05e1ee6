"""Household Jacobians at few dates where parameters move the steady state: the density is that with all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from estimhank.models.one_asset_hours import OneAssetHours
from estimhank.parameters.priors import Gamma
from estimhank.posterior.at_point import AtPoint
from estimhank.posterior.posterior import Posterior
from estimhank.posterior.routes import CHEAPEST
from tests.sequence_space.test_few_dates import HOURS, posterior


@pytest.mark.long
def test_a_moved_steady_state_at_few_dates_has_the_density_of_all() -> None:
    household = replace(HOURS.household, scheme="linear")
    moving = OneAssetHours(OneAssetHours.parameters.changed("eis", prior=Gamma(0.5, 0.1)), household)
    target = posterior(moving, 300)
    whole = Posterior(target.model, target.data, 300, 200)
    whole.solver.structure = target.solver.structure
    whole.solver.steady_here = whole.solver.steady
    point = target.reference()
    point[target.names.index("eis")] = 0.52
    few, all_dates = (AtPoint(p.solver, point, True, True) for p in (target, whole))
    assert few.parts.household.between is not None and all_dates.parts.household.between is None
    assert few.parts.household.by_date.size < all_dates.parts.household.by_date.size / 2
    (mine, _), (theirs, _) = few.outcome(CHEAPEST), all_dates.outcome(CHEAPEST)
    assert mine.log_likelihood == pytest.approx(theirs.log_likelihood, rel=1e-10)
    np.testing.assert_allclose(few.gradient(CHEAPEST), all_dates.gradient(CHEAPEST), rtol=1e-7, atol=1e-7)
