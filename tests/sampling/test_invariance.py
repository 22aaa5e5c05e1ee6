"""Every kernel leaves its target alone: exact draws in, exact draws out.

States begin as independent exact draws of a skewed, bounded density, in its coordinates. After any number of steps of a
right kernel they are independent exact draws again, so the statistics below have known distributions and no
autocorrelation enters: a test of ``p > LEVEL`` raises a false alarm with a probability below 1e-7, on whatever machine.
Wrong kernels, through the same test, show that it sees what is wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from benchmarks.textbook_targets import SkewedTarget
from estimhank.sampling import dime, multi_proposal, random_walk, tempered
from estimhank.sampling.student_t import StudentT
from tests.helpers.ranks import exact_draws, levels_of

TARGET = SkewedTarget()
LEVEL, WRONG = 1e-8, 1e-10
MEMBERS, STEPS = 8, 6
#: Proposals and their scale where either wrong variant is most wrong: many and near, few and far.
NEAR, FAR = (16, 0.7), (4, 1.8)

#: Runs some steps from states of shape (n, d), all of them independent or members of ensembles of ``MEMBERS``.
Kernel = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def log_natural(x: np.ndarray) -> np.ndarray:
    """Log density of the natural parameters at coordinates of shape (n, d)."""
    a, b, c = TARGET.transform.to_natural(x).T
    prior = 2 * np.log(a) - a - np.log(2) + np.log(b) + 4 * np.log1p(-b) + np.log(30)
    return prior + 3 * np.log(4 - c) - 2 * (4 - c) + 4 * np.log(2) - np.log(6)


def log_density(x: np.ndarray) -> np.ndarray:
    return log_natural(x) + TARGET.transform.log_jacobian(x)


def start(n: int, seed: int) -> np.ndarray:
    return TARGET.transform.to_unconstrained(exact_draws(np.random.default_rng(seed), n))


ROOT = np.linalg.cholesky(np.cov(start(4_000, 0).T))
#: Off the target and narrower, so that much hangs on its density.
GLOBAL = StudentT(start(4_000, 0).mean(axis=0) + 0.6 * np.sqrt(np.diag(ROOT @ ROOT.T)), 0.5 * ROOT @ ROOT.T)


def p_value(x: np.ndarray) -> float:
    """Smallest p-value of the tests that states (n, d) are independent exact draws, times the number of tests.

    Levels of each coordinate are uniform (chi-square of 20 bins; their mean and mean square), and products of centred
    levels have a mean of zero: those of two coordinates, and those of neighbours, which belong to one ensemble where
    there are ensembles.
    """
    levels = levels_of(TARGET.transform.to_natural(x))
    values = [stats.chisquare(np.histogram(level, 20, (0, 1))[0]).pvalue for level in levels.T]
    centred = np.sqrt(12) * (levels - 0.5)
    products = [centred[:, i] * centred[:, j] for i, j in itertools.combinations(range(3), 2)]
    products += [centred[:-1:2, i] * centred[1::2, i] for i in range(3)]
    products += [*centred.T, *(np.sqrt(5) / 2 * (centred**2 - 1)).T]
    values += [2 * stats.norm.sf(abs(product.sum()) / np.sqrt(len(product))) for product in products]
    return len(values) * min(values)


def walk(density: Callable[[np.ndarray], np.ndarray]) -> Kernel:
    def run(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
        state = random_walk.init(x, density(x))
        for _ in range(STEPS):
            state, _ = random_walk.step(rng, state, density, 1.4 * ROOT)
        return state.position

    return run


def many_proposals(proposals: int, scale: float) -> Kernel:
    def run(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
        propose = multi_proposal.around_auxiliary_point(scale * ROOT)
        state = multi_proposal.init(x, log_density(x))
        for _ in range(STEPS):
            state, _ = multi_proposal.step(rng, state, log_density, propose, proposals, 2)
        return state.position

    return run


def ensembles(global_proposal: StudentT) -> Kernel:
    def run(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
        ends = []
        for members in x.reshape(-1, MEMBERS, x.shape[1]):
            state = dime.init(members, log_density(members))
            for _ in range(STEPS):
                for half in (0, 1):
                    state, _ = dime.step(rng, state, log_density, global_proposal, half)
            ends.append(state.position)
        return np.concatenate(ends)

    return run


def particles(power: float, start_counts: bool = True) -> Kernel:
    """Steps at a temperature at which q^(1-b) p^b is the target: q and p are tilted against each other."""

    def run(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
        def end(x: np.ndarray) -> np.ndarray:
            return log_density(x) + (1 - power) * x.sum(axis=1)

        def begin(x: np.ndarray) -> np.ndarray:
            return log_density(x) - power * x.sum(axis=1) if start_counts else log_density(x)

        population = tempered.Population(x, end(x), begin(x), power, 0.0, 0.3)
        for _ in range(STEPS):
            population, _ = tempered.step(rng, population, end, begin, ROOT)
        return population.position

    return run


def test_the_density_here_is_the_targets() -> None:
    x = start(20, 1)
    expected = [TARGET.evaluate(theta).log_density for theta in TARGET.transform.to_natural(x)]
    np.testing.assert_allclose(log_natural(x), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "n"),
    [
        (walk(log_density), 2_000),
        (many_proposals(*NEAR), 1_500),
        (many_proposals(*FAR), 1_500),
        (ensembles(GLOBAL), 4_000),
        (particles(0.4), 40_000),
    ],
    ids=["random_walk", "many near proposals", "few far proposals", "dime", "smc"],
)
def test_exact_draws_stay_exact_draws(kernel: Kernel, n: int) -> None:
    x = start(n, 2)
    end = kernel(np.random.default_rng(3), x)
    assert (end != x).any(axis=1).mean() > 0.6
    assert p_value(end) > LEVEL


# ---- wrong kernels ------------------------------------------------------------------------------------------------


def around_the_state(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Proposals are drawn around x itself and weighted by the target."""
    proposals, scale = NEAR

    def candidates(point: np.ndarray) -> np.ndarray:
        return np.concatenate([point[None], point + scale * rng.standard_normal((proposals, len(point))) @ ROOT.T])

    return chosen_among(rng, x, candidates)


def without_the_state(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """The current state is not in the set."""
    proposals, scale = FAR
    propose = multi_proposal.around_auxiliary_point(scale * ROOT)
    return chosen_among(rng, x, lambda point: propose(rng, point, proposals))


def chosen_among(rng: np.random.Generator, x: np.ndarray, candidates: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    ends = x.copy()
    for row in ends:
        for _ in range(STEPS):
            points = candidates(row)
            row[:] = points[multi_proposal.select(rng, log_density(points), 1)[1][0]]
    return ends


class Weightless(StudentT):
    """A global proposal whose density is left out of the acceptance."""

    def log_density(self, x: np.ndarray) -> np.ndarray:
        return np.zeros(len(x))


@pytest.mark.parametrize(
    ("kernel", "n"),
    [
        (walk(log_natural), 2_000),
        (around_the_state, 1_500),
        (without_the_state, 1_500),
        (ensembles(Weightless(GLOBAL.mean, GLOBAL.covariance)), 4_000),
        (particles(0.4, start_counts=False), 40_000),
    ],
    ids=["no Jacobian", "around the state", "without the state", "global proposals unweighted", "start left out"],
)
def test_wrong_kernels_are_found_out(kernel: Kernel, n: int) -> None:
    assert p_value(kernel(np.random.default_rng(3), start(n, 2))) < WRONG


def test_an_ensemble_that_moves_at_once_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Differences of members that move themselves are no proposals that are symmetric given the rest."""
    monkeypatch.setattr(dime, "halves", lambda members: (np.arange(members), np.arange(members)))
    assert p_value(ensembles(GLOBAL)(np.random.default_rng(3), start(4_000, 2))) < WRONG
