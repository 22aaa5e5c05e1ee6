"""The posterior mode: dispersed starts, all local modes, curvature, and slices that show whether it is one.

The mode is that of the density of the natural parameters; the search moves in unconstrained coordinates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.recorder import Recorder
from estimhank.mode.ascent import Ascent, Value, ascend, run_in_lockstep
from estimhank.mode.curvature import (
    condition_number,
    covariance_from_hessian,
    differentiate,
    hessian_in_natural,
    hessian_with_jacobian,
    is_positive_definite,
)
from estimhank.mode.extremes import at_bounds, find_suprema, is_flat, merge_suprema
from estimhank.mode.mode_result import LocalMode, ModeResult, StartResult
from estimhank.mode.objective import Objective
from estimhank.mode.profile import Profile
from estimhank.mode.starts import find_starts, prior_scale
from estimhank.support.errors import ConfigError, EstimhankError
from estimhank.support.progress_event import Progress, ProgressEvent
from estimhank.support.seeds import Stream, generator
from estimhank.target.protocol import Target

Array = NDArray[np.float64]

STAGE = "mode"
_POLISH_STEPS = 3
_DIFFERENCE = 1e-3  # step of second derivatives, in standard deviations
_HELD, _RISING = 0.05, 0.1  # of a bound: s.d. moved by one of the coordinate, and log points an s.d. inwards gains
_NOTHING_TO_GAIN = 1e-10  # log points
_SAME_PLACE = 0.1  # standard deviations
_PATIENCE = 8  # evaluations of a profile that may gain next to nothing: it has few coordinates


@dataclass(frozen=True)
class ModeConfig:
    """``[mode]``: sizes of the mode search.

    Attributes
    ----------
    starts : int
        Number of dispersed starts.
    max_rounds : int
        Most evaluations of one start.
    candidates : int
        Prior points from which the starts are chosen.
    slice_points : int
        Points of each mode-check slice (odd: the mode is one of them).
    slice_width : float
        Half-width of a slice in posterior standard deviations.
    agreement : float
        Log points within which two starts have found the same maximum.
    """

    starts: int = 8
    max_rounds: int = 400
    candidates: int = 64
    slice_points: int = 15
    slice_width: float = 3.0
    agreement: float = 0.01

    def __post_init__(self) -> None:
        for name, least in (("starts", 1), ("max_rounds", 10), ("candidates", 2), ("slice_points", 3)):
            if getattr(self, name) < least:
                raise ConfigError(f"[mode] {name} must be at least {least}, got {getattr(self, name)}")
        if self.slice_points % 2 == 0:
            raise ConfigError(f"[mode] slice_points must be odd: the mode is one of them, got {self.slice_points}")
        if not (self.slice_width > 0 and self.agreement > 0):
            raise ConfigError("[mode] slice_width and agreement must be positive")


class ModeError(EstimhankError):
    """No start of the mode search could be used."""


def find_mode(
    recorder: Recorder,
    target: Target,
    config: ModeConfig | None = None,
    seed: int = 0,
    extra_starts: Array | None = None,
    progress: Progress | None = None,
) -> ModeResult:
    """Find the mode of the density of natural parameters, and all local modes that the starts lead to.

    Parameters
    ----------
    recorder : Recorder
        Evaluations go through it as stage ``"mode"``.
    target : Target
        Where it has no gradients (``has_gradient`` false) they are taken by central differences.
    config : ModeConfig, optional
    seed : int
        Everything follows from it and from the density.
    extra_starts : ndarray of shape (k, d), optional
        Natural parameters to start from as well.
    progress : callable, optional
        Told after each round.

    Raises
    ------
    NoFeasibleStart
        If the density exists at none of many prior draws.
    """
    config = config or ModeConfig()
    rng = generator(seed, Stream.MODE)
    draws, prior_sd = prior_scale(target, rng)
    objective = Objective.of(recorder, target, STAGE, prior_sd)
    found = find_starts(objective, draws, rng, config.starts, config.candidates)
    starts = found.x
    if extra_starts is not None:
        starts = np.concatenate([starts, target.transform.to_unconstrained(np.atleast_2d(extra_starts))])
    report = _Report(objective, len(starts), progress)
    ends = _climb(objective, starts, prior_sd, config.max_rounds, found.interior, report)
    ends = _leave_bounds(objective, ends, np.std(draws, axis=0), config.max_rounds, found.interior, report)
    if all(end.status == "infeasible" for end in ends):
        raise ModeError("no start of the mode search has a finite log density with a finite gradient")
    suprema = find_suprema(objective, ends)
    inside = [end for end, supremum in zip(ends, suprema, strict=True) if supremum is None]
    inside = [end for end in inside if end.status != "infeasible"]
    edges = merge_suprema([supremum for supremum in suprema if supremum is not None], prior_sd)
    x, here, hessian = _polish(objective, max(inside or ends, key=lambda end: end.value))
    elsewhere: Sequence[Array] = () if is_positive_definite(hessian) else list(starts)
    center, covariance = _approximate(objective, x, hessian, elsewhere)
    hessian_theta = hessian_in_natural(target.transform, x, hessian, here.gradient)
    theta = target.transform.to_natural(x)
    grid = _slice_grid(target, theta, hessian_theta, prior_sd * np.abs(target.transform.natural_derivative(x)), config)
    at_mode, slices = _evaluate_slices(objective, theta, grid)
    gradient = _divide(here.gradient, target.transform.natural_derivative(x))
    bounds = at_bounds(target.transform, theta, gradient, np.std(draws, axis=0), target.names)
    kind = _kind(bool(inside), bounds, is_flat(hessian, prior_sd) and not is_positive_definite(hessian))
    return ModeResult(
        names=target.names,
        theta=theta,
        x=x,
        log_density=sum(at_mode),
        log_likelihood=at_mode[0],
        log_prior=at_mode[1],
        gradient=gradient,
        modes=_group(target, inside, (x, here.value), hessian, prior_sd, config.agreement, kind == "flat"),
        kind=kind,
        bounds=bounds,
        suprema=edges,
        starts=tuple(
            StartResult(start, end.x, end.value, end.evaluations, end.status)
            for start, end in zip(starts, ends, strict=True)
        ),
        agreeing=sum(end.value > here.value - config.agreement for end in (inside or ends)),
        hessian=hessian_theta,
        hessian_x=hessian_with_jacobian(target.transform, x, hessian),
        condition=condition_number(hessian_theta),
        positive_definite=is_positive_definite(hessian_theta),
        center_x=center,
        covariance_x=covariance,
        slice_theta=grid,
        slice_log_density=slices,
        infeasible_prior=found.infeasible,
        prior_draws=found.prior_draws,
        evaluations=recorder.total(STAGE),
    )


def _kind(inside: bool, bounds: tuple[str, ...], flat: bool) -> str:
    if not inside:
        return "edge"
    return "bound" if bounds else "flat" if flat else "interior"


def _divide(gradient: Array, by: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # at a bound that a density runs into
        return gradient / by


def _climb(
    objective: Objective, starts: Array, prior_sd: Array, most: int, interior: Array, report: _Report
) -> list[Ascent]:
    """Climb from each start; where there are steady-state parameters, in these, the others following."""
    own = np.isin(objective.target.names, objective.target.steady_state_parameters)
    if not own.any() or own.all():
        climbs = [ascend(x, np.diag(prior_sd**2), most, interior=interior) for x in starts]
        return run_in_lockstep(climbs, report.watch(objective.natural))
    profile = Profile(objective, own, most, {})
    for x in starts:
        profile.keep(x, np.diag(prior_sd[~own] ** 2))
    climbs = [
        ascend(x[own], np.diag(prior_sd[own] ** 2), most, interior=interior[own], patience=_PATIENCE) for x in starts
    ]
    return [profile.complete(end, prior_sd) for end in run_in_lockstep(climbs, report.watch(profile.evaluate))]


def _leave_bounds(
    objective: Objective, ends: list[Ascent], sd: Array, most: int, interior: Array, report: _Report
) -> list[Ascent]:
    """Climb again, from farther inside, where a climb ended at a bound from which the density rises inwards.

    Next to a bound a coordinate hardly moves its parameter, so that the gradient of the coordinates vanishes there
    although that of the parameters, whose standard deviations a priori are ``sd``, shape (d,), does not.
    """
    transform = objective.target.transform
    again: dict[int, Array] = {}
    for i, end in enumerate(ends):
        if end.status == "infeasible" or not np.isfinite(end.gradient).all():
            continue
        by, theta = transform.natural_derivative(end.x), transform.to_natural(end.x)
        gradient = _divide(end.gradient, by)
        below, above = theta - np.asarray(transform.lower), np.asarray(transform.upper) - theta
        held = np.abs(by) * objective.scale < _HELD * sd
        if objective.target.has_gradient:
            names = at_bounds(transform, theta, gradient, sd, objective.target.names)
            held &= (np.abs(gradient) * sd > _RISING) & np.isfinite(gradient) & ~np.isin(objective.target.names, names)
            upwards = gradient > 0
        else:  # differences of coordinates that move no parameter say nothing, but there is one way only
            upwards = below < above
        if held.any():
            room = np.where(upwards, above, below)
            inside = theta + np.where(upwards, 1, -1) * np.minimum(sd / 4, room / 2)
            again[i] = transform.to_unconstrained(np.where(held, inside, theta)[None])[0]
    if not again:
        return ends
    others = _climb(objective, np.stack(list(again.values())), objective.scale, most, interior, report)
    better = list(ends)
    for i, other in zip(again, others, strict=True):
        if other.value > ends[i].value:
            better[i] = dataclasses.replace(other, evaluations=ends[i].evaluations + other.evaluations)
    return better


@dataclass
class _Report:
    """Tells how far the search is."""

    objective: Objective
    total: int
    progress: Progress | None
    best: float = -np.inf

    def watch(self, evaluate: Callable[[Array], list[Value]]) -> Callable[[Array], list[Value]]:
        """``evaluate`` for rounds, which have one point of each start that still climbs."""

        def watched(points: Array) -> list[Value]:
            values = evaluate(points)
            self.best = max(self.best, *(value.value for value in values))
            if self.progress is not None:
                used, done = self.objective.recorder.total(STAGE), self.total - len(points)
                self.progress(ProgressEvent(STAGE, done, self.total, used, f"best log posterior {self.best:.3f}"))
            return values

        return watched


def _polish(objective: Objective, best: Ascent) -> tuple[Array, Value, Array]:
    """Newton steps from the best end; return the point, its value, and the Hessian of minus the objective there."""
    x, here = best.x, Value(best.value, best.gradient)
    scale = _DIFFERENCE * np.clip(np.sqrt(np.diag(best.metric)), _DIFFERENCE * objective.scale, objective.scale)
    hessian = differentiate(objective.natural, x, here, scale)
    moved = 0.0
    for _ in range(_POLISH_STEPS):
        if not is_positive_definite(hessian):
            break
        step = np.linalg.solve(hessian, here.gradient)
        if step @ here.gradient < _NOTHING_TO_GAIN:
            break
        (there,) = objective.natural((x + step)[None])
        if not there.feasible or there.value < here.value:
            break
        moved += float(np.sqrt(step @ hessian @ step))
        x, here = x + step, there
    if moved > _DIFFERENCE:
        hessian = differentiate(objective.natural, x, here, scale)
    return x, here, hessian


def _approximate(
    objective: Objective, x: Array, hessian: Array, elsewhere: Sequence[Array] = ()
) -> tuple[Array, Array]:
    """Mode of the density of the coordinates, and the covariance of the normal approximation there.

    A density of the natural parameters may have no mode but a bound at which it has no limit (a gamma prior with more
    spread than mean, say); the coordinates then have one elsewhere, which is looked for from other points too.
    """
    transform, prior_sd = objective.target.transform, objective.scale
    metric = covariance_from_hessian(hessian_with_jacobian(transform, x, hessian), prior_sd)
    searches = [ascend(x, metric), *(ascend(other, np.diag(prior_sd**2)) for other in elsewhere)]
    ends = run_in_lockstep(searches, objective.unconstrained)
    end = max(ends, key=lambda end: end.value)
    if end is not ends[0]:
        metric = end.metric
    scale = _DIFFERENCE * np.sqrt(np.diag(metric))
    around = differentiate(objective.unconstrained, end.x, Value(end.value, end.gradient), scale)
    return end.x, covariance_from_hessian(around, prior_sd)


def _group(
    target: Target,
    ends: list[Ascent],
    best: tuple[Array, float],
    hessian: Array,
    prior_sd: Array,
    agreement: float,
    flat: bool,
) -> tuple[LocalMode, ...]:
    """Sort the ends of the converged starts into modes: same density and same place, up to a tenth of an s.d.

    Of a plateau (``flat``) all places are one.
    """
    root = np.linalg.cholesky(hessian).T if is_positive_definite(hessian) else np.diag(1 / prior_sd)
    found: list[tuple[Array, float, int]] = [(*best, 0)]
    for end in sorted(ends, key=lambda end: -end.value):
        for i, (x, value, starts) in enumerate(found):
            near = flat or np.linalg.norm(root @ (end.x - x)) < _SAME_PLACE
            if abs(value - end.value) < agreement and near:
                found[i] = x, value, starts + 1
                break
        else:
            if end.status == "converged":
                found.append((end.x, end.value, 1))
    found.sort(key=lambda mode: -mode[1])
    return tuple(LocalMode(target.transform.to_natural(x), x, value, starts) for x, value, starts in found)


def _slice_grid(target: Target, theta: Array, hessian: Array, fallback_sd: Array, config: ModeConfig) -> Array:
    """Values of each parameter around the mode, inside its support; shape (d, k)."""
    sd = np.sqrt(np.diag(np.linalg.inv(hessian))) if is_positive_definite(hessian) else fallback_sd
    offsets = np.linspace(-config.slice_width, config.slice_width, config.slice_points)
    grid = theta[:, None] + sd[:, None] * offsets
    lower, upper = np.array(target.transform.lower)[:, None], np.array(target.transform.upper)[:, None]
    room = 0.01 * np.minimum(theta[:, None] - lower, upper - theta[:, None])
    room = np.where(np.isfinite(room), room, 0.0)
    return np.clip(grid, lower + room, upper - room)


def _evaluate_slices(objective: Objective, theta: Array, grid: Array) -> tuple[tuple[float, float], Array]:
    """Log likelihood and log prior at the mode, and log densities along the slices; one batch."""
    d, k = grid.shape
    points = np.tile(theta, (d, k, 1))
    points[np.arange(d), :, np.arange(d)] = grid
    batch = objective.batch(np.concatenate([theta[None], points.reshape(-1, d)]))
    return (float(batch.log_likelihood[0]), float(batch.log_prior[0])), batch.log_density[1:].reshape(d, k)
