"""From the path of a process, as its equations read it, to the innovations that the canonical form reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.model.canonical import CanonicalModel, coefficient_of, correlation_factor, groups_of
from estimhank.model.declaration import Model
from estimhank.model.processes import Process
from estimhank.parameters.parameter_table import ModelError, Values, nearest

Array = NDArray[np.float64]


def forcing_of(
    model: Model, paths: Mapping[str, ArrayLike], parameters: Mapping[str, Any], horizon: int
) -> NDArray[np.float64]:
    """What the equations of a canonical form read in place of its shocks, (T, n_z), for given paths of processes.

    A process that the canonical form has kept is read as it stands. Of one that has become equations, the innovations
    are found that lead to the path::

        e_t = a_t - ar[0] a_{t-1} - ... - ma[0] e_{t-1} - ...,    a and e zero before date 0

    and of correlated ones the orthogonal innovations of which e is made.

    Parameters
    ----------
    model : Model
        In canonical form.
    paths : mapping of str to array
        By the name of the declared process, in the units in which the equations read it; dates from 0 on, at rest after
        the last one that is given. Processes that are not given are at rest.
    parameters : mapping of str to scalar
    horizon : int
        Dates T.

    Raises
    ------
    ModelError
        Names of no process, paths that are longer than the horizon or hold anything but finite numbers; an innovation
        that the model does not allow, of a standard deviation of zero.
    """
    declared = model.declared if isinstance(model, CanonicalModel) else model
    known = {process.name: process for process in declared.shocks}
    kept = [shock.name for shock in model.shocks]
    given: dict[str, Array] = {}
    for name, path in paths.items():
        if name not in known:
            raise ModelError(f"model {declared.name} has no shock '{name}'{nearest(name, known)}")
        values = np.asarray(path, float)
        if values.ndim != 1 or not 0 < len(values) <= horizon or not np.isfinite(values).all():
            raise ModelError(
                f"the path of '{name}' is one finite number a date, of at most {horizon} dates; a longer horizon takes "
                "a longer one"
            )
        given[name] = np.r_[values, np.zeros(horizon - len(values))]
    p = Values(dict(parameters))
    forcing = np.zeros((horizon, len(kept)))
    lowered = {name: process for name, process in known.items() if process not in model.shocks}
    for name, path in given.items():
        if name not in lowered:
            forcing[:, kept.index(name)] = path
    innovations = {name: _innovations(lowered[name], path, p) for name, path in given.items() if name in lowered}
    groups = groups_of(declared.shocks, declared.correlations)
    for name, path in innovations.items():
        if not any(name in group for group in groups):
            forcing[:, kept.index(name)] = path
    for group in groups:
        if not any(name in innovations for name in group):
            continue
        factor = np.asarray(correlation_factor(group, declared.correlations, p), float)
        sizes = np.array([_size(known[name], p) for name in group])
        still = np.zeros(horizon)
        together = np.stack([innovations.get(name, still) for name in group])
        with np.errstate(divide="ignore", invalid="ignore"):
            unit = np.where(together == 0, 0.0, together / sizes[:, None])
        if not np.isfinite(unit).all() or not np.isfinite(factor).all():
            raise ModelError(
                f"the processes {', '.join(group)} cannot follow this path: give them standard deviations above zero "
                "and correlations that can hold together"
            )
        orthogonal = np.linalg.solve(factor, unit)
        for name, path in zip(group, orthogonal, strict=True):
            forcing[:, kept.index(name)] = path
    return forcing


def _size(process: Process, p: Any) -> float:
    return process.scale * float(getattr(p, process.sigma) if isinstance(process.sigma, str) else process.sigma)


def _innovations(process: Process, path: Array, p: Any) -> Array:
    ar, ma = ([float(coefficient_of(c, p)) for c in given] for given in (process.ar, process.ma))
    found = np.zeros(len(path))
    for t in range(len(path)):
        past = sum(c * path[t - k] for k, c in enumerate(ar, 1) if t >= k)
        found[t] = path[t] - past - sum(c * found[t - k] for k, c in enumerate(ma, 1) if t >= k)
    return found
