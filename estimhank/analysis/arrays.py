"""The arrays of a finished estimation, as frozen dataclasses that check their shapes.

Shapes use: chain (number of chains), draw (draws a chain), d (parameters).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimhank.data.dataset import Dataset

Array = NDArray[np.float64]

#: Kinds of step that lead to an exact draw; the position is the code in ``ExactDraws.step_kind``.
STEP_KINDS: tuple[str, ...] = ("surrogate_subchain", "exact_random_walk", "exact_trajectory")


def _check_shape(what: str, array: NDArray[Any] | None, shape: tuple[int, ...]) -> None:
    if array is not None and np.shape(array) != shape:
        raise ValueError(f"{what} has shape {np.shape(array)}, expected {shape}")


@dataclass(frozen=True)
class ExactDraws:
    """Draws of the exact posterior.

    Attributes
    ----------
    theta : ndarray (chain, draw, d)
        Parameters, natural units.
    log_likelihood, log_prior : ndarray (chain, draw)
        Of the stored draws; the prior's density is that of the natural parameters.
    accepted : ndarray of bool (chain, draw), optional
        Whether the step that ended in this draw was accepted.
    step_kind : ndarray of int (chain, draw), optional
        Index into :data:`STEP_KINDS`.
    surrogate_log_density : ndarray (chain, draw), optional
        The surrogate's log posterior of the draw, up to one constant (natural parameters).
    outside_fence : ndarray of bool (chain, draw), optional
        Whether the draw is outside the region in which the surrogate has seen data.
    """

    theta: Array
    log_likelihood: Array
    log_prior: Array
    accepted: NDArray[np.bool_] | None = None
    step_kind: NDArray[np.integer] | None = None
    surrogate_log_density: Array | None = None
    outside_fence: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if np.ndim(self.theta) != 3:
            raise ValueError(f"draws have shape {np.shape(self.theta)}, expected (chain, draw, d)")
        shape = self.theta.shape[:2]
        for name in ("log_likelihood", "log_prior", "accepted", "step_kind", "surrogate_log_density", "outside_fence"):
            _check_shape(name, getattr(self, name), shape)

    @property
    def log_density(self) -> Array:
        """Log posterior up to the marginal likelihood, shape (chain, draw)."""
        return self.log_likelihood + self.log_prior


@dataclass(frozen=True)
class FreshDraws:
    """Draws of the surrogate's own posterior with fresh exact evaluations: what the certificate rests on.

    Attributes
    ----------
    theta : ndarray (n, d)
        Parameters, natural units.
    exact : ndarray (n,)
        Exact log posterior; ``-inf`` where the model has none.
    surrogate : ndarray (n,)
        The surrogate's, in the same coordinates as ``exact``, up to one constant.
    """

    theta: Array
    exact: Array
    surrogate: Array

    def __post_init__(self) -> None:
        _check_shape("exact log posterior of the fresh draws", self.exact, (len(self.theta),))
        _check_shape("surrogate log posterior of the fresh draws", self.surrogate, (len(self.theta),))


@dataclass(frozen=True)
class PosteriorArrays:
    """Everything that ``posterior.nc`` holds.

    Attributes
    ----------
    names : tuple of str, length d
        Parameter names, in the order of every parameter vector.
    exact : ExactDraws
        The exact posterior.
    surrogate : ndarray (chain, draw, d), optional
        Draws of the surrogate's posterior, natural units.
    prior : ndarray (n, d), optional
        Draws of the prior, natural units.
    observed : Dataset, optional
        The data, as the likelihood sees them.
    fresh : FreshDraws, optional
        The certificate's evaluations.
    """

    names: tuple[str, ...]
    exact: ExactDraws
    surrogate: Array | None = None
    prior: Array | None = None
    observed: Dataset | None = None
    fresh: FreshDraws | None = None

    def __post_init__(self) -> None:
        d = len(self.names)
        groups = {"exact draws": self.exact.theta, "surrogate draws": self.surrogate, "prior draws": self.prior}
        if self.fresh is not None:
            groups["fresh draws"] = self.fresh.theta
        for what, array in groups.items():
            if array is not None and np.shape(array)[-1] != d:
                raise ValueError(f"{what} have {np.shape(array)[-1]} parameters but there are {d} names")
        for what, array, ndim in (("surrogate draws", self.surrogate, 3), ("prior draws", self.prior, 2)):
            if array is not None and np.ndim(array) != ndim:
                raise ValueError(f"{what} have shape {np.shape(array)}, expected {ndim} dimensions")
