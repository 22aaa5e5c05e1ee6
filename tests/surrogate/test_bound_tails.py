"""Places nearer to a bound are looked at where the Jacobian says that there is mass and the surrogate does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from estimhank.surrogate.bound_tails import towards_bounds
from estimhank.surrogate.points import Points, typical_depth
from estimhank.surrogate.surrogate import Surrogate
from estimhank.target.transform import Transform
from tests.helpers.hand_made import normal_surrogate

D, KNOWN_TO = 3, 0.4  # of a parameter on (0, 1) that is known from 0.4 on
BOX = Transform((0.0, -np.inf, -np.inf), (1.0, np.inf, np.inf))
SURROGATE = normal_surrogate(np.zeros(D), np.eye(D))


def truth(x: np.ndarray, power: float) -> np.ndarray:
    """theta_0^power on (0, 1), the others standard normal."""
    inside = BOX.to_natural(x)[..., 0]
    value: np.ndarray = power * np.log(inside) + BOX.log_jacobian(x) - 0.5 * (x[..., 1:] ** 2).sum(axis=-1)
    return value


def look(monkeypatch: pytest.MonkeyPatch, power: float, lacking: float, infeasible: bool = False) -> np.ndarray:
    """What is looked at by a surrogate that is right down to :data:`KNOWN_TO`, and ``lacking`` times worse beyond."""
    edge = BOX.to_unconstrained(np.array([KNOWN_TO, 0, 0]))[0]

    def log_density(self: Surrogate, x: np.ndarray) -> np.ndarray:
        return truth(x, power) - lacking * np.maximum(edge - x[..., 0], 0) ** 2

    monkeypatch.setattr(Surrogate, "log_density", log_density)
    monkeypatch.setattr(Surrogate, "outside", lambda self, x, factor=1.0: np.zeros(len(x), bool))
    rng = np.random.default_rng(1)
    theta = np.column_stack([rng.uniform(KNOWN_TO + 0.01, 1, 2_000), rng.standard_normal((2_000, D - 1))])
    x = BOX.to_unconstrained(theta)
    known = Points(x, truth(x, power), np.full_like(x, np.nan), {}, np.empty((0, D)))
    if infeasible:
        outside = x - [4.0, 0, 0]
        known = replace(known, infeasible=outside[outside[:, 0] < edge])
    return towards_bounds(known, SURROGATE, BOX, 40)


def test_a_tail_that_the_surrogate_lacks_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    found = look(monkeypatch, power=0.0, lacking=50.0)
    theta = BOX.to_natural(found)
    assert len(found) == 40 and (theta[:, 0] < KNOWN_TO).all(), "the upper bound's tail is known"
    assert theta[:, 0].min() < 1e-2 and np.unique(found[:, 0]).size > 20
    highest = truth(np.zeros(D), 0.0)
    assert (truth(found, 0.0) > highest - typical_depth(D) - 0.5).all(), "where no draw would be nothing is asked for"


def test_nothing_is_asked_where_the_surrogate_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(look(monkeypatch, power=0.0, lacking=0.0)) == 0


def test_a_density_that_vanishes_at_the_bound_is_not_followed_far(monkeypatch: pytest.MonkeyPatch) -> None:
    found = look(monkeypatch, power=30.0, lacking=50.0)
    assert not len(found) or BOX.to_natural(found)[:, 0].min() > 0.2


def test_next_to_infeasible_places_nothing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found = BOX.to_natural(look(monkeypatch, power=0.0, lacking=50.0, infeasible=True))
    assert not len(found) or found[:, 0].min() > 0.05


def test_without_bounds_there_is_nothing_to_approach() -> None:
    free = Transform((-np.inf,) * D, (np.inf,) * D)
    x = np.random.default_rng(1).standard_normal((50, D))
    known = Points(x, -0.5 * (x * x).sum(axis=1), np.full_like(x, np.nan), {}, np.empty((0, D)))
    assert towards_bounds(known, SURROGATE, free, 9).shape == (0, D)


@pytest.mark.parametrize("transform", [Transform((0.0,) * D, (np.inf,) * D), Transform((0.0,) * D, (1.0,) * D)])
def test_a_posterior_far_from_all_bounds_is_left_alone(transform: Transform) -> None:
    """However narrow it is, and wherever it goes given the other parameters: it bends within its own width."""
    for sd in (1e-3, 1e-2, 0.1):
        root = sd * np.linalg.cholesky(0.9 + 0.1 * np.eye(D))
        surrogate = normal_surrogate(np.full(D, 0.5), root)
        x = 0.5 + 1.3 * np.random.default_rng(1).standard_normal((1_000, D)) @ root.T
        known = Points(x, surrogate.log_density(x), np.full_like(x, np.nan), {}, np.empty((0, D)))
        assert len(towards_bounds(known, surrogate, transform, 40)) == 0
