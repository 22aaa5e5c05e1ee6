"""Smets and Wouters (2007) on the authors' data at their mode: figures on which independent programs agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from estimhank.data.dataset import Dataset
from estimhank.model.observed import mean_of
from estimhank.model.registry import find_model
from estimhank.parameters.parameter_table import Values
from estimhank.posterior.posterior import Posterior
from estimhank.sequence_space.linear_system import linearize
from tests.helpers.kalman import StateSpace, kalman
from tests.helpers.time_iteration import Solution, solve

ROOT = Path(__file__).parents[2]
OUTSIDE = ROOT.parent / "shared" / "data" / "validation"
pytestmark = pytest.mark.skipif(not OUTSIDE.exists(), reason="the authors' data are not part of the repository")

#: Log posterior in Dynare's set-up: presample of four, initial variance ten times the identity; log prior without
#: truncation. Both at the authors' mode.
LOG_POSTERIOR, LOG_PRIOR = -841.4621, -23.9940694
FIRST = 4


@pytest.fixture(scope="module")
def post() -> Posterior:
    model = find_model("smets_wouters_2007.py:SmetsWouters2007", ROOT / "examples")()
    table = pd.read_csv(OUTSIDE / "sw07_data.csv").iloc[70:]
    names = tuple(o.name for o in model.observables)
    values = table[list(names)].to_numpy(float)
    units = tuple(o.units for o in model.observables)
    data = Dataset(tuple(table.date), names, units, names, values, np.zeros(len(names)), {"condition_on": FIRST})
    return Posterior(model, data)


@pytest.fixture(scope="module")
def mode(post: Posterior) -> np.ndarray:
    table = pd.read_csv(OUTSIDE / "sw07_modes.csv", comment="#")
    assert tuple(table.parameter) == post.names
    return table.usmodel_mode.to_numpy(float)


@pytest.fixture(scope="module")
def by_hand(post: Posterior, mode: np.ndarray) -> tuple[Solution, np.ndarray, np.ndarray]:
    """Solution by time iteration, which variables are observed, and the data less their means."""
    model, parts = post.solver.setting.model, post.solver.steady.reference_parts
    parameters: dict[str, Any] = {**parts.parameters, **dict(zip(post.names, mode, strict=True))}
    lag, now, lead, shock = (np.asarray(matrix) for matrix in linearize(model, parts.values, parameters))
    roots = np.array([parameters[s.rho] if s.rho else 0.0 for s in model.innovations])
    sizes = np.array([s.scale * parameters[str(s.sigma)] for s in model.innovations])
    means = [float(mean_of(o, Values(parameters), parts.values)) for o in model.observed_variables]
    seen = np.array([model.unknowns.index(o.variable) for o in model.observed_variables])
    return solve(lag, now, lead, shock, roots, sizes), seen, np.asarray(post.data.values) - means


def conditional(space: StateSpace, sample: np.ndarray, variance: np.ndarray | None = None) -> float:
    return kalman(space, sample, variance)[0] - kalman(space, sample[:FIRST], variance)[0]


def test_its_likelihood_is_that_of_a_kalman_filter(post: Posterior, mode: np.ndarray, by_hand: Any) -> None:
    (transition, impulse, _), seen, sample = by_hand
    observed = np.zeros((len(seen), len(transition)))
    observed[np.arange(len(seen)), seen] = 1.0
    space = StateSpace(transition, impulse @ impulse.T, observed, np.zeros(len(seen)))
    found = post.evaluate(mode)
    assert found.reason == "ok"
    assert found.log_likelihood == pytest.approx(conditional(space, sample), abs=1e-8)


def test_it_is_the_model_of_the_published_figures(post: Posterior, mode: np.ndarray, by_hand: Any) -> None:
    (transition, impulse, lagged), seen, sample = by_hand
    n, m, n_o = len(transition), len(post.model.shocks), len(seen)
    # in that set-up observables are states of their own, with a variance of their own at the beginning
    chosen = transition[seen], impulse[seen]
    states = np.block([[transition, np.zeros((n, n_o))], [chosen[0], np.zeros((n_o, n_o))]])
    forces = np.vstack([impulse, chosen[1]])
    space = StateSpace(states, forces @ forces.T, np.hstack([np.zeros((n_o, n)), np.eye(n_o)]), np.zeros(n_o))
    variance = np.diag(np.where(np.r_[lagged, np.ones(n_o, bool)], 10.0, 0.0))
    # productivity stands twice, as a shock and as the variable whose lag is read
    copy, own = post.solver.setting.model.unknowns.index("shock.a"), n - m
    variance[copy, own] = variance[own, copy] = 10.0
    assert conditional(space, sample, variance) + LOG_PRIOR == pytest.approx(LOG_POSTERIOR, abs=1e-4)


def test_its_prior_is_the_authors_with_truncation(post: Posterior, mode: np.ndarray) -> None:
    inside = [np.log(np.diff(prior._untruncated.cdf(prior.support)).item()) for prior in post.priors.values()]
    assert post.log_prior(mode) + sum(inside) == pytest.approx(LOG_PRIOR, abs=1e-6)
