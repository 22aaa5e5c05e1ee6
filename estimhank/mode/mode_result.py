"""What a mode search found, and ``mode.json``, where it is kept in plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimhank.support.errors import StorageError
from estimhank.support.files import read_json, write_json
from estimhank.support.plain import from_plain

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LocalMode:
    """A local mode: parameters (d,), their coordinates (d,), log density there, and how many starts ended there."""

    theta: Array
    x: Array
    log_density: float
    starts: int


@dataclass(frozen=True)
class Supremum:
    """Where the density rises to the edge of the feasible region: a climb ended there, at no mode.

    Attributes
    ----------
    theta, x : ndarray of shape (d,)
        The last feasible point, natural units and coordinates.
    log_density : float
        There.
    starts : int
        How many starts ended there.
    reason : str
        Why there is no density beyond (:data:`estimhank.target.protocol.REASONS`).
    parameters : tuple of str
        Those that lead across the edge alone; none where it takes several, or any.
    """

    theta: Array
    x: Array
    log_density: float
    starts: int
    reason: str
    parameters: tuple[str, ...]


#: What the reported mode is: a mode inside; a supremum on a bound of the prior's support, or at the edge of the
#: feasible region (no start ended at a mode); any point of a plateau.
KINDS: tuple[str, ...] = ("interior", "bound", "edge", "flat")


@dataclass(frozen=True)
class StartResult:
    """One start: first and last coordinates, shape (d,), log density at the end, evaluations used, how it ended."""

    start: Array
    end: Array
    log_density: float
    evaluations: int
    status: str


@dataclass(frozen=True)
class ModeResult:
    """What the mode search found. Hessians are those of *minus* the log density, so positive definite at a mode.

    Attributes
    ----------
    names : tuple of str
        Parameter names.
    theta, x : ndarray of shape (d,)
        The best mode of the density of natural parameters; its coordinates. Where no start ended at a mode it is the
        best supremum (see ``kind``).
    log_density, log_likelihood, log_prior : float
        Values at ``theta``, natural parameters.
    gradient : ndarray of shape (d,)
        Gradient of the log density at ``theta``, natural units.
    modes : tuple of LocalMode
        All local modes, best first; ends at the edge of the feasible region are none.
    kind : str
        One of :data:`KINDS`.
    bounds : tuple of str
        Parameters that the mode has at a bound of their support, towards which the density rises.
    suprema : tuple of Supremum
        Where starts ended at the edge of the feasible region, the highest first.
    starts : tuple of StartResult
        Every start, in order.
    agreeing : int
        Starts that ended within the agreement tolerance of the best.
    hessian : ndarray of shape (d, d)
        At ``theta``, natural units.
    hessian_x : ndarray of shape (d, d)
        At ``x``, of the log density of the coordinates (log Jacobian included).
    condition : float
        Condition number of ``hessian``.
    positive_definite : bool
        Whether ``hessian`` is that of a proper maximum.
    center_x : ndarray of shape (d,)
        Mode of the density of the coordinates: the centre of its normal approximation.
    covariance_x : ndarray of shape (d, d)
        Covariance of that approximation, made positive definite; for proposals.
    slice_theta, slice_log_density : ndarray of shape (d, k)
        Log density along each parameter, the others at the mode; ``-inf`` where there is none.
    infeasible_prior : dict of str to float
        Share of prior draws without a density, by reason.
    prior_draws : int
        Draws behind these shares.
    evaluations : int
        Evaluations of the whole stage.
    """

    names: tuple[str, ...]
    theta: Array
    x: Array
    log_density: float
    log_likelihood: float
    log_prior: float
    gradient: Array
    modes: tuple[LocalMode, ...]
    kind: str
    bounds: tuple[str, ...]
    suprema: tuple[Supremum, ...]
    starts: tuple[StartResult, ...]
    agreeing: int
    hessian: Array
    hessian_x: Array
    condition: float
    positive_definite: bool
    center_x: Array
    covariance_x: Array
    slice_theta: Array
    slice_log_density: Array
    infeasible_prior: dict[str, float]
    prior_draws: int
    evaluations: int

    @property
    def slice_gain(self) -> float:
        """Most log points that any slice rises above the mode; 0 at a mode of the slices."""
        return max(0.0, float(self.slice_log_density.max() - self.log_density))


def write_mode(path: Path | str, result: ModeResult) -> Path:
    """Write a result as JSON; parameters by name where they are in natural units."""

    def by_name(values: Array) -> dict[str, float]:
        return dict(zip(result.names, values.tolist(), strict=True))

    content: dict[str, Any] = {field.name: getattr(result, field.name) for field in fields(result)}
    content |= {"theta": by_name(result.theta), "gradient": by_name(result.gradient)}
    content["modes"] = [
        {"theta": by_name(mode.theta), "x": mode.x, "log_density": mode.log_density, "starts": mode.starts}
        for mode in result.modes
    ]
    content["suprema"] = [
        {
            "theta": by_name(s.theta), "x": s.x, "log_density": s.log_density, "starts": s.starts,
            "reason": s.reason, "parameters": s.parameters,
        }
        for s in result.suprema
    ]  # fmt: skip
    return write_json(path, content)


def read_mode(path: Path | str) -> ModeResult:
    """Read what :func:`write_mode` wrote.

    Raises
    ------
    StorageError
        If the file cannot be read, or is not the result of a mode search.
    """
    content = read_json(path)
    try:
        return _from_json(content)
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"cannot read {path}: it is not the result of a mode search ({error!r})") from error


def _from_json(content: Mapping[str, Any]) -> ModeResult:
    names = content["names"]

    def without_names(entry: Mapping[str, Any], *keys: str) -> dict[str, Any]:
        return {**entry, **{key: [entry[key][name] for name in names] for key in keys}}

    lists = {key: [without_names(entry, "theta") for entry in content[key]] for key in ("modes", "suprema")}
    return from_plain(ModeResult, {**without_names(content, "theta", "gradient"), **lists}, "the mode")
