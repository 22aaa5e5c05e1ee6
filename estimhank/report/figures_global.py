"""Figures of a global solution: path of capital, distribution, policies, what the moments measure."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from estimhank.global_solution.accuracy import LongPath
from estimhank.global_solution.conventional import ConventionalSolution, iterate_law
from estimhank.global_solution.economy import chain_of
from estimhank.global_solution.responses import GlobalResponse
from estimhank.global_solution.solution import GlobalSolution
from estimhank.report.style import CHAINS, EXACT, MODE, PRIOR, SURROGATE, ReportFigure, new_figure

#: Quarters of the path that are shown.
_SHOWN = 400


def capital_figure(
    path: LongPath, referee: ConventionalSolution | None, law: tuple[np.ndarray, np.ndarray]
) -> ReportFigure:
    """The last quarters of the long simulation, the fitted law, and the referee at the same aggregate states."""
    figure = new_figure(3.0)
    axes = figure.subplots(1, 2, width_ratios=[2, 1])
    n = min(_SHOWN, len(path.capital))
    axes[0].plot(np.arange(n), path.capital[-n:], color=EXACT, label="networks")
    iterated = iterate_law(np.stack(law, 1), path.z, path.capital[0])
    axes[0].plot(np.arange(n), iterated[-n:], color=PRIOR, ls=":", label="fitted log-linear law, by itself")
    if referee is not None:
        axes[0].plot(
            np.arange(n),
            referee.capital[: len(path.capital)][-n:],
            color=SURROGATE,
            ls="--",
            lw=1,
            label="Krusell-Smith",
        )
    axes[0].set(title="Capital in a long simulation", xlabel="quarter", ylabel="goods a household")
    axes[0].legend(loc="best")
    now, after = path.capital[:-1], path.capital[1:]
    for state in np.unique(path.z):
        at = path.z[:-1] == state
        axes[1].plot(now[at], after[at] - now[at], ".", ms=1.5, color=CHAINS[int(state) % len(CHAINS)], rasterized=True)
    axes[1].axhline(0, color=MODE, lw=0.6)
    axes[1].set(title="Its law of motion", xlabel="capital", ylabel="change to next quarter")
    return ReportFigure(
        "capital", figure,
        f"Capital over the last {n} quarters of the long simulation, and its change against its level, one colour for "
        f"each aggregate "
        "state: the thinner the two clouds, the better capital alone forecasts capital.",
        "Path of capital by networks and by the conventional method; change of capital against capital.",
    )  # fmt: skip


def wealth_figure(solution: GlobalSolution) -> ReportFigure:
    """Average distribution of wealth by employment, and the networks' policies."""
    figure = new_figure(3.0)
    axes = figure.subplots(1, 3)
    economy = solution.solver.economy
    grid = np.asarray(solution.grid)
    weights = chain_of(economy).stationary
    mean = np.einsum("z,zea->ea", weights, solution.histograms)
    density = mean / np.gradient(grid)
    top = grid[np.searchsorted(np.cumsum(mean.sum(0)), 0.9999)]
    shown = grid <= top
    shown[:3] = False  # those at the limit are a mass, not a density
    for e in range(economy.n_e):
        axes[0].plot(grid[shown], density[e, shown] / mean[e].sum(), color=CHAINS[e % len(CHAINS)], label=f"state {e}")
    axes[0].set(title="Wealth, by own state", xlabel="assets", ylabel="density")
    axes[0].legend()
    capital = float(solution.figures["mean_capital"])
    a = np.linspace(economy.borrowing_limit, min(top, 3 * capital), 200)
    for e in range(economy.n_e):
        for z in (0, economy.n_z - 1):
            chosen = solution.policy(a, e, z, capital)
            axes[1].plot(a, chosen - a, color=CHAINS[e % len(CHAINS)], ls="-" if z else "--")
    axes[1].axhline(0, color=MODE, lw=0.6)
    axes[1].set(title="Saving", xlabel="assets", ylabel="change of assets")
    solver = solution.solver
    frame, nets = solver.policy_frame(solution.state), solver.policy_weights(solution.state)
    functions = np.asarray(
        solver.architecture.moment_functions(
            nets, jnp.broadcast_to(jnp.asarray(a), (economy.n_e, len(a))), frame.capital
        )
    )
    for q in range(len(functions)):
        for e in range(economy.n_e):
            line = functions[q, e] - functions[q].mean()
            axes[2].plot(a, line / np.abs(line).max(), color=CHAINS[e % len(CHAINS)], ls=("-", "--", ":")[q % 3])
    axes[2].set(title="Generalised moment", xlabel="assets", ylabel="scaled to one")
    if not len(functions):
        axes[2].text(0.5, 0.5, "none: mean assets alone", ha="center", transform=axes[2].transAxes)
    return ReportFigure(
        "wealth", figure,
        "Left: average distribution of wealth within each idiosyncratic state. Middle: change of assets over a quarter "
        "at mean capital, in "
        "the first (dashed) and last aggregate state. Right: the function of a household's own state whose average is "
        "the generalised "
        "moment; where it is a straight line, the moment is mean wealth.",
        "Three panels: densities of wealth, saving functions, the learned moment's function of wealth.",
    )  # fmt: skip


def response_figure(responses: list[GlobalResponse]) -> ReportFigure:
    """Capital and consumption after news of the aggregate state: global, nonlinear and linear."""
    figure = new_figure(2.3 * len(responses) + 0.5)
    axes = figure.subplots(len(responses), 2, squeeze=False)
    for row, response in zip(axes, responses, strict=True):
        for axis, variable in zip(row, ("capital", "consumption"), strict=True):
            t = np.arange(len(response.capital))
            axis.plot(t, getattr(response, variable), color=EXACT, label="global")
            axis.plot(
                t, getattr(response.foresight, variable)[: len(t)], color=SURROGATE, ls="--", label="perfect foresight"
            )
            axis.plot(
                t, getattr(response.foresight, f"linear_{variable}")[: len(t)], color=PRIOR, ls=":", label="linear"
            )
            axis.axhline(0, color=MODE, lw=0.6)
            axis.set(
                title=f"{variable.capitalize()}, aggregate state {response.first}", xlabel="quarter", ylabel="percent"
            )
    axes[0, 0].legend()
    return ReportFigure(
        "responses", figure,
        "Generalised impulse responses of the global solution to the news that date 0 is in the aggregate state named, "
        "against no news; and "
        "the same economy's responses where productivity and employment follow their expected paths for sure.",
        "Responses of capital and consumption: global, nonlinear and linear perfect foresight.",
    )  # fmt: skip


def response_words(response: GlobalResponse) -> str:
    """What the responses of one figure differ by."""
    risk, curvature, share = response.share_of_risk()
    return (
        f"Aggregate state {response.first}: the response of capital under aggregate risk is {100 * risk:.2g} % of its "
        f"size away from nonlinear "
        f"perfect foresight, which is {100 * curvature:.2g} % away from the linear response; of the two distances "
        f"together {100 * share:.0f} % "
        "is aggregate risk."
    )
