"""The exact posterior of a finished run against plain random-walk Metropolis-Hastings on the same density.

Run by ``make validate``. Nothing of the surrogate enters the random walk: its proposals have the covariance at the
posterior mode, fixed, and every step evaluates the model. Means, standard deviations and 5 % and 95 % quantiles are
compared in units of their combined Monte Carlo error, the surrogate's own in units of posterior standard deviations.
Writes ``validate.csv``, ``validate.json`` and ``validate.png``.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import arviz as az
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from joblib import Parallel, delayed, parallel_config
from numpy.typing import NDArray

from benchmarks.pages import write_made
from estimhank import load
from estimhank.mode.mode_result import read_mode
from estimhank.posterior.posterior import Posterior
from estimhank.sampling.random_walk import init, step
from estimhank.support.runtime import worker_environment

Array = NDArray[np.float64]

#: Statistics compared: name, function over all draws, arviz' method of Monte Carlo error.
STATISTICS = (
    ("mean", lambda x: x.mean(), {"method": "mean"}),
    ("sd", lambda x: x.std(ddof=1), {"method": "sd"}),
    ("q05", lambda x: np.quantile(x, 0.05), {"method": "quantile", "prob": 0.05}),
    ("q95", lambda x: np.quantile(x, 0.95), {"method": "quantile", "prob": 0.95}),
)


def chain(posterior: Posterior, start: Array, cholesky: Array, steps: int, seed: int) -> tuple[Array, float]:
    """One random-walk chain: states in natural units, shape (steps, d), and the acceptance rate."""
    transform, rng = posterior.transform, np.random.default_rng(seed)

    def log_density(x: Array) -> Array:
        values = [posterior.evaluate(theta).log_density for theta in transform.to_natural(x)]
        found: Array = np.array(values) + transform.log_jacobian(x)
        return found

    state = init(start[None], log_density(start[None]))
    while not np.isfinite(state.log_density).all():
        other = (start + cholesky @ rng.standard_normal(len(start)))[None]
        state = init(other, log_density(other))
    states, accepted = np.empty((steps, len(start))), 0
    for k in range(steps):
        state, info = step(rng, state, log_density, cholesky)
        states[k], accepted = transform.to_natural(state.position[0]), accepted + int(info.accepted[0])
    return states, accepted / steps


def compare(names: tuple[str, ...], plain: Array, exact: Array, surrogate: Array) -> list[dict[str, Any]]:
    """Rows of the table; draws are (chains, draws, d)."""
    rows = []
    for i, name in enumerate(names):
        spread = plain[..., i].std()
        for statistic, function, method in STATISTICS:
            a, b, s = (function(x[..., i].ravel()) for x in (plain, exact, surrogate))
            errors = [float(az.mcse(x[..., i], **method)) for x in (plain, exact)]
            rows.append(
                {
                    "parameter": name, "statistic": statistic, "random_walk": a, "exact": b, "surrogate": s,
                    "random_walk_mcse": errors[0], "exact_mcse": errors[1],
                    "z": (b - a) / np.hypot(errors[0], errors[1]), "surrogate_gap_in_sd": (s - a) / spread,
                }
            )  # fmt: skip
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """z-scores of the exact posterior by parameter and statistic."""
    names = list(dict.fromkeys(r["parameter"] for r in rows))
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    for (statistic, _, _), shift, colour in zip(
        STATISTICS, (-0.24, -0.08, 0.08, 0.24), ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=True
    ):
        z = [r["z"] for r in rows if r["statistic"] == statistic]
        axis.plot(np.arange(len(names)) + shift, z, "o", ms=4, color=colour, label=statistic)
    for level in (-2, 2):
        axis.axhline(level, color="#999999", lw=0.8, ls="--")
    axis.axhline(0, color="#444444", lw=0.8)
    axis.set(
        xticks=range(len(names)), xticklabels=names, ylabel="difference in Monte Carlo standard errors",
        title="Exact posterior of the run against plain random-walk chains",
    )  # fmt: skip
    axis.tick_params(axis="x", rotation=45)
    axis.legend(frameon=False, ncols=4, fontsize=8, loc="upper center")
    axis.set_ylim(-5, 5)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Run the chains, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="results folder of a finished run")
    parser.add_argument("--out", type=Path, default=Path("results/validate"))
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--burn-in", type=int, default=2_000)
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    run = load(options.run)
    posterior, mode = run.posterior, read_mode(options.run / "mode.json")
    d = len(posterior.names)
    cholesky = np.linalg.cholesky(mode.covariance_x) * 2.38 / np.sqrt(d)
    rng = np.random.default_rng(options.seed)
    starts = mode.center_x + 2 * rng.standard_normal((options.chains, d)) @ np.linalg.cholesky(mode.covariance_x).T
    begun = time.perf_counter()
    import os

    os.environ.update(worker_environment())
    with parallel_config(backend="loky", n_jobs=options.workers, inner_max_num_threads=1):
        results = Parallel()(
            delayed(chain)(posterior, start, cholesky, options.steps, options.seed + 1 + k)
            for k, start in enumerate(starts)
        )
    seconds = time.perf_counter() - begun
    plain = np.stack([states[options.burn_in :] for states, _ in results])
    exact, surrogate = (
        np.stack([np.asarray(run.draws[group][name]) for name in posterior.names], axis=-1)
        for group in ("posterior", "surrogate_posterior")
    )
    rows = compare(posterior.names, plain, exact, surrogate)
    z = np.array([r["z"] for r in rows])
    gaps = np.array([r["surrogate_gap_in_sd"] for r in rows if r["statistic"] == "mean"])
    summary = {
        "steps": options.steps, "chains": options.chains, "burn_in": options.burn_in, "seconds": seconds,
        "acceptance": [rate for _, rate in results],
        "random_walk_ess_bulk": float(min(az.ess(plain[..., i], method="bulk") for i in range(d))),
        "random_walk_r_hat": float(max(az.rhat(plain[..., i]) for i in range(d))),
        "exact_ess_bulk": float(min(az.ess(exact[..., i], method="bulk") for i in range(d))),
        "largest_z": float(np.abs(z).max()), "share_above_2": float((np.abs(z) > 2).mean()),
        "root_mean_square_z": float(np.sqrt((z**2).mean())),
        "largest_surrogate_mean_gap_in_sd": float(np.abs(gaps).max()), "s_e": run.certificate["s_e"],
    }  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "validate.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (options.out / "validate.json").write_text(json.dumps(summary, indent=2) + "\n")
    write_made(options.out, "validate", time.perf_counter() - begun)
    draw(rows, options.out / "validate.png")
    print(json.dumps(summary, indent=2))
    if np.abs(z).max() > 4.5:
        raise SystemExit("the exact posterior differs from that of the random walk by more than Monte Carlo error")


if __name__ == "__main__":
    main()
