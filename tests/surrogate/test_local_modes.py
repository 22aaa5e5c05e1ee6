"""Chains around modes that hold next to nothing are begun elsewhere, and only those."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from estimhank.mode.ascent import Value
from estimhank.surrogate.local_modes import LocalModes, find_local_modes, left_out_words

D = 4


def mixture(weights: list[float], centres: list[float], scales: list[float]):
    """Values and gradients of a mixture of normals along the first axis."""
    means = [np.array([c, *[0.0] * (D - 1)]) for c in centres]

    def evaluate(points: np.ndarray) -> list[Value]:
        found = []
        for x in points:
            parts = np.array(
                [w * multivariate_normal(m, s**2).pdf(x) for w, m, s in zip(weights, means, scales, strict=True)]
            )
            slopes = np.stack([-(x - m) / s**2 for m, s in zip(means, scales, strict=True)])
            total = parts.sum()
            found.append(Value(float(np.log(total)), (parts[:, None] * slopes).sum(axis=0) / total))
        return found

    return evaluate


def starts(centres: list[float], counts: list[int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = 0.5 * rng.standard_normal((sum(counts), D))
    x[:, 0] += np.repeat(centres, counts)
    return x


def test_shares_are_the_weights_of_a_mixture_whatever_the_scales() -> None:
    weights, centres, scales = [0.9, 0.0996, 0.0004], [0.0, 12.0, -12.0], [1.0, 0.6, 0.3]
    modes = find_local_modes(mixture(weights, centres, scales), starts(centres, [5, 2, 1]))
    assert len(modes.places) == 3
    by_place = np.argsort([np.abs(modes.places[:, 0] - c).argmin() for c in centres])
    assert sorted(np.round(modes.places[:, 0]).tolist()) == [-12, 0, 12]
    order = [int(np.abs(modes.places[:, 0] - c).argmin()) for c in centres]
    np.testing.assert_allclose(modes.shares[order], weights, rtol=1e-3)
    assert len(by_place) == 3
    left = modes.negligible(1e-3)
    assert left[order].tolist() == [False, False, True]
    assert modes.mode_of.tolist() == [order[0]] * 5 + [order[1]] * 2 + [order[2]]
    words = left_out_words(modes, left)
    assert "a local mode" in words and "0.0004 of the mass" in words and "begun elsewhere" in words
    # the narrow mode's peak is high: it is mass that counts, not height
    assert modes.values[order[2]] > modes.values[order[0]] - 5


def test_modes_that_are_not_negligible_keep_their_chains() -> None:
    centres = [0.0, 10.0]
    modes = find_local_modes(mixture([0.98, 0.02], centres, [1.0, 1.0]), starts(centres, [3, 1]))
    assert not modes.negligible(1e-3).any() and left_out_words(modes, modes.negligible(1e-3)) == ""


def test_one_mode_is_all_of_the_mass_and_takes_no_second_derivatives() -> None:
    asked = []
    density = mixture([1.0], [0.0], [1.0])

    def evaluate(points: np.ndarray) -> list[Value]:
        asked.append(len(points))
        return density(points)

    modes = find_local_modes(evaluate, starts([0.0], [4]))
    assert modes.shares.tolist() == [1.0] and not modes.negligible(1e-3).any()
    assert max(asked) == 4


@pytest.mark.parametrize("shares", [[np.nan, np.nan], [1.0, np.nan]])
def test_a_mass_that_is_not_known_is_not_negligible(shares: list[float]) -> None:
    modes = LocalModes(np.zeros((2, D)), np.zeros(2), np.array(shares), np.array([0, 1]))
    assert not modes.negligible(1e-3).any()


def test_what_is_left_out_is_negligible_together() -> None:
    shares = np.array([0.9979, 0.0007, 0.0007, 0.0007])
    modes = LocalModes(np.zeros((4, D)), np.zeros(4), shares, np.arange(4))
    assert modes.negligible(1e-3).sum() == 1
