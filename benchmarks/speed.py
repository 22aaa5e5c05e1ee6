"""Speed of one log-likelihood evaluation against the sequence-jacobian toolkit on the same model, in one run.

Run by ``make bench``; one core, one BLAS thread in either. Writes ``speed.csv``, ``speed.json`` and ``speed.png``.
"""

from __future__ import annotations

import os

# before anything loads a BLAS or XLA: one thread each
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.timing import pair, seconds
from benchmarks.toolkit import ToolkitHANK
from estimhank.model.one_asset_hank import OneAssetHANK
from estimhank.posterior import Posterior

#: Persistences that plain truncation, which the toolkit uses, handles as well: the two must then agree.
THETA = {
    "kappa_w": 0.1, "phi_pi": 1.7, "phi_y": 0.125, "rho_i": 0.5, "phi_b": 0.1, "rho_w": 0.9, "rho_g": 0.8,
    "rho_m": 0.6, "sigma_w": 0.3, "sigma_g": 0.8, "sigma_m": 0.4,
}  # fmt: skip


def measure(horizon: int, pairs: int) -> list[dict[str, Any]]:
    """Rows of the table for one horizon."""
    default = Posterior.from_config("configs/us_hank.toml")
    post = Posterior(default.model, default.data, horizon, horizon * 2 // 3)
    theta, sample = post.to_array(THETA), np.array(post.data.values)
    start = time.perf_counter()
    mine = post.log_likelihood(theta)
    first = time.perf_counter() - start
    toolkit = ToolkitHANK({**post.steady_state.parameters, **THETA}, horizon)
    gap = abs(mine - toolkit.log_likelihood(THETA, sample))
    coefficients = np.abs(post.responses(THETA) - toolkit.coefficients(THETA)).max()
    if coefficients > 1e-4 or gap > 0.05:
        raise SystemExit(
            f"the two do not solve the same model: responses differ by {coefficients:.1e}, likelihoods by {gap:.1e}"
        )

    def row(what: str, p: Any) -> dict[str, Any]:
        return {
            "what": what, "horizon": horizon, "ours_ms": 1e3 * p.ours, "toolkit_ms": 1e3 * p.theirs, "ratio": p.ratio,
            "lowest_ratio": p.low, "highest_ratio": p.high, "log_likelihood_gap": gap,
            "response_gap": float(coefficients),
            "first_call_s": first,
        }  # fmt: skip

    rows = [
        row(
            "equilibrium parameters",
            pair(lambda: post.log_likelihood(theta), lambda: toolkit.log_likelihood(THETA, sample), pairs),
        )
    ]
    value = seconds(lambda: post.evaluate(theta), 100)
    post.evaluate(theta, gradient=True)
    both = seconds(lambda: post.evaluate(theta, gradient=True), 100)
    rows[0]["value_and_gradient_over_value"] = both / value

    table = post.model.parameters
    household = Posterior(
        OneAssetHANK(table.changed("eis", prior=table["phi_y"].prior)), post.data, horizon, horizon * 2 // 3
    )
    free = household.to_array({**THETA, "eis": 0.5})

    def toolkit_whole() -> float:
        toolkit.solve_steady_state()
        toolkit.solve_household()
        return toolkit.log_likelihood(THETA, sample)

    rows.append(
        row(
            "steady state re-solved", pair(lambda: household.log_likelihood(free), toolkit_whole, max(3, pairs // 3), 3)
        )
    )
    return rows


def write(rows: list[dict[str, Any]], folder: Path) -> None:
    """Table and figure."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = list(rows[0])
    with (folder / "speed.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    (folder / "speed.json").write_text(json.dumps(rows, indent=2) + "\n")
    figure, axis = plt.subplots(figsize=(7, 0.9 + 0.55 * len(rows)), layout="constrained")
    labels = [f"{r['what']}, T = {r['horizon']}" for r in rows]
    positions = np.arange(len(rows))
    axis.barh(
        positions + 0.2, [r["toolkit_ms"] for r in rows], 0.38, label="sequence-jacobian toolkit", color="#999999"
    )
    axis.barh(positions - 0.2, [r["ours_ms"] for r in rows], 0.38, label="estimhank", color="#0072B2")
    for position, r in zip(positions, rows, strict=True):
        axis.annotate(
            f"{r['ratio']:.0f} times faster", (r["ours_ms"], position - 0.2), (4, 0),
            textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    axis.set(yticks=positions, yticklabels=labels, xscale="log", xlabel="milliseconds per log likelihood, one core")
    axis.invert_yaxis()
    axis.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.4, 1.2), ncols=2)
    figure.savefig(folder / "speed.png", dpi=150)
    plt.close(figure)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--horizons", type=int, nargs="+", default=[300, 500])
    options = parser.parse_args()
    rows = []
    for horizon in options.horizons:
        rows += measure(horizon, options.pairs)
    write(rows, options.out)
    for r in rows:
        print(
            f"{r['what']:24s} T = {r['horizon']}: {r['ours_ms']:8.2f} ms, toolkit {r['toolkit_ms']:8.1f} ms, "
            f"{r['ratio']:6.1f} times faster (pairs {r['lowest_ratio']:.1f} to {r['highest_ratio']:.1f}); "
            f"first call {r['first_call_s']:.1f} s"
        )
    print(f"value and gradient cost {rows[0]['value_and_gradient_over_value']:.2f} values at T = {rows[0]['horizon']}")


if __name__ == "__main__":
    main()
