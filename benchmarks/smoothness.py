"""How far the log likelihood jumps along household parameters, by the discretisation of the household.

``python -m benchmarks.smoothness``. Along ``B_bar``, ``eis`` and ``sd_e``, one recorded posterior standard deviation to
either side of the recorded mode of the household configuration, and along low ``B_bar``, where productivity states
meet the constraint: a line of points, and bisection of the intervals whose change differs most from their neighbours'.
A jump is what remains of such a change at a step of a millionth of an interval. At the constraint it is the model's: a
fixed point of the savings policy leaves it. Beside the jumps stand processor time, measured in turn, and the distance
of log likelihood, steady state and Jacobians to those of the linear scheme on 2,000 points.

Writes ``smoothness.csv`` and ``smoothness.md``, a table of it.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from benchmarks.pages import write_made
from estimhank.households import fake_news
from estimhank.households.interpolation import interpolate_rows, interpolate_rows_smoothly
from estimhank.households.one_asset import StandardIncompleteMarkets
from estimhank.households.transition import AssetLottery, SmoothAssetLottery
from estimhank.posterior.posterior import Posterior
from estimhank.sequence_space import steady_solver
from estimhank.support.files import make_folder, write_text

Array = NDArray[np.float64]
Row = dict[str, Any]

CONFIG, RECORDED = Path("configs/us_hank_household.toml"), Path("docs/recorded/us_hank_household/mode.csv")
LINES = ("B_bar", "eis", "sd_e")
LOW = (0.05, 0.6)  # of B_bar: where states meet the constraint
FINE = 2000  # asset grid points of the linear scheme that others are compared with
_BISECTIONS = 20
_TIMED = 3  # points at which processor time is measured


# -- derivatives averaged over the two sides of a kink ------------------------------------------------------------
@jax.custom_jvp
def interpolate_with_averaged_slopes(x: jax.Array, xp: jax.Array, fp: jax.Array) -> jax.Array:
    """Piecewise linear; derivatives in the knots with slopes that are averages at knots, linear between them."""
    return interpolate_rows(x, xp, fp)


@interpolate_with_averaged_slopes.defjvp
def _averaged(primals: Any, tangents: Any) -> Any:
    x, xp, fp = primals

    def one(knots: jax.Array, moves: jax.Array) -> jax.Array:
        secants = jnp.diff(fp) / jnp.diff(knots)
        slopes = jnp.concatenate([secants[:1], (secants[1:] + secants[:-1]) / 2, secants[-1:]])
        i = jnp.clip(jnp.searchsorted(knots, x, side="right") - 1, 0, len(fp) - 2)
        share = (x - knots[i]) / (knots[i + 1] - knots[i])
        slope = slopes[i] + jnp.clip(share, 0.0, 1.0) * (slopes[i + 1] - slopes[i])
        return -slope * ((1 - share) * moves[i] + share * moves[i + 1])

    return interpolate_rows(x, xp, fp), jax.vmap(one)(xp, tangents[1])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LotteryWithAveragedSlopes(AssetLottery):
    """The linear lottery; the slope of expected values is averaged at grid points and linear between them."""

    around: tuple[jax.Array, jax.Array]  # the cells below and above

    @classmethod
    def of(cls, assets: jax.Array, grid: jax.Array, chain: jax.Array) -> LotteryWithAveragedSlopes:
        """As :meth:`AssetLottery.of`."""
        found, cells = AssetLottery.of(assets, grid, chain), jnp.diff(grid)
        below, above = jnp.maximum(found.lower - 1, 0), jnp.minimum(found.lower + 1, len(cells) - 1)
        return cls(found.lower, found.weight, found.cell, chain, (cells[below], cells[above]))

    def derivative_adjoint(self, distribution: jax.Array, values: jax.Array) -> jax.Array:
        """With averaged slopes; at the ends of the grid one-sided ones."""
        tomorrow, rows, last = self.chain @ values, jnp.arange(len(self.lower))[:, None], values.shape[-1] - 1
        low, high = tomorrow[..., rows, self.lower], tomorrow[..., rows, self.lower + 1]
        here = (high - low) / self.cell
        below = (low - tomorrow[..., rows, jnp.maximum(self.lower - 1, 0)]) / self.around[0]
        above = (tomorrow[..., rows, jnp.minimum(self.lower + 2, last)] - high) / self.around[1]
        below = jnp.where(self.lower == 0, here, below)
        above = jnp.where(self.lower == last - 1, here, above)
        return distribution * (self.weight * (below + here) + (1 - self.weight) * (here + above)) / 2


@dataclass(frozen=True)
class Mixed(StandardIncompleteMarkets):
    """The household with any interpolation and lottery."""

    parts: tuple[Any, Any] = (interpolate_rows, AssetLottery)

    @property
    def _scheme(self) -> tuple[Any, Any]:
        return self.parts


class AveragedInJacobians(StandardIncompleteMarkets):
    """The linear scheme, whose Jacobians alone are made with averaged derivatives: Newton's method needs its own."""


def jacobians_by_date(block: Any, steady: Any, inputs: Any, p: Any, horizon: int) -> jax.Array:
    """Household Jacobians, with averaged derivatives where the block asks for them."""
    if isinstance(block, AveragedInJacobians):
        block = Mixed(parts=(interpolate_with_averaged_slopes, LotteryWithAveragedSlopes), scheme="linear")
        steady = steady._replace(transition=block.transition(steady.grids, steady.policies))
    return fake_news.jacobians_by_date(block, steady, inputs, p, horizon)


SCHEMES: dict[str, StandardIncompleteMarkets] = {
    "linear, 200 points": StandardIncompleteMarkets(scheme="linear"),
    "smooth, 200 points": StandardIncompleteMarkets(scheme="smooth"),
    "derivatives averaged at kinks, 200": AveragedInJacobians(scheme="linear"),
    "smooth policies alone, 200": Mixed(parts=(interpolate_rows_smoothly, AssetLottery), scheme="linear"),
    "smooth lottery alone, 200": Mixed(parts=(interpolate_rows, SmoothAssetLottery), scheme="linear"),
    "linear, 400 points": StandardIncompleteMarkets(scheme="linear", n_a=400),
    "linear, 800 points": StandardIncompleteMarkets(scheme="linear", n_a=800),
}


@dataclass(frozen=True)
class Jump:
    """A discontinuity: where, how large (nan: next to a point without a density), whether at the constraint."""

    place: float
    size: float
    at_constraint: bool


def jumps_along(
    posterior: Posterior, center: Array, name: str, low: float, high: float, n: int, keep: int
) -> list[Jump]:
    """The ``keep`` likeliest jumps of the log likelihood along a parameter, on ``n`` points."""
    k = posterior.names.index(name)

    def at(value: float) -> Array:
        return np.where(np.arange(len(center)) == k, value, center)

    def f(value: float) -> float:
        return posterior.log_likelihood(at(value))

    x = np.linspace(low, high, n)
    y = np.array([f(value) for value in x])
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    steps, width = np.diff(y), x[1] - x[0]
    around = np.stack([np.roll(steps, shift) for shift in (-2, -1, 1, 2)])
    slope = np.median(around, axis=0) / width
    odd = np.abs(steps - slope * np.diff(x))
    odd[[0, 1, -2, -1]] = 0.0
    found = []
    for i in np.argsort(-odd)[:keep]:
        a, b, ya, yb = x[i], x[i + 1], y[i], y[i + 1]
        for _ in range(_BISECTIONS):
            middle = (a + b) / 2
            here = f(middle)
            if abs(here - ya - slope[i] * (middle - a)) >= abs(yb - here - slope[i] * (b - middle)):
                b, yb = middle, here
            else:
                a, ya = middle, here
        sides = [posterior.cliffs_at(at(value)) for value in (a - 1e-9, b + 1e-9)]
        crossed = all(side is not None for side in sides) and bool(
            (np.sign(sides[0].distance) != np.sign(sides[1].distance)).any()
        )
        found.append(Jump(float(a), abs(yb - ya), crossed))
    return sorted(found, key=lambda jump: -jump.size)


def processor_time(
    posteriors: dict[str, Posterior], points: list[Array], gradient: bool, repeats: int = 4
) -> dict[str, float]:
    """Milliseconds of an evaluation by scheme: the least of some, measured in turn, mean over points."""
    least = {name: np.full(len(points), np.inf) for name in posteriors}
    rng = np.random.default_rng(0)
    for posterior in posteriors.values():
        posterior.evaluate(points[0], gradient)
    for _ in range(repeats):
        for j, point in enumerate(points):
            for name, posterior in posteriors.items():
                new = point * (1 + 1e-9 * rng.standard_normal(len(point)))  # none that is remembered
                begun = time.process_time()
                posterior.evaluate(new, gradient)
                least[name][j] = min(least[name][j], time.process_time() - begun)
    return {name: 1e3 * float(seconds.mean()) for name, seconds in least.items()}


def seen_at(posterior: Posterior, points: list[Array]) -> tuple[Array, Array, Array, Array]:
    """Log likelihoods, discount factors, shares at the constraint; Jacobians at the first point."""
    solver, values, betas, shares = posterior.solver.steady, [], [], []
    for point in points:
        values.append(posterior.log_likelihood(point))
        (household,), solved = solver.stationary_at(dict(zip(posterior.names, point.tolist(), strict=True)))
        betas.append(solved["beta"])
        shares.append(float(household.distribution[:, 0].sum()))
    parts = solver.at(dict(zip(posterior.names, points[0].tolist(), strict=True)))
    return np.array(values), np.array(betas), np.array(shares), np.asarray(parts.household.jacobians)


def measure(points_on_a_line: int, keep: int, reference_points: int, out: Path) -> list[Row]:
    """All of it; a row for each scheme."""
    recorded = {row["name"]: row for row in csv.DictReader(RECORDED.open(encoding="utf-8"))}
    plain = Posterior.from_config(CONFIG)
    steady_solver.jacobians_by_date = jacobians_by_date  # type: ignore[assignment, attr-defined]

    def posterior_of(block: StandardIncompleteMarkets) -> Posterior:
        model = type(plain.model)(plain.model.parameters, block)
        return Posterior(model, plain.data, plain.horizon, plain.tail_start, plain.measurement_error)

    center = np.array([float(recorded[name]["mode"]) for name in plain.names])
    sd = np.array([float(recorded[name]["posterior_sd"]) for name in plain.names])
    moving = [plain.names.index(name) for name in LINES]
    around = [center]
    for shift in np.random.default_rng(1).standard_normal((reference_points - 1, len(moving))):
        around.append(center.copy())
        around[-1][moving] += 0.7 * sd[moving] * shift
    exact = seen_at(posterior_of(StandardIncompleteMarkets(scheme="linear", n_a=FINE)), around)
    print(f"linear, {FINE} points: log likelihood {exact[0][0]:.3f}, beta {exact[1][0]:.6f}", flush=True)
    posteriors = {name: posterior_of(block) for name, block in SCHEMES.items()}
    cost = {gradient: processor_time(posteriors, around[:_TIMED], gradient) for gradient in (False, True)}
    rows: list[Row] = []
    for name, posterior in posteriors.items():
        row: Row = {"scheme": name, "value_ms": cost[False][name], "gradient_ms": cost[True][name]}
        values, betas, shares, jacobians = seen_at(posterior, around)
        row["log_likelihood_rms"] = float(np.sqrt(np.mean((values - exact[0]) ** 2)))
        row["log_likelihood_sd"] = float(np.std(values - exact[0]))
        row["beta"] = float(np.abs(betas - exact[1]).max())
        row["constrained"] = float(np.abs(shares - exact[2]).max())
        row["jacobians"] = float(np.abs(jacobians - exact[3]).max() / np.abs(exact[3]).max())
        found = {
            line: jumps_along(posterior, center, line, *_span(line, center, sd, plain), points_on_a_line, keep)
            for line in LINES
        }
        found["low B_bar"] = jumps_along(posterior, center, "B_bar", *LOW, points_on_a_line, keep)
        for line, jumps in found.items():
            row[f"jump_{line}"] = max((j.size for j in jumps if not j.at_constraint), default=0.0)
            row[f"cliff_{line}"] = max((j.size for j in jumps if j.at_constraint), default=0.0)
        rows.append(row)
        print(
            {key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in row.items()},
            flush=True,
        )
        _write(rows, out)
    return rows


def _span(name: str, center: Array, sd: Array, posterior: Posterior) -> tuple[float, float]:
    k = posterior.names.index(name)
    return float(center[k] - sd[k]), float(center[k] + sd[k])


#: Heading of the table's columns and what stands in them.
COLUMNS: dict[str, Callable[[Row], str]] = {
    "scheme": lambda row: str(row["scheme"]),
    **{f"`{name}`": (lambda row, name=name: _size(row[f"jump_{name}"])) for name in LINES},  # type: ignore[misc]
    "low `B_bar`": lambda row: _size(row["jump_low B_bar"]),
    "at the constraint": lambda row: _size(max(row[key] for key in row if key.startswith("cliff_"))),
    "value, ms": lambda row: f"{row['value_ms']:.1f}",
    "with gradient, ms": lambda row: f"{row['gradient_ms']:.1f}",
    "log likelihood": lambda row: f"{row['log_likelihood_rms']:.3f} ({row['log_likelihood_sd']:.3f})",
    "β": lambda row: f"{row['beta']:.1e}",
    "constrained": lambda row: f"{row['constrained']:.1e}",
    "Jacobians": lambda row: f"{row['jacobians']:.1e}",
}


def _size(jump: float) -> str:
    return f"{jump:.3f}" if jump >= 5e-4 else "< 0.001"


def _write(rows: list[Row], out: Path) -> None:
    lines = [f"| {' | '.join(cells)} |" for cells in (COLUMNS, ["---"] * len(COLUMNS))]
    lines += [f"| {' | '.join(column(row) for column in COLUMNS.values())} |" for row in rows]
    write_text(out / "smoothness.md", "\n".join(lines) + "\n")
    with (out / "smoothness.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/smoothness"))
    parser.add_argument("--points", type=int, default=161, help="on a line")
    parser.add_argument("--keep", type=int, default=6, help="intervals of a line that are bisected")
    parser.add_argument("--reference-points", type=int, default=8, help="at which 2,000 grid points are compared with")
    options = parser.parse_args()
    make_folder(options.out)
    begun = time.perf_counter()
    measure(options.points, options.keep, options.reference_points, options.out)
    write_made(options.out, "smoothness", time.perf_counter() - begun)


if __name__ == "__main__":
    main()
