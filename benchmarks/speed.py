"""Speed of log likelihoods against the sequence-jacobian toolkit on the same model, in one run.

Run by ``make bench``; one core, one BLAS thread in either. Every call is made at parameters that were not evaluated
before, so that nothing comes from an earlier call. Writes ``speed.csv``, ``speed.json``, ``speed.png``, and
``speed.md``, the table that ``make record`` puts on a page.
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
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import jax
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.floors import floors, measure_rates
from benchmarks.pages import write_made
from benchmarks.timing import pair, seconds
from benchmarks.toolkit import ToolkitHANK, ToolkitHousehold
from estimhank.models.krusell_smith import KrusellSmith
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.parameters.priors import Gamma
from estimhank.posterior.posterior import Posterior
from estimhank.sequence_space.steady_solver import SteadySolver
from estimhank.support.files import write_text

Row = dict[str, Any]
Array = np.ndarray

#: Persistences that plain truncation, which the toolkit uses, handles as well: the two must then agree.
THETA = {
    "kappa_w": 0.1, "phi_pi": 1.7, "phi_y": 0.125, "rho_i": 0.5, "phi_b": 0.1, "rho_w": 0.9, "rho_g": 0.8,
    "rho_m": 0.6, "sigma_w": 0.3, "sigma_g": 0.8, "sigma_m": 0.4,
}  # fmt: skip
CALIBRATED = {"eis": 0.5, "sd_e": 0.92, "B_bar": 1.0}
_SCALES = {"eis": 0.1, "sd_e": 0.1, "B_bar": 0.25}


def fresh(theta: Array, place: int) -> Iterator[Array]:
    """Endless parameter vectors that differ in one entry, by up to five per cent."""
    for k in count(1):
        new = theta.copy()
        new[place] *= 1 + 0.05 * np.sin(1.7 * k)
        yield new


def posterior(horizon: int, household: bool = False, n_e: int = 7, n_a: int = 200) -> Posterior:
    """The default posterior at a horizon and grid, with the household's parameters estimated or not."""
    default = Posterior.from_config("configs/us_hank.toml")
    table = OneAssetHANK.parameters
    if household:
        for name, value in CALIBRATED.items():
            table = table.changed(name, prior=Gamma(value, _SCALES[name]))
    block = replace(OneAssetHANK.household, n_e=n_e, n_a=n_a)
    return Posterior(OneAssetHANK(table, block), default.data, horizon, horizon * 2 // 3)


def measure(horizon: int, pairs: int) -> list[Row]:
    """Rows of the table for one horizon: whole evaluations by what is recomputed, then their steps."""
    post, free = posterior(horizon), posterior(horizon, household=True)
    theta, sample = post.to_array(THETA), np.array(post.data.values)
    whole = free.to_array({**THETA, **CALIBRATED})
    start = time.perf_counter()
    mine = post.log_likelihood(theta)
    compile_seconds = time.perf_counter() - start
    start = time.perf_counter()
    free.log_likelihood(whole)
    compile_seconds_free = time.perf_counter() - start
    toolkit = ToolkitHANK({**post.steady_state.parameters, **THETA}, horizon)
    gap = abs(mine - toolkit.log_likelihood(THETA, sample))
    responses = float(np.abs(post.responses(THETA) - toolkit.coefficients(THETA)).max())
    if responses > 1e-4 or gap > 0.05:
        raise SystemExit(
            f"the two do not solve the same model: responses differ by {responses:.1e}, likelihoods by {gap:.1e}"
        )
    rows: list[Row] = []

    def add(what: str, ours: Callable[[], Any], theirs: Callable[[], Any], pairs: int, repeat: int = 10) -> None:
        p = pair(ours, theirs, pairs, repeat)
        rows.append(
            {
                "what": what, "horizon": horizon, "grid": "7 x 200", "ours_ms": 1e3 * p.ours,
                "toolkit_ms": 1e3 * p.theirs, "ratio": p.ratio, "lowest_ratio": p.low, "highest_ratio": p.high,
            }
        )  # fmt: skip

    def whole_toolkit(values: dict[str, float]) -> float:
        toolkit.recalibrate(values)
        toolkit.solve_steady_state()
        toolkit.solve_household()
        return toolkit.log_likelihood(THETA, sample)

    def value(target: Posterior, at: Iterator[Array]) -> Callable[[], Any]:
        return lambda: target.evaluate(next(at))

    def gradient(target: Posterior, at: Iterator[Array]) -> Callable[[], Any]:
        return lambda: target.evaluate(next(at), gradient=True)

    few = max(3, pairs // 3)
    equilibrium, shocks = fresh(theta, 0), fresh(theta, post.names.index("sigma_w"))
    add("equilibrium parameters", value(post, equilibrium), lambda: toolkit.log_likelihood(THETA, sample), pairs)
    add("shocks alone", value(post, shocks), lambda: toolkit.log_likelihood(THETA, sample), few)
    other = fresh(np.array([CALIBRATED["eis"]]), 0)
    moved = fresh(whole, free.names.index("eis"))
    add("steady state re-solved", value(free, moved), lambda: whole_toolkit({"eis": float(next(other)[0])}), few, 5)
    toolkit.recalibrate(CALIBRATED)
    steps(rows, horizon, free, toolkit, sample, few)
    for label, target, at in (("equilibrium parameters", post, equilibrium), ("steady state re-solved", free, moved)):
        gradient(target, at)()
        both = seconds(gradient(target, at), 40 if target is post else 10)
        alone = seconds(value(target, at), 40 if target is post else 10)
        rows[0 if target is post else 2]["value_and_gradient_ms"] = 1e3 * both
        print(f"T = {horizon}, {label}: value and gradient cost {both / alone:.2f} values")
    print(
        f"T = {horizon}: likelihoods differ by {gap:.1e}, responses by {responses:.1e}; first calls, compilation "
        f"included, {compile_seconds:.1f} s and {compile_seconds_free:.1f} s"
    )
    rows[0] |= {"log_likelihood_gap": gap, "response_gap": responses, "first_call_s": compile_seconds}
    rows[2]["first_call_s"] = compile_seconds_free
    return rows


def steps(rows: list[Row], horizon: int, free: Posterior, toolkit: ToolkitHANK, sample: Array, pairs: int) -> None:
    """Rows for the steps of a whole evaluation."""
    solver = free.solver.steady
    theta = free.to_array({**THETA, **CALIBRATED})
    points = fresh(theta, free.names.index("eis"))
    parts = solver.at(dict(zip(free.names, theta.tolist(), strict=True)))
    given, bounds, problem = solver._problem(CALIBRATED)
    begin = solver.guess(CALIBRATED)

    def steady() -> Any:
        moved = {**CALIBRATED, "eis": float(next(points)[free.names.index("eis")])}
        return jax.block_until_ready(solver._household(moved, solver.guess(moved))[0][0].distribution)

    def jacobians() -> Any:
        return jax.block_until_ready(solver._kernel(problem, given, bounds, begin)[2].by_date)

    alone = seconds(lambda: jax.block_until_ready(solver._household(CALIBRATED, begin)[0][0].distribution), 30)
    solved = free.solver.solve(theta, parts)

    def solution() -> Any:
        return jax.block_until_ready(free.solver.solve(theta, parts).factors)

    def likelihood() -> Any:
        return jax.block_until_ready(free.solver.at_once(theta, parts, solved)[0])

    coefficients = toolkit.coefficients(THETA)
    floor = floors(free, measure_rates())
    cases = (
        ("step: steady state of households", steady, toolkit.solve_steady_state, 0.0),
        ("step: household Jacobians", jacobians, toolkit.solve_household, alone),
        ("step: general equilibrium", solution, lambda: toolkit.coefficients(THETA), 0.0),
        ("step: likelihood", likelihood, lambda: toolkit.likelihood_of(coefficients, sample), 0.0),
    )
    for what, ours, theirs, less in cases:
        p = pair(ours, theirs, pairs, 5)
        mine, his = p.ours - less, p.theirs
        rows.append(
            {
                "what": what, "horizon": horizon, "grid": "7 x 200", "ours_ms": 1e3 * mine, "toolkit_ms": 1e3 * his,
                "ratio": his / mine, "floor_ms": 1e3 * floor[what],
            }
        )  # fmt: skip


def grids(pairs: int, horizon: int = 300) -> list[Row]:
    """Steady state and household Jacobians on finer grids, and for Krusell and Smith's economy."""
    rows: list[Row] = []
    for n_e, n_a in ((7, 200), (7, 500), (11, 500)):
        free = posterior(horizon, True, n_e, n_a)
        solver = free.solver.steady
        toolkit = ToolkitHANK({**free.steady_state.parameters, **THETA}, horizon, n_e, n_a)
        values = fresh(np.array([0.5]), 0)

        def ours(solver: SteadySolver = solver, values: Iterator[Array] = values) -> Any:
            return jax.block_until_ready(solver.at({**CALIBRATED, "eis": float(next(values)[0])}).household.by_date)

        def theirs(toolkit: ToolkitHANK = toolkit, values: Iterator[Array] = values) -> None:
            toolkit.recalibrate({"eis": float(next(values)[0])})
            toolkit.solve_steady_state()
            toolkit.solve_household()

        rows.append(
            _household_row("steady state and household Jacobians", horizon, f"{n_e} x {n_a}", ours, theirs, pairs)
        )
    model = KrusellSmith()
    solver = SteadySolver(model, {"sd_e": 0.05}, horizon)
    parts = solver.at({"sd_e": 0.5})
    household = ToolkitHousehold(solver.reference.parameters, horizon)
    beta = household.solve_steady_state()
    gap = float(np.abs(household.solve_household() - np.asarray(parts.household.jacobians[0])).max())
    if abs(beta - float(parts.parameters["beta"])) > 1e-7 or gap > 1e-3:
        raise SystemExit(f"Krusell-Smith differs: discount factors {beta - parts.parameters['beta']:.1e}, {gap:.1e}")
    values = fresh(np.array([0.5]), 0)

    def ours_ks() -> Any:
        return jax.block_until_ready(solver.at({"sd_e": float(next(values)[0])}).household.by_date)

    def theirs_ks() -> None:
        household.solve_steady_state(sd_e=float(next(values)[0]))
        household.solve_household()

    rows.append(_household_row("Krusell-Smith, the same", horizon, "7 x 500", ours_ks, theirs_ks, pairs))
    return rows


def _household_row(
    what: str, horizon: int, grid: str, ours: Callable[[], Any], theirs: Callable[[], Any], pairs: int
) -> Row:
    p = pair(ours, theirs, pairs, 3)
    return {
        "what": what, "horizon": horizon, "grid": grid, "ours_ms": 1e3 * p.ours, "toolkit_ms": 1e3 * p.theirs,
        "ratio": p.ratio, "lowest_ratio": p.low, "highest_ratio": p.high,
    }  # fmt: skip


def accelerator() -> list[Row]:
    """A vectorised batch on an accelerator, where JAX sees one."""
    devices = [d for d in jax.devices() if d.platform != "cpu"]
    if not devices:
        return []
    post = posterior(300)
    theta = post.to_array(THETA)
    batch = np.tile(theta, (64, 1))
    batch[:, 0] *= np.linspace(0.9, 1.1, 64)
    post.evaluate(theta)
    parts = jax.device_put(post.solver.steady.reference_parts, devices[0])
    run = jax.jit(jax.vmap(lambda t: post.solver.computation.log_likelihood(t, parts).log_likelihood))
    points = jax.device_put(batch, devices[0])
    found = np.asarray(run(points))
    gap = max(abs(found[i] - post.log_likelihood(batch[i])) for i in (0, 31, 63))
    each = seconds(lambda: jax.block_until_ready(run(points)), 5) / 64
    print(f"a batch of 64 on {devices[0]}: log likelihoods differ by {gap:.1e} at most")
    return [{"what": f"batch of 64 on {devices[0].platform}", "horizon": 300, "grid": "7 x 200", "ours_ms": 1e3 * each}]


def write(rows: list[Row], folder: Path) -> None:
    """Table and figure."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with (folder / "speed.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    (folder / "speed.json").write_text(json.dumps(rows, indent=2) + "\n")
    shown = [row for row in rows if "toolkit_ms" in row]
    figure, axis = plt.subplots(figsize=(8.5, 1.2 + 0.42 * len(shown)), layout="constrained")
    labels = [f"{r['what']}, T = {r['horizon']}, {r['grid']}" for r in shown]
    positions = np.arange(len(shown))
    for offset, key, label, colour in (
        (0.2, "toolkit_ms", "sequence-jacobian toolkit", "#999999"),
        (-0.2, "ours_ms", "estimhank", "#0072B2"),
    ):
        axis.barh(positions + offset, [r[key] for r in shown], 0.38, label=label, color=colour)
    for position, r in zip(positions, shown, strict=True):
        axis.annotate(
            f"{r['ratio']:.1f} times faster" if r["ratio"] < 10 else f"{r['ratio']:.0f} times faster",
            (r["ours_ms"], position - 0.2), (4, 0), textcoords="offset points", va="center", fontsize=7,
        )  # fmt: skip
    axis.set(yticks=positions, yticklabels=labels, xscale="log", xlabel="milliseconds, one core")
    axis.set_xlim(right=3 * max(r["toolkit_ms"] for r in shown))
    axis.tick_params(axis="y", labelsize=8)
    axis.invert_yaxis()
    figure.legend(frameon=False, fontsize=8, loc="outside upper center", ncols=2)
    figure.savefig(folder / "speed.png", dpi=150)
    plt.close(figure)


def markdown(rows: list[Row]) -> str:
    """The table for a Markdown page."""
    heads = "| | T | grid | estimhank, ms | toolkit, ms | ratio (pairs) | value and gradient, ms | floor, ms |"
    lines = [heads, "|---|" + "---:|" * 7]
    for r in rows:
        spread = f" ({r['lowest_ratio']:.0f} to {r['highest_ratio']:.0f})" if "lowest_ratio" in r else ""
        cells = [
            r["what"],
            str(r["horizon"]),
            r["grid"].replace("x", "×"),
            f"{r['ours_ms']:.2f}",
            f"{r['toolkit_ms']:.0f}" if "toolkit_ms" in r else "",
            f"{r['ratio']:.1f}{spread}" if "ratio" in r else "",
            f"{r['value_and_gradient_ms']:.1f}" if "value_and_gradient_ms" in r else "",
            f"{r['floor_ms']:.2f}" if "floor_ms" in r else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    compiled = [f"{r['first_call_s']:.0f} s ({r['what']}, T = {r['horizon']})" for r in rows if "first_call_s" in r]
    return "\n".join([*lines, "", f"First calls, compilation included: {', '.join(compiled)}."])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--horizons", type=int, nargs="+", default=[300, 500])
    parser.add_argument("--no-grids", action="store_true", help="leave out finer grids and Krusell-Smith")
    options = parser.parse_args()
    begun = time.perf_counter()
    rows: list[Row] = []
    for horizon in options.horizons:
        rows += measure(horizon, options.pairs)
    if not options.no_grids:
        rows += grids(max(3, options.pairs // 5))
    rows += accelerator()
    write(rows, options.out)
    write_text(options.out / "speed.md", markdown(rows) + "\n")
    write_made(options.out, "speed", time.perf_counter() - begun)
    for r in rows:
        versus = f", toolkit {r['toolkit_ms']:8.1f} ms, {r['ratio']:6.1f} times faster" if "ratio" in r else ""
        versus += f", floor {r['floor_ms']:.2f} ms" if "floor_ms" in r else ""
        spread = f" (pairs {r['lowest_ratio']:.1f} to {r['highest_ratio']:.1f})" if "lowest_ratio" in r else ""
        print(f"{r['what']:38s} T = {r['horizon']}, {r['grid']:8s}: {r['ours_ms']:8.2f} ms{versus}{spread}")


if __name__ == "__main__":
    main()
