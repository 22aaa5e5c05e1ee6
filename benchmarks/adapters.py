"""An evaluation of toolkit models by the adapter against the toolkit's own, household Jacobians reused by both.

    python -m benchmarks.adapters             # writes results/bench/adapters.csv

One core, one BLAS thread in either; processor time of calls in turn, at parameters that were not evaluated before and
of which some touch the equilibrium (of the RBC example only shocks' own are estimated). The toolkit's evaluation is the
one of its notebooks: ``solve_jacobian`` with the household's Jacobians given, responses to the shocks,
``all_covariances``, ``log_likelihood``.
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
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from sequence_jacobian import estimation
from sequence_jacobian.examples import hank, rbc

from benchmarks.toolkit import POLICY, ToolkitHANK
from estimhank.adapters import from_sequence_jacobian
from estimhank.data.dataset import Dataset
from estimhank.model import AR1, Beta, Gamma, Normal, SqrtInverseGamma
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.posterior.posterior import Posterior
from estimhank.sequence_space.steady_state import solve_steady_state


class Case(NamedTuple):
    """A toolkit model as ``solve_jacobian`` takes it, and the parameters of its equations that are estimated."""

    name: str
    model: Any
    ss: Any
    unknowns: list[str]
    targets: list[str]
    shocks: list[str]
    observed: list[str]
    priors: dict[str, Any]


def cases() -> list[Case]:
    """The default model as the toolkit's users reduce it by hand, and two of the toolkit's own examples."""
    state = solve_steady_state(OneAssetHANK())
    default = ToolkitHANK(state.parameters, 20)
    table = OneAssetHANK.parameters.priors()
    _, ss, model, unknowns, targets, shocks = hank.dag()
    prices = {"kappa": Gamma(0.1, 0.03), "phi": Normal(1.5, 0.1)}
    rbc_model, rbc_ss, rbc_unknowns, rbc_targets, rbc_shocks = rbc.dag()
    return [
        Case(
            "default model", default.model, default.steady, ["Y"], ["asset_market"], ["w", "g", "m"],
            ["growth", "pi", "i"], {name: table[name] for name in POLICY},
        ),
        Case("one-asset HANK", model, ss, unknowns, targets, shocks, ["Y", "pi"], prices),
        Case(
            "three shocks", model, ss, unknowns, targets, [*shocks, "mu"], ["Y", "pi", "w"], prices,
        ),
        Case("RBC", rbc_model, rbc_ss, rbc_unknowns, rbc_targets, rbc_shocks, ["Y"], {}),
    ]  # fmt: skip


def measure(case: Case, horizon: int, quarters: int, pairs: int) -> dict[str, Any]:
    """One row of the table."""
    parameters = dict(case.priors)
    for name in case.shocks:
        parameters |= {f"rho_{name}": Beta(0.6, 0.1, upper=0.9), f"sigma_{name}": SqrtInverseGamma(0.4, 4.0)}
    model = from_sequence_jacobian(
        case.model, case.ss, case.unknowns, case.targets, tuple(AR1(n) for n in case.shocks), case.observed, parameters
    )
    values = np.random.default_rng(0).standard_normal((quarters, len(case.observed)))
    dates = tuple(f"{1950 + i // 4}Q{i % 4 + 1}" for i in range(quarters))
    names = tuple(o.name for o in model.observables)
    data = Dataset(dates, names, tuple(o.units for o in model.observables), names, values, np.zeros(len(names)))
    posterior = Posterior(model, data, horizon, horizon * 2 // 3)
    households = {leaf.block.name for leaf in model.problem.graph.households}
    known = case.model.partial_jacobians(case.ss, case.unknowns + case.shocks, case.observed + case.targets, horizon)
    known = {name: jacobian for name, jacobian in known.items() if name in households}

    def theirs(point: np.ndarray) -> float:
        theta, ss = dict(zip(posterior.names, point.tolist(), strict=True)), case.ss.copy()
        ss.update({name: theta[name] for name in case.priors})
        found = case.model.solve_jacobian(
            ss, case.unknowns, case.targets, case.shocks, case.observed, T=horizon, Js=known
        )
        moving = np.zeros((horizon, len(case.observed), len(case.shocks)))
        for z, shock in enumerate(case.shocks):
            path = theta[f"sigma_{shock}"] * theta[f"rho_{shock}"] ** np.arange(horizon)
            for o, name in enumerate(case.observed):
                if shock in found[name]:
                    moving[:, o, z] = found[name][shock] @ path
        kernel = estimation.log_likelihood(values, estimation.all_covariances(moving, np.ones(len(case.shocks))))
        return float(kernel) - values.size / 2 * np.log(2 * np.pi)

    rng = np.random.default_rng(1)
    points = posterior.reference() * (1 + 0.02 * rng.uniform(-1, 1, (pairs + 1, len(posterior.names))))
    theirs(points[-1]), posterior.evaluate(points[-1])
    times, gap = [], 0.0
    for point in points[:-1]:
        start = time.process_time()
        mine = posterior.evaluate(point).log_likelihood
        middle = time.process_time()
        own = theirs(point)
        times.append((middle - start, time.process_time() - middle))
        gap = max(gap, abs(mine - own))
    return {
        "model": case.name, "horizon": horizon, "quarters": quarters, "shocks": len(case.shocks),
        "estimhank_ms": round(1e3 * median(a for a, _ in times), 3),
        "toolkit_ms": round(1e3 * median(b for _, b in times), 3),
        "ratio": round(median(b / a for a, b in times), 2), "log_likelihood_gap": f"{gap:.1e}",
    }  # fmt: skip


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--horizon", type=int, default=300)
    parser.add_argument("--quarters", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    given = parser.parse_args()
    rows = [measure(case, given.horizon, given.quarters, given.pairs) for case in cases()]
    given.out.mkdir(parents=True, exist_ok=True)
    with open(given.out / "adapters.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(", ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
