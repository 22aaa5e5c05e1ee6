"""Recursive density forecasts of a run's model, one to eight quarters ahead, against autoregressions and a VAR.

    python -m benchmarks.holdout results/us_hank          # or `make holdout`

At every quarter from the one before ``--first`` on the model is estimated anew on the data up to there, the sample
means that are taken off included, and forecasts the next eight quarters. Nothing later enters an estimate. The data are
those of the run, of one vintage: revised figures, which nobody had at the time; the rivals have the same.

No chain is run for this. The likelihood of every shorter sample is in one factorisation of the whole one (leading
blocks of L in ``y = d + L u``), and so are the forecasts from every quarter::

    E[y_{t+h} | y_1..y_t] = d + L[t+h, :t] u_{1..t},    Var = L[t+h, t..t+h] L[t+h, t..t+h]'

so points are drawn once, from mixtures of Student t densities that are fitted in rounds to the posteriors of several
dates, the model is solved at each, and importance weights make of them the exact posterior of every quarter. Effective
numbers and tail indices of the weights are written beside the scores. That the first mixture begins with the run's own
draws moves the error of that sampling, and nothing else.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from benchmarks.density_scores import scores
from benchmarks.holdout_pages import write
from benchmarks.pages import write_made
from benchmarks.rivals import RIVALS, Densities
from estimhank import load
from estimhank.analysis.inference_data import draws_of
from estimhank.data.quarters import parse_quarter
from estimhank.economics.linear_form import LinearForm, LinearForms
from estimhank.economics.stacked_sample import StackedSample
from estimhank.posterior.posterior import Posterior
from estimhank.sampling.student_t import StudentT
from estimhank.support.errors import EstimhankError
from estimhank.support.files import make_folder, write_json
from estimhank.surrogate.pareto import pareto_k

Array = NDArray[np.float64]

FIRST, HORIZON, SEED = "2000Q1", 8, 20240101
#: Points of each round; quarters between dates that a mixture has a component for; draws that forecasts are made of.
ROUNDS, APART, KEPT = (300, 500, 900, 1_500, 2_000), 10, 200
#: How much wider than the draws the first density is, and than weighted points the later ones; degrees of freedom;
#: fewest effective points that a component is fitted to.
_WIDER, _BROADER, _FREEDOM, _FEWEST = 2.0, 1.2, 6.0, 60


class AtPoint(NamedTuple):
    """One solved point: log likelihood by last quarter (origins,), moments of forecasts (origins, horizon, n_o)."""

    log_likelihood: Array
    mean: Array
    sd: Array


@dataclass(frozen=True)
class Exercise:
    """The data and what is forecast when.

    Attributes
    ----------
    posterior : Posterior
        On the whole sample.
    origins : ndarray of int
        Numbers of quarters known, one forecast each.
    means : ndarray of shape (origins, n_o)
        Sample means up to there of the series whose mean was taken off; of others what was.
    outcomes : ndarray of shape (origins, horizon, n_o)
        As the data have them, with their means; nan beyond the sample.
    """

    posterior: Posterior
    origins: NDArray[np.int_]
    means: Array
    outcomes: Array

    @classmethod
    def of(cls, posterior: Posterior, first: str = FIRST, horizon: int = HORIZON) -> Exercise:
        """Forecasts from the quarter before ``first`` on.

        Raises
        ------
        EstimhankError
            Data with gaps, conditioned on their beginning, or that end before.
        """
        data = posterior.data
        values = np.asarray(data.values) + data.means
        if np.isnan(values).any() or data.condition_on:
            raise EstimhankError("the hold-out exercise is of complete data: choose a sample without missing values")
        begin = parse_quarter(first) - parse_quarter(data.dates[0])
        if not 40 <= begin < len(values):
            raise EstimhankError(f"forecasts begin in {first}: at least 40 quarters into the sample and before its end")
        origins = np.arange(begin, len(values))
        taken = np.abs(np.asarray(data.means)) > 0
        means = np.array([np.where(taken, values[:t].mean(0), data.means) for t in origins])
        padded = np.vstack([values, np.full((horizon, values.shape[1]), np.nan)])
        return cls(posterior, origins, means, np.array([padded[t : t + horizon] for t in origins]))

    @property
    def values(self) -> Array:
        """The data with their means."""
        return np.asarray(self.posterior.data.values) + self.posterior.data.means


class Forecaster:
    """All forecasts at one point, from one factorisation."""

    def __init__(self, exercise: Exercise) -> None:
        self.exercise = exercise
        self.forms = LinearForms(exercise.posterior, ahead=HORIZON)
        self.sample = StackedSample(exercise.posterior.data)
        self._of = jax.jit(self._moments)

    def at(self, theta: Array) -> AtPoint | None:
        """None where there is no solution."""
        try:
            form = self.forms.at(theta)
        except EstimhankError:
            return None
        return AtPoint(*(np.asarray(x) for x in self._of(form)))

    def _moments(self, form: LinearForm) -> tuple[jax.Array, jax.Array, jax.Array]:
        exercise = self.exercise
        n_o, horizon = exercise.values.shape[1], exercise.outcomes.shape[1]
        last = len(exercise.values) + horizon
        # the covariance of the sample and of what follows it, whose leading blocks are those of every shorter sample
        places = StackedSample(exercise.posterior.data)
        places.date, places.column = np.repeat(np.arange(last), n_o), np.tile(np.arange(n_o), last)
        gamma = form.covariances[:, :last, :n_o, :n_o].sum(0)
        factor = jnp.linalg.cholesky(places.between(gamma.at[0].add(jnp.diag(form.errors))))
        n = len(exercise.values) * n_o
        raw = (jnp.asarray(exercise.values) - form.mean[:n_o]).ravel()
        given = jnp.column_stack([raw, jnp.tile(jnp.eye(n_o), (len(exercise.values), 1))])
        solved = jax.scipy.linalg.solve_triangular(factor[:n, :n], given, lower=True)
        log_diagonal = jnp.log(jnp.diagonal(factor))[:n]

        def of_origin(t: jax.Array, means: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            known = jnp.arange(n) < t * n_o
            u = jnp.where(known, solved[:, 0] - solved[:, 1:] @ means, 0.0)
            each = -0.5 * u**2 - log_diagonal - 0.5 * jnp.log(2 * jnp.pi)
            rows = jax.lax.dynamic_slice_in_dim(factor, t * n_o, horizon * n_o)
            mean = (rows[:, :n] @ u).reshape(horizon, n_o) + means + form.mean[:n_o]
            ahead = jnp.where(jnp.arange(factor.shape[1]) >= t * n_o, rows, 0.0)
            sd = jnp.sqrt((ahead**2).sum(1)).reshape(horizon, n_o)
            return jnp.where(known, each, 0.0).sum(), mean, sd

        found: tuple[jax.Array, jax.Array, jax.Array] = jax.lax.map(
            lambda pair: of_origin(*pair), (jnp.asarray(exercise.origins), jnp.asarray(exercise.means))
        )
        return found


class Weighted(NamedTuple):
    """Points (n, d) in unconstrained coordinates, log weights (n, origins) that sum to one, and forecasts at each."""

    x: Array
    log_weights: Array
    points: list[AtPoint]

    @property
    def effective(self) -> Array:
        """Effective number of points by origin."""
        found: Array = np.exp(-logsumexp(2 * self.log_weights, axis=0))
        return found


def sample_posteriors(forecaster: Forecaster, draws: Array, rng: np.random.Generator) -> Weighted:
    """Importance samples of the posteriors of all quarters; ``draws`` (n, d): of the whole sample's, to begin with."""
    posterior = forecaster.exercise.posterior
    transform = posterior.transform
    x = transform.to_unconstrained(draws)
    proposals, counts = [StudentT(x.mean(0), _WIDER**2 * np.cov(x.T), _FREEDOM)], [ROUNDS[0]]
    drawn = [proposals[0].sample(rng, ROUNDS[0])]
    kept_x, kept, prior = [], [], []
    for i, _ in enumerate(ROUNDS):
        for point, theta in zip(drawn[-1], transform.to_natural(drawn[-1]), strict=True):
            found = forecaster.at(theta)
            if found is not None:
                kept_x.append(point)
                kept.append(found)
                prior.append(posterior.log_prior(theta) + float(transform.log_jacobian(point[None])[0]))
        total = np.array(kept_x)
        mixture = np.stack([p.log_density(total) for p in proposals])
        proposal = logsumexp(mixture, axis=0, b=np.array(counts)[:, None] / sum(counts))
        log = np.array([p.log_likelihood for p in kept]) + (np.array(prior) - proposal)[:, None]
        weighted = Weighted(total, log - logsumexp(log, axis=0), kept)
        if i + 1 == len(ROUNDS):
            break
        chosen = range(0, log.shape[1], APART)
        each = [_fitted(total, weighted.log_weights[:, j]) for j in chosen]
        counts += [ROUNDS[i + 1] // len(each)] * len(each)
        proposals += each
        drawn.append(np.concatenate([p.sample(rng, ROUNDS[i + 1] // len(each)) for p in each]))
    return weighted


def _fitted(x: Array, log_weights: Array) -> StudentT:
    """Of weighted points, tempered until enough of them count."""
    power = 1.0
    while True:
        log = power * log_weights
        weights = np.exp(log - logsumexp(log))
        if 1 / (weights**2).sum() >= min(_FEWEST, len(x) / 2):
            break
        power *= 0.8
    center = weights @ x
    return StudentT(center, _BROADER**2 * (weights[:, None] * (x - center)).T @ (x - center), _FREEDOM)


def model_densities(weighted: Weighted, origin: int, rng: np.random.Generator) -> Densities:
    """Forecasts from a quarter at points drawn by their weights (systematic resampling)."""
    weights = np.cumsum(np.exp(weighted.log_weights[:, origin]))
    at = np.searchsorted(weights / weights[-1], (rng.random() + np.arange(KEPT)) / KEPT)
    points = [weighted.points[i] for i in at]
    return Densities(np.array([p.mean[origin] for p in points]), np.array([p.sd[origin] for p in points]))


def run_exercise(exercise: Exercise, draws: Array, seed: int = SEED) -> tuple[dict[str, dict[str, Array]], Weighted]:
    """Scores (origins, horizon, n_o) by forecaster and kind, and the weighted points of the model's posteriors."""
    rng = np.random.default_rng(seed)
    weighted = sample_posteriors(Forecaster(exercise), draws, rng)
    found: dict[str, dict[str, list[Array]]] = {}
    for i, t in enumerate(exercise.origins):
        horizon = exercise.outcomes.shape[1]
        densities = {"model": model_densities(weighted, i, rng)}
        densities |= {name: rival(exercise.values[:t], horizon, rng) for name, rival in RIVALS.items()}
        for name, density in densities.items():
            for kind, value in scores(density.mean, density.sd, exercise.outcomes[i]).items():
                found.setdefault(name, {}).setdefault(kind, []).append(value)
    arrays = {name: {kind: np.array(rows) for kind, rows in kinds.items()} for name, kinds in found.items()}
    return arrays, weighted


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("results/us_hank"))
    parser.add_argument("--first", default=FIRST, help="quarter of the first forecast")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=Path("results/holdout"))
    args = parser.parse_args()
    clock = time.perf_counter()
    run = load(args.folder)
    exercise = Exercise.of(run.posterior, args.first)
    draws = draws_of(run.draws, names=run.posterior.names).reshape(-1, len(run.posterior.names))
    found, weighted = run_exercise(exercise, draws, args.seed)
    tails = [pareto_k(weighted.log_weights[:, i]) for i in range(weighted.log_weights.shape[1])]
    data = run.data
    sampling = {
        "points": len(weighted.x),
        "effective_least": float(weighted.effective.min()),
        "effective_median": float(np.median(weighted.effective)),
        "largest_tail_index": float(np.max(tails)),
    }
    by_date = {d: [round(float(e)), round(float(k), 2)] for d, e, k in zip(
        (data.dates[t - 1] for t in exercise.origins), weighted.effective, tails, strict=True)}  # fmt: skip
    write_json(make_folder(args.out) / "sampling.json", by_date)
    print(write(make_folder(args.out), found, data.names, data.labels, [data.dates[t - 1] for t in exercise.origins],
                sampling))  # fmt: skip
    write_made(args.out, "holdout", time.perf_counter() - clock)


if __name__ == "__main__":
    main()
