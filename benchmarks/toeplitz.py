"""What the Toeplitz form of the household Jacobians saves: evaluations of the default model with and without it.

``python -m benchmarks.toeplitz``. Processor time of a value and of a value with its gradient, in turn, at three
horizons; one household output, as the form has only that.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np

from estimhank.posterior.posterior import Posterior
from estimhank.sequence_space import household_operator
from estimhank.support.runtime import configure

HORIZONS = (300, 600, 1200)


def posterior_at(horizon: int, toeplitz: bool) -> Posterior:
    """The default posterior at a horizon, compiled, with the Toeplitz form or without it."""
    default = Posterior.from_config("configs/us_hank.toml")
    shortest = household_operator.SHORTEST
    household_operator.SHORTEST = 0 if toeplitz else horizon + 1
    try:
        post = Posterior(default.model, default.data, horizon, 2 * horizon // 3)
        post.solver.prepare()
    finally:
        household_operator.SHORTEST = shortest
    for gradient in (False, True):
        post.evaluate(post.reference(), gradient)
    return post


def milliseconds(posts: Sequence[Posterior], gradient: bool, points: int) -> list[float]:
    """Median processor time of an evaluation of each, at the same points in turn."""
    rng, took = np.random.default_rng(0), [[0.0] * points for _ in posts]
    reference = posts[0].reference()
    for i in range(points):
        theta = reference * (1 + 1e-3 * rng.standard_normal(len(reference)))
        for post, row in zip(posts, took, strict=True):
            begun = time.process_time()
            post.evaluate(theta, gradient)
            row[i] = 1e3 * (time.process_time() - begun)
    return [float(np.median(row)) for row in took]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=20)
    points = parser.parse_args().points
    configure()
    print("| T | what | Toeplitz, ms | dense, ms | ratio |\n|---:|---|---:|---:|---:|")
    for horizon in HORIZONS:
        posts = [posterior_at(horizon, toeplitz) for toeplitz in (True, False)]
        for gradient in (False, True):
            form, dense = milliseconds(posts, gradient, points)
            what = "with gradient" if gradient else "value"
            print(f"| {horizon} | {what} | {form:.1f} | {dense:.1f} | {dense / form:.2f} |", flush=True)


if __name__ == "__main__":
    main()
