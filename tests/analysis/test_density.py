"""Kernel densities: mass one, close to the true distribution, nothing beyond the bounds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from estimhank.analysis.density import level_of, smooth_density, smooth_density_2d


@pytest.mark.parametrize(
    ("law", "lower", "upper"),
    [
        (stats.norm(2.0, 3.0), -np.inf, np.inf),
        (stats.gamma(4.0), 0.0, np.inf),
        (stats.truncnorm(-0.5, 3.0), -0.5, 3.0),
        (stats.beta(2.0, 5.0), 0.0, 1.0),
    ],
)
def test_density_is_close_to_the_law_and_inside_its_support(law, lower: float, upper: float) -> None:
    draws = law.rvs(size=20_000, random_state=np.random.default_rng(1))
    grid, density = smooth_density(draws, lower, upper)
    assert grid.min() >= lower and grid.max() <= upper
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=0.01)
    assert np.trapezoid(np.abs(density - law.pdf(grid)), grid) < 0.05


def test_two_modes_are_seen() -> None:
    rng = np.random.default_rng(2)
    grid, density = smooth_density(np.concatenate([rng.normal(-4, 1, 5000), rng.normal(4, 1, 5000)]))
    middle = density[np.argmin(np.abs(grid))]
    assert middle < 0.1 * density.max()


def test_draws_that_never_move_have_no_density() -> None:
    assert smooth_density(np.ones(50))[0].size == 0


def test_contours_enclose_their_share_of_the_draws() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=20_000)
    y = 0.8 * x + 0.6 * rng.normal(size=x.size)
    x_grid, y_grid, density = smooth_density_2d(x, y)
    column, row = np.searchsorted(x_grid, x).clip(0, 127), np.searchsorted(y_grid, y).clip(0, 127)
    for probability in (0.68, 0.90):
        inside = density[row, column] >= level_of(density, probability)
        assert inside.mean() == pytest.approx(probability, abs=0.03)
