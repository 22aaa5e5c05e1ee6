"""The evidence of a finished run, from what its folder holds: ``run.evidence()``."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from estimhank.analysis.arrays import PosteriorArrays
from estimhank.analysis.facts import PosteriorFacts, SampleFacts
from estimhank.analysis.inference_data import arrays_of
from estimhank.evaluation.engine import Engine
from estimhank.evidence.bridge import Bridge, Estimate, bridge, integrate
from estimhank.evidence.estimates import Evidence, harmonic_mean, laplace, log_share, tempered
from estimhank.mode.mode_result import read_mode
from estimhank.run.prior_solutions import prior_reasons
from estimhank.support.errors import ResultsError
from estimhank.support.files import read_arrays
from estimhank.surrogate.surrogate import Surrogate, load_surrogate
from estimhank.target.protocol import REASONS
from estimhank.target.transform import Transform

if TYPE_CHECKING:
    from estimhank.run.results import Run

Array = NDArray[np.float64]

_HERE = 100  # evaluations that this process makes as fast as workers start


def evidence_of(run: Run, prior_draws: int = 2_000, evaluations: int = 0) -> Evidence:
    """The log marginal likelihood of a run, with what is held beside it.

    Parameters
    ----------
    run : Run
    prior_draws : int
        Draws of the prior at which the model is solved, for the share of the prior that has a solution. Its standard
        error enters that of the evidence: sqrt((1 - p) / (p n)). 0 leaves the prior as it is. They are evaluated once
        for all (:mod:`estimhank.run.prior_solutions`).
    evaluations : int
        Exact evaluations for a further estimate, a bridge from the mixture to the exact density that has no use for the
        surrogate; 0 for none.

    Raises
    ------
    ResultsError
        If the folder's draws lack what the bridge needs.
    NoOverlap
    """
    target, arrays = run.posterior, arrays_of(run.draws)
    if arrays.surrogate is None or arrays.fresh is None:
        raise ResultsError(
            f"{run.folder / 'posterior.nc'} has no draws of the surrogate: run the posterior stage again"
        )
    if prior_draws < 0 or evaluations < 0:
        raise ResultsError("numbers of draws and evaluations must not be negative")
    transform, surrogate = target.transform, load_surrogate(run.folder)
    x = transform.to_unconstrained(arrays.exact.theta)
    values = arrays.exact.log_density + transform.log_jacobian(x)
    steps = _by_surrogate(transform, surrogate, arrays, x, values, run.manifest.seed)
    engines: dict[str, Engine] = {}
    with ExitStack() as stack:

        def engine(points: int) -> Engine:
            """Workers where there is much to do: they take seconds to start."""
            backend = "serial" if points <= _HERE else "loky"
            if backend not in engines:
                engines[backend] = stack.enter_context(Engine(target, backend, 0))
            return engines[backend]

        def log_density(points: Array) -> Array:
            found = engine(len(points)).evaluate(transform.to_natural(points))
            return found.log_density + transform.log_jacobian(points)

        def reasons(points: Array) -> list[str]:
            return [REASONS[code] for code in engine(len(points)).evaluate(points).reason]

        others = [_fresh_importance(steps), harmonic_mean(x, values), *_laplace(run, log_density), *_tempered(run)]
        if evaluations:
            direct = integrate(log_density, x, values, evaluations, run.manifest.seed + 1).ratio
            others.append(_named(direct, "bridge without the surrogate"))
        mass = None
        if prior_draws:
            told = prior_reasons(run, prior_draws, reasons)
            mass = log_share(told.count("ok"), len(told))
    return Evidence(tuple(step.ratio for step in steps), tuple(others), mass, tuple(_caveats(run)))


def _by_surrogate(
    transform: Transform, surrogate: Surrogate, arrays: PosteriorArrays, x: Array, values: Array, seed: int
) -> tuple[Bridge, Bridge]:
    """From a mixture to the surrogate, by cheap evaluations; from the surrogate to the exact density, by those that the
    run has made: at exact draws, and at the surrogate's draws for the certificate."""
    assert arrays.surrogate is not None and arrays.fresh is not None
    first = integrate(surrogate.log_density, transform.to_unconstrained(arrays.surrogate), seed=seed)
    fresh = transform.to_unconstrained(arrays.fresh.theta)
    exact = arrays.fresh.exact + transform.log_jacobian(fresh)
    flat = x.reshape(-1, x.shape[-1])
    second = bridge(
        (values, surrogate.log_density(flat).reshape(values.shape)),
        (exact[None], surrogate.log_density(fresh)[None]),
    )
    named = [_named(step.ratio, f"from {words}") for step, words in zip((first, second), _STEPS, strict=True)]
    return Bridge(named[0], first.importance), Bridge(named[1], second.importance)


_STEPS = ("a mixture to the surrogate", "the surrogate to the exact density")


def _named(estimate: Estimate, name: str) -> Estimate:
    return Estimate(**{**vars(estimate), "name": name})


def _fresh_importance(steps: tuple[Bridge, Bridge]) -> Estimate:
    """Importance sampling in both steps: what the proposals' own draws say."""
    parts = [step.importance for step in steps]
    worst = max(parts, key=lambda part: part.pareto_k - part.limit)
    return Estimate(
        "importance sampling",
        sum(part.value for part in parts),
        math.hypot(*(part.standard_error for part in parts)),
        min(part.effective for part in parts),
        worst.pareto_k,
        worst.limit,
    )


def _laplace(run: Run, log_density: Callable[[Array], Array]) -> list[Estimate]:
    mode = read_mode(run.folder / "mode.json")
    if mode.kind != "interior" or not mode.positive_definite:
        return []
    return [laplace(float(log_density(mode.center_x[None])[0]), mode.covariance_x)]


def _tempered(run: Run) -> list[Estimate]:
    facts = run.manifest.facts(SampleFacts)
    if facts is None or facts.log_evidence is None:
        return []
    file = read_arrays(run.folder / "sample.npz")
    return [tempered(facts.log_evidence, file["powers"], len(file["x"]))]


def _caveats(run: Run) -> list[str]:
    facts = run.manifest.facts(PosteriorFacts)
    if facts is None or facts.converged:
        return []
    return ["the exact chains have not converged, so their draws may not be those of the posterior"]
