"""A finished run of the three-equation model: draws of its posterior, and a normal approximation for a surrogate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from estimhank import load
from estimhank.analysis.arrays import ExactDraws, FreshDraws, PosteriorArrays
from estimhank.analysis.inference_data import write_inference_data
from estimhank.mode.mode_result import ModeResult, write_mode
from estimhank.posterior.posterior import Posterior
from estimhank.run.reporting import parameter_infos
from estimhank.surrogate.surrogate import save_surrogate
from tests.helpers.finished_run import finished_run
from tests.helpers.hand_made import normal_surrogate

Array = NDArray[np.float64]


def sampled_run(folder: Path) -> None:
    """Write a folder with three estimated parameters and 1,200 draws of a random walk on the exact posterior."""
    fixed = {"eis": 0.5, "kappa": 0.1, "phi_y": 0.125, "rho_d": 0.8, "sigma_d": 0.5, "rho_u": 0.5, "rho_m": 0.5}
    finished_run(folder, parameters={name: {"fixed": value} for name, value in fixed.items()})
    posterior = load(folder).posterior
    write_statistics(folder, posterior, posterior_draws(posterior, 8, 150))


def posterior_draws(posterior: Posterior, chains: int, kept: int) -> tuple[Array, Array, Array]:
    """A random walk in the coordinates: x, log likelihood, log prior, by chain and draw."""
    rng, transform = np.random.default_rng(0), posterior.transform
    x = transform.to_unconstrained(np.tile(posterior.reference(), (chains, 1)))
    scale = np.array([0.3, 0.2, 0.2])

    def evaluate(points: Array) -> Array:
        found = [posterior.evaluate(theta) for theta in transform.to_natural(points)]
        return np.array([[e.log_likelihood, e.log_prior] if e.reason == "ok" else [-np.inf, 0.0] for e in found])

    here = evaluate(x)
    states, values = [], []
    for i in range(2 * kept):
        new = x + scale * rng.standard_normal(x.shape)
        there = evaluate(new)
        gain = (there - here).sum(1) + transform.log_jacobian(new) - transform.log_jacobian(x)
        yes = np.log(rng.random(chains)) < gain
        x, here = np.where(yes[:, None], new, x), np.where(yes[:, None], there, here)
        if i >= kept:
            states.append(x)
            values.append(here)
    found = np.stack(values, axis=1)
    return np.stack(states, axis=1), found[..., 0], found[..., 1]


def write_statistics(folder: Path, posterior: Posterior, draws: tuple[Array, Array, Array]) -> None:
    x, log_likelihood, log_prior = draws
    d, transform = x.shape[2], posterior.transform
    flat = x.reshape(-1, d)
    mean, covariance = flat.mean(0), np.cov(flat.T)
    root = np.linalg.cholesky(covariance)
    surrogate = normal_surrogate(mean, root, dict(posterior.fingerprint))
    surrogate = replace(surrogate, names=posterior.names)
    save_surrogate(surrogate, folder)
    rng = np.random.default_rng(1)
    of_surrogate = mean + rng.standard_normal((8, 400, d)) @ root.T
    fresh = of_surrogate[:, :25].reshape(-1, d)
    exact = [posterior.evaluate(theta) for theta in transform.to_natural(fresh)]
    arrays = PosteriorArrays(
        posterior.names,
        ExactDraws(transform.to_natural(x), log_likelihood, log_prior),
        transform.to_natural(of_surrogate),
        posterior.sample_prior(rng, 60),
        fresh=FreshDraws(
            transform.to_natural(fresh), np.array([e.log_density for e in exact]), surrogate.log_density(fresh)
        ),
    )
    write_inference_data(folder / "posterior.nc", arrays, parameter_infos(posterior))
    best = flat[np.argmax(log_likelihood + log_prior)]
    theta = transform.to_natural(best)
    nothing = np.zeros((d, 1))
    mode = ModeResult(
        posterior.names, theta, best, 0.0, 0.0, 0.0, np.zeros(d), (), "interior", (), (), (), 1, np.eye(d), np.eye(d),
        1.0, True, best, covariance, nothing, nothing, {}, 1, 1,
    )  # fmt: skip
    write_mode(folder / "mode.json", mode)
