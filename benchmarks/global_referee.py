"""How exact is the referee's s.d. of wealth? (``python -m benchmarks.global_referee``; ``docs/global.md`` shows it.)

Over aggregate paths, histograms, sizes of the policies' grids, and what a simulation gives that begins with equal
wealth and drops few quarters. Prints; half a minute of processor time a dozen of paths.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from estimhank.global_solution.conventional import ConventionalSizes, simulate_conventional, solve_conventional
from estimhank.global_solution.economy import KrusellSmithEconomy
from estimhank.global_solution.steady import deterministic_steady_state
from estimhank.support.runtime import configure

ECONOMY = KrusellSmithEconomy()
SIZES = ConventionalSizes(assets=400, capital=12, histogram=1_000)
#: Quarters dropped and averaged over, from equal wealth on.
BURN_INS = ((100, 1_000), (1_000, 1_000), (1_000, 10_000))


def main() -> None:
    """Print a line for each question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", type=int, default=60)
    paths = parser.parse_args().paths
    configure()
    found = solve_conventional(ECONOMY, SIZES, seed=0)

    def averages(sizes: ConventionalSizes, n: int, equal: float | None = None) -> np.ndarray:
        simulated = [simulate_conventional(ECONOMY, found, sizes, seed, equal) for seed in range(n)]
        return np.array([[x.capital.mean(), x.wealth_sd.mean(), x.wealth_gini.mean()] for x in simulated])

    every = averages(SIZES, paths)
    capital, sd, gini = every.mean(0)
    spread, together = every[:, 1].std(ddof=1), np.corrcoef(every[:, 0], every[:, 1])[0, 1]
    print(f"{paths} paths: capital {capital:.3f}, Gini {gini:.4f}, s.d. of wealth {sd:.3f} +- {spread:.3f}, "
          f"{every[:, 1].min():.2f} to {every[:, 1].max():.2f}; correlation with capital {together:.2f}")  # fmt: skip
    for points in (500, 1_000, 2_000, 4_000):
        print(f"{points} points, paths 0 and 1: {averages(replace(SIZES, histogram=points), 2)[:, 1].round(3)}")
    for sizes in (SIZES, replace(SIZES, assets=1_600), replace(SIZES, capital=24)):
        other = solve_conventional(ECONOMY, sizes, seed=0)
        print(f"{sizes.assets} points of assets, {sizes.capital} of capital: {other.wealth_sd.mean():.3f}")
    equal = deterministic_steady_state(ECONOMY).capital
    for burn_in, quarters in BURN_INS:
        mean = averages(replace(SIZES, burn_in=burn_in, quarters=quarters), min(paths, 20), equal)[:, 1].mean()
        print(f"from equal wealth, {burn_in} quarters dropped, {quarters} averaged over: {mean:.2f}")


if __name__ == "__main__":
    main()
