"""The two-asset economy against the toolkit's own on the same grid: steady state, household Jacobians, likelihood.

    python -m benchmarks.two_asset            # writes results/bench/two_asset.csv

One core, one BLAS thread in either; processor time of calls in turn, after one call that compiles. Steady state: the
two unknowns that both solve for, from the same guess. Household Jacobians: all outputs, horizon 300. Log likelihood
with the household's Jacobians reused by both: the toolkit's ``solve_jacobian`` at horizon 300, three shocks and three
observables; ours with the seven of each of ``configs/us_two_asset.toml``, at that horizon and at the one that it takes
(illiquid wealth has not settled after 300 quarters; the toolkit cuts off there).
"""

# mypy: ignore-errors
from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np
from sequence_jacobian import estimation
from sequence_jacobian.examples import two_asset

import estimhank
from estimhank.households.fake_news import household_jacobians
from estimhank.models.two_asset_hank import TwoAssetHANK
from estimhank.parameters.parameter_table import Values
from estimhank.posterior.posterior import Posterior
from estimhank.posterior.routes import CHEAPEST
from estimhank.sequence_space.steady_state import solve_steady_state

T = 300
GRID = {"nZ": 3, "nB": 50, "nA": 70, "nK": 50}
CALIBRATION = {
    "Y": 1.0, "N": 1.0, "K": 10.0, "r": 0.0125, "rstar": 0.0125, "tot_wealth": 14, "delta": 0.02, "pi": 0.0,
    "kappap": 0.1, "muw": 1.1, "Bh": 1.04, "Bg": 2.8, "G": 0.2, "eis": 0.5, "frisch": 1, "chi0": 0.25, "chi2": 2,
    "epsI": 4, "omega": 0.005, "kappaw": 0.1, "phi": 1.5, "bmax": 50, "amax": 4000, "kmax": 1, "rho_z": 0.966,
    "sigma_z": 0.92, **GRID,
}  # fmt: skip
UNKNOWNS, TARGETS, SHOCKS = ["r", "w", "Y"], ["asset_mkt", "fisher", "wnkpc"], ["rstar", "Z", "G"]
OBSERVED = ["Y", "pi", "i"]


def seconds(call: Callable[[], Any], times: int) -> tuple[float, Any]:
    """Median processor time of ``times`` calls, and what the last returned."""
    taken, found = [], None
    for _ in range(times):
        start = time.process_time()
        found = jax.block_until_ready(call())
        taken.append(time.process_time() - start)
    return median(taken), found


def of_the_toolkit(times: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Seconds by task, and the numbers that are compared."""
    steady_model, _, model, *_ = two_asset.dag()
    guess = {"beta": 0.976, "chi1": 6.5}

    def steady() -> Any:
        return steady_model.solve_steady_state(
            CALIBRATION, dict(guess), {"asset_mkt": 0.0, "B": "Bh"}, solver="broyden_custom"
        )

    steady()
    steady_seconds, found = seconds(steady, 1)
    ss = model.steady_state(found)
    household = next(block for block in model.blocks if block.name == "hh")
    inputs = ["ra", "rb", "N", "tax", "w"]

    def jacobians() -> Any:
        return household.jacobian(ss, inputs, T=T)

    jacobians()
    jacobian_seconds, jacobian = seconds(jacobians, times)
    known = {household.name: jacobian}
    data = np.random.default_rng(0).standard_normal((200, len(OBSERVED)))
    phi = iter(np.linspace(1.4, 1.6, 4 * times + 10))

    def likelihood() -> Any:
        now = ss.copy()
        now["phi"] = next(phi)
        solved = model.solve_jacobian(now, UNKNOWNS, TARGETS, SHOCKS, OBSERVED, T=T, Js=known)
        path = 0.9 ** np.arange(T)
        moving = np.stack([[solved[o][z] @ path for z in SHOCKS] for o in OBSERVED]).transpose(2, 0, 1)
        return estimation.log_likelihood(data, estimation.all_covariances(moving, np.ones(len(SHOCKS))))

    likelihood()
    likelihood_seconds, _ = seconds(likelihood, times)
    numbers = {"beta": found["beta"], "chi1": found["chi1"]}
    tasks = {"steady state": steady_seconds, "Jacobians": jacobian_seconds, "likelihood": likelihood_seconds}
    return tasks, numbers


def of_estimhank(config: str, times: int) -> tuple[dict[str, float], dict[str, Any]]:
    """The same of ours."""
    model = TwoAssetHANK()
    solve_steady_state(model)
    steady_seconds, state = seconds(lambda: solve_steady_state(model), 1)
    block, p = model.household, Values(state.parameters)
    inputs = {name: state.values[name] for name in block.inputs}
    call = jax.jit(lambda s: household_jacobians(block, s, inputs, p, T, block.outputs))
    jax.block_until_ready(call(state.household))
    jacobian_seconds, _ = seconds(lambda: call(state.household), times)
    posterior = Posterior.from_config(config)
    points = posterior.reference() * (1 + 0.01 * np.random.default_rng(1).uniform(-1, 1, (times + 1, 19)))
    posterior.evaluate(points[-1])
    turn = iter(points)
    likelihood_seconds, last = seconds(lambda: posterior.evaluate(next(turn)).log_likelihood, times)
    assert np.isfinite(last)
    # solution and likelihood at the toolkit's horizon, whatever is missing after it
    short = Posterior(posterior.model, posterior.data, T, 2 * T // 3)
    short._at(points[-1], False).outcome(CHEAPEST)
    turn = iter(points)
    short_seconds, _ = seconds(lambda: short._at(next(turn), False).outcome(CHEAPEST), times)
    numbers = {"beta": state.parameters["beta"], "chi1": state.parameters["chi1"]}
    tasks = {"steady state": steady_seconds, "Jacobians": jacobian_seconds, f"likelihood, T = {T}": short_seconds}
    return {**tasks, f"likelihood, T = {posterior.horizon}": likelihood_seconds}, numbers


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="configs/us_two_asset.toml")
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    given = parser.parse_args()
    estimhank.configure()
    mine, my_numbers = of_estimhank(given.config, given.times)
    theirs, their_numbers = of_the_toolkit(max(given.times // 2, 1))
    rows = [
        {"task": task, "toolkit_s": f"{theirs[task.split(',')[0]]:.3f}", "estimhank_s": f"{mine[task]:.3f}",
         "ratio": f"{theirs[task.split(',')[0]] / mine[task]:.1f}"}
        for task in mine
    ]  # fmt: skip
    given.out.mkdir(parents=True, exist_ok=True)
    with open(given.out / "two_asset.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(", ".join(f"{key} {value}" for key, value in row.items()))
    print("solved for:", {name: (float(their_numbers[name]), float(my_numbers[name])) for name in my_numbers})


if __name__ == "__main__":
    main()
