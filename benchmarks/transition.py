"""Nonlinear paths: how long they take, how many derivatives, how reliably, and how the linear solution's error grows.

    python -m benchmarks.transition [--out results/transition] [--robustness 200] [--two-assets]

Times are of the processor, one thread, once compiled. ``transition.csv`` holds a row for each figure.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimhank.households.one_asset import StandardIncompleteMarkets
from estimhank.model.declaration import Model
from estimhank.models.krusell_smith import KrusellSmith
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.models.two_asset_hank import TwoAssetHANK
from estimhank.posterior.posterior import Posterior
from estimhank.run.model_check import stand_in
from estimhank.run.transition import economy_of
from estimhank.support.errors import EstimhankError
from estimhank.support.files import make_folder, write_text
from estimhank.support.runtime import configure
from estimhank.transition.economy import Economy
from estimhank.transition.linearity import departures
from estimhank.transition.newton import solve_paths
from estimhank.transition.solve import TransitionPath, solve_transition
from examples.lower_bound import LowerBound

Array = NDArray[np.float64]

#: Dates T.
HORIZON = 300
#: Sizes of the shock for the order of the error: three decades.
DECADES = (1e-4, 1e-3, 1e-2, 1e-1)


def economy(model: Model, horizon: int = HORIZON) -> Economy:
    """A model at the values of its table."""
    return economy_of(Posterior(model, stand_in(model), horizon, 2 * horizon // 3))


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """A result and its processor time in seconds, compiled before."""
    call()
    begun = time.process_time()
    return call(), time.process_time() - begun


def shock_of(at: Economy, name: str, size: float) -> dict[str, Array]:
    """A declared first-order process after an innovation of so many standard deviations."""
    j = [s.name for s in at.innovations].index(name)
    return {name: size * at.sizes[j] * at.roots[j] ** np.arange(at.horizon + at.horizon // 2)}


def described(path: TransitionPath, seconds: float) -> dict[str, Any]:
    """What is recorded of a path."""
    return {
        "converged": path.converged, "reason": path.reason, "residual": path.residual, "steps": path.iterations,
        "evaluations": path.evaluations, "jvps": path.jvps, "seconds": seconds,
        "dates at the bound": max((int(at.sum()) for at in path.binds.values()), default=0),
    }  # fmt: skip


def damped(at: Economy, shocks: dict[str, Array], tolerance: float) -> tuple[int, int]:
    """Newton steps and products of the published iteration, to the same residual.

    In each step y <- y - (G'(x) y + G(x)), from zero, until the equation of the step holds to the share to which ours
    do (Boehl 2024 uses a fixed number, at most thirty); no steps by secants.
    """
    forcing = at.forcing(shocks)[: at.horizon]
    given, x = at.around(forcing, at.rest)
    steps = products = 0
    while True:
        point = at.evaluate(x, given)
        if point.residual <= tolerance or steps == 40:
            return steps, products
        y, left = np.zeros_like(x), -point.g
        while np.linalg.norm(left) > 1e-3 * np.linalg.norm(point.g):
            y = y + left
            left = -point.g - at.product(x, y, given)
            products += 1
        x, steps = x + y, steps + 1


def by_newton(at: Economy, shocks: dict[str, Array], tolerance: float) -> tuple[int, int]:
    """Newton steps and products without steps by secants: those are refused."""
    given, start = at.around(at.forcing(shocks)[: at.horizon], at.rest)
    calls = {"products": 0, "tried": 0}

    def evaluate(x: Array) -> Any:
        point, calls["tried"] = at.evaluate(x, given), calls["tried"] + 1
        # what the second evaluation is told of is the first step by secants
        return point._replace(g=np.full_like(point.g, np.inf)) if calls["tried"] == 2 else point

    outcome = solve_paths(evaluate, lambda x, v: at.product(x, v, given), start, tolerance)
    return outcome.iterations, outcome.products


def slopes(at: Economy, name: str, variable: str) -> list[float]:
    """By which power of the shock the linear response's error grows, from one of :data:`DECADES` to the next."""
    errors = []
    for size in DECADES:
        shocks = {name: size * 0.8 ** np.arange(at.horizon)}
        path = solve_transition(at, shocks, tolerance=1e-12)
        errors.append(np.abs(path.paths[variable] - at.linear_response(shocks)[variable]).max())
    return [float(v) for v in np.diff(np.log(errors)) / np.diff(np.log(DECADES))]


def robustness(at: Economy, cases: int) -> dict[str, Any]:
    """Random combinations of all shocks, each up to ten standard deviations: what came of them.

    ``wrong``: paths along which goods markets, which no equation clears, are not cleared.
    """
    rng, begun = np.random.default_rng(0), time.process_time()
    reasons: dict[str, int] = {}
    counts, wrong = [], 0
    for _ in range(cases):
        shocks: dict[str, Array] = {}
        for s, size in zip(at.innovations, rng.uniform(-10, 10, len(at.innovations)), strict=True):
            shocks |= shock_of(at, s.name, float(size))
        path = solve_transition(at, shocks)
        reasons[path.reason] = reasons.get(path.reason, 0) + 1
        if path.converged:
            p, g = path.paths, at.steady.parameters["G"] + shocks["g"][: at.horizon]
            wrong += int(np.abs(p["C"] + g - p["Y"]).max() > 1e-7)
            counts.append((path.iterations, path.evaluations, path.jvps))
    means = np.array(counts).mean(axis=0)
    names = ("steps", "evaluations", "jvps")
    return {
        **reasons, "wrong": wrong, "most jvps": int(np.array(counts)[:, 2].max()),
        **dict(zip(names, means.tolist(), strict=True)), "seconds": time.process_time() - begun,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/transition"))
    parser.add_argument("--robustness", type=int, default=200, help="random shocks")
    parser.add_argument(
        "--two-assets", action="store_true", help="the published grid too: a gigabyte, minutes to compile"
    )
    options = parser.parse_args(arguments)
    configure()
    rows: list[tuple[str, dict[str, Any]]] = []

    def tell(what: str, figures: dict[str, Any]) -> None:
        rows.append((what, figures))
        print(
            f"{what}: {', '.join(f'{k} {v:.3g}' if isinstance(v, float) else f'{k} {v}' for k, v in figures.items())}"
        )

    default = economy(OneAssetHANK())
    large = shock_of(default, "m", 5.0)
    tell("default model, monetary policy, 5 s.d.", described(*timed(lambda: solve_transition(default, large))))
    strong = {**shock_of(default, "g", -5.0), **shock_of(default, "m", 5.0)}
    for words, shocks in (("5 s.d. of policy", large), ("5 s.d. of policy and spending", strong)):
        ours, published = by_newton(default, shocks, 1e-9), damped(default, shocks, 1e-9)
        tell(f"products of Newton steps alone, {words}", {
            "ours": ours[1] / ours[0], "damped iteration": published[1] / published[0],
            "ours, in all": ours[1], "damped iteration, in all": published[1],
        })  # fmt: skip
    bounded = economy(LowerBound())
    tell("with a lower bound, spending, -5 s.d.",
         described(*timed(lambda: solve_transition(bounded, shock_of(bounded, "g", -5.0)))))  # fmt: skip
    tell("linearity, one draw, 3 sizes, 3 shocks, 2 signs",
         {"seconds": timed(lambda: departures(default, (1.0, 2.0, 5.0)))[1]})  # fmt: skip
    household = StandardIncompleteMarkets(inputs=("r", "w"), n_e=3, n_a=60, spacing="logarithmic", scheme="smooth")
    found = slopes(economy(KrusellSmith(household=household)), "z", "K")
    tell("slopes, Krusell and Smith", {f"{size:g}": slope for size, slope in zip(DECADES[1:], found, strict=True)})
    if options.robustness:
        tell(f"{options.robustness} random shocks up to 10 s.d.", robustness(default, options.robustness))
    if options.two_assets:
        two = economy(TwoAssetHANK())
        rate = {"m": -0.0025 * 0.5 ** np.arange(two.horizon)}
        tell("two assets, 25 basis points", described(*timed(lambda: solve_transition(two, rate))))
    folder = make_folder(options.out)
    lines = [f'"{what}","{key}",{value}' for what, figures in rows for key, value in figures.items()]
    write_text(folder / "transition.csv", "\n".join(["what,figure,value", *lines]) + "\n")
    print(f"see {folder / 'transition.csv'}")


if __name__ == "__main__":
    try:
        main()
    except EstimhankError as error:
        raise SystemExit(f"transition: {error}") from None
