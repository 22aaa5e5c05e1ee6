"""What ``estimhank global`` judges a solution by: all figures of ``global.json``, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from estimhank.global_solution.accuracy import (
    Law,
    LongPath,
    bellman_errors,
    den_haan_errors,
    euler_errors,
    simulate_long,
)
from estimhank.global_solution.conventional import (
    ConventionalSizes,
    ConventionalSolution,
    simulate_conventional,
    solve_conventional,
)
from estimhank.global_solution.distribution import Distribution
from estimhank.global_solution.economy import GlobalEconomy
from estimhank.global_solution.histogram import wealth_moments
from estimhank.global_solution.planner import planner_at_rest
from estimhank.global_solution.settings import AccuracyConfig, GlobalConfig
from estimhank.global_solution.steady import SteadyState, deterministic_steady_state
from estimhank.global_solution.training import Solver, State
from estimhank.global_solution.verdict import GlobalVerdict, verdict_of
from estimhank.support.progress_event import Progress, ProgressEvent

#: The topmost share of the grid, where no households may be.
_TOP = 0.99
#: Of the referee's policies; twice as many change the s.d. of wealth by less than a thousandth.
_REFEREE_POLICY = {"assets": 400, "capital": 12}
#: Points of a histogram whose lottery adds a ten-thousandth to the s.d. of wealth; with 1,000 it is four thousandths.
_FINEST = 4_000


#: What a planner's solution is held against.
_CLASSICAL = "the planner's without aggregate risk"


@dataclass(frozen=True)
class Judged:
    """What the report shows of the judgement: the first long path with its grid, and the referee where there was
    one.
    """

    path: LongPath
    grid: Any
    referee: ConventionalSolution | None


@lru_cache(maxsize=2)
def _referee(economy: GlobalEconomy, sizes: ConventionalSizes) -> ConventionalSolution:
    """Solved once a process: it is the same for every seed and network."""
    return solve_conventional(economy, sizes, seed=0)


def judge(
    config: GlobalConfig, solver: Solver, state: State, progress: Progress | None = None
) -> tuple[dict[str, Any], GlobalVerdict, Judged]:
    """All figures of a solution as ``global.json`` has them, the verdict, and what they were taken from.

    Errors and laws are those of the first path; capital and wealth are averages over all of them.
    """
    a, problem = config.accuracy, solver.problem
    progress = progress or (lambda event: None)
    of_policy = (solver.policy_frame(state), solver.policy_weights(state))
    of_value = (solver.value_frame(state), solver.value_weights(state))
    words = (
        "long simulations",
        "Euler equations",
        "Bellman equation",
        "den Haan's simulation",
        "conventional solution",
    )

    def tell(i: int) -> None:
        progress(ProgressEvent("accuracy", i, len(words), 0, words[i]))

    tell(0)
    paths = []
    for seed in range(a.paths):
        along, fine = simulate_long(problem, *of_policy, a.quarters, a.burn_in, a.histogram, seed, solver.rest)
        paths.append(along)
    path, distribution = paths[0], Distribution.of(paths)
    tell(1)
    euler = euler_errors(problem, *of_policy, path, fine, a.states)
    tell(2)
    bellman = bellman_errors(problem, of_policy, of_value, path, fine, max(a.states // 5, 2))
    tell(3)
    den_haan = den_haan_errors(problem, *of_policy, path, fine, solver.grid)
    law = Law.of(path, solver.economy.n_z)
    top = np.asarray(fine) > fine[0] + _TOP * (fine[-1] - fine[0])
    figures: dict[str, Any] = {
        # a planner's household does not choose what is best for itself
        "bellman_error": bellman.policy if solver.planner else bellman.published,
        "euler_mean": euler.mean,
        "euler_max": euler.largest,
        "den_haan_mean": den_haan.mean,
        "den_haan_max": den_haan.largest,
        **distribution.figures(),
        "law_bad": [float(law.intercept[0]), float(law.gradient[0])],
        "law_good": [float(law.intercept[-1]), float(law.gradient[-1])],
        "law_r_squared": [float(x) for x in law.r_squared],
        "law_den_haan_mean": law.mean_error,
        "law_den_haan_max": law.largest_error,
        "euler_mean_of_points": euler.mean_of_points,
        "bellman_error_of_policy": bellman.policy,
        "bellman_error_of_best": bellman.best,
        "quarters": len(path.capital),
        "paths": len(paths),
        "top_share": max(float(p.mean_histograms.mean(0).sum(0)[top].sum()) for p in paths),
        "steady_capital": solver.rest.capital,
        "units": UNITS,
    }
    unjudged: list[str] = []
    notes: list[str] = []
    referee, found, of = None, None, "the referee's"
    if solver.planner:
        market = deterministic_steady_state(solver.economy).capital
        rest, reason = planner_at_rest(solver.economy)
        if rest is None:
            unjudged.append(f"Without aggregate risk there is no solution to compare with: {reason}.")
        else:
            figures["classical"], referee, of = {**_classical(rest), "market_capital": market}, _once(rest), _CLASSICAL
            distribution = distribution.averaged()
            notes.append(
                f"Without aggregate risk the planner holds a capital stock of {rest.capital:.4g}, the market "
                f"{market:.4g}."
            )
    elif not a.referee:
        unjudged.append("The distribution was not held against a conventional solution ([accuracy] referee = false).")
    else:
        tell(4)
        figures["referee"], referee, found = _held_against(solver.economy, a, path)
    return figures, verdict_of(figures, referee, distribution, unjudged, notes, of), Judged(path, fine, found)


def _classical(rest: SteadyState) -> dict[str, float]:
    """The planner's figures without aggregate risk."""
    wealth = wealth_moments(rest.histogram, rest.grid)
    return {"mean_capital": rest.capital, "wealth_sd": wealth.sd, "wealth_gini": wealth.gini}


def _once(rest: SteadyState) -> Distribution:
    """The same as a path on which nothing moves."""
    figures = _classical(rest)
    sizes = (figures["mean_capital"], 0.0, figures["wealth_sd"], figures["wealth_gini"])
    return Distribution(*(np.array([x]) for x in sizes))


def _held_against(
    economy: GlobalEconomy, a: AccuracyConfig, path: LongPath
) -> tuple[dict[str, Any], Distribution, ConventionalSolution]:
    """The referee's figures along the same paths, on the same histogram and on the finest."""

    def sizes(histogram: int) -> ConventionalSizes:
        return ConventionalSizes(**_REFEREE_POLICY, histogram=histogram, quarters=a.quarters, burn_in=a.burn_in)

    found = _referee(economy, sizes(a.histogram))

    def along(points: int) -> Distribution:
        return Distribution.of([simulate_conventional(economy, found, sizes(points), seed) for seed in range(a.paths)])

    distribution = along(a.histogram)
    n = min(len(path.capital), len(found.capital))
    gap = 100 * np.abs(path.capital[:n] / found.capital[:n] - 1)
    return (
        {
            **distribution.figures(),
            f"on_{_FINEST}_points": along(_FINEST).means,
            "den_haan_mean": float(found.den_haan.mean()),
            "den_haan_max": float(found.den_haan.max()),
            "capital_gap_mean": float(gap.mean()),
            "capital_gap_max": float(gap.max()),
            "law_bad": [float(found.intercept[0]), float(found.gradient[0])],
            "law_good": [float(found.intercept[-1]), float(found.gradient[-1])],
        },
        distribution,
        found,
    )


#: What the figures of ``global.json`` are measured in.
UNITS = {
    "bellman_error": "utility: mean |V - max over 11 consumption levels of u + beta E V'|",
    "euler_mean": "log10 of the mean error relative to consumption, over households",
    "euler_max": "log10 of the largest such error on the ergodic set",
    "den_haan_mean": "percent of capital", "den_haan_max": "percent of capital",
    "mean_capital": "goods a household, averaged over paths", "sd_capital": "the same, over time",
    "wealth_sd": "goods, across households, averaged over time and paths",
    "wealth_sd_spread": "its s.d. over paths", "wealth_gini": "0 to 1, averaged over time and paths",
    "law_bad": "[intercept, slope] of log K' = intercept + slope log K in the first aggregate state", "law_good": "the "
    "same in the last",
    "seconds": "elapsed, of all sessions of the run",
    "processor_seconds": "of processor time, of all sessions of the run",
}  # fmt: skip
