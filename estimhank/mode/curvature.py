"""Second derivatives of a log density at its mode, and the covariance matrices that follow from them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from estimhank.mode.ascent import Value
from estimhank.target.transform import Transform

Array = NDArray[np.float64]

_LONGER = 100.0  # by which steps of differences are longer where short ones see no maximum


def difference_points(x: Array, scale: Array) -> Array:
    """Points x ± scale_i e_i for :func:`hessian_from_gradients`; shape (2 d, d), the plus signs first."""
    steps = np.diag(scale)
    return np.concatenate([x + steps, x - steps])


def hessian_from_gradients(here: Value, around: list[Value], scale: Array) -> Array:
    """Hessian of minus the objective by differences of its gradients, symmetrised; shape (d, d).

    Parameters
    ----------
    here : Value
        At the point itself, used where one of a pair of neighbours is infeasible.
    around : list of Value, length 2 d
        At :func:`difference_points`.
    scale : ndarray of shape (d,)
        The steps.

    Returns
    -------
    ndarray of shape (d, d)
        Rows of nan where both neighbours are infeasible.
    """
    d = len(scale)
    rows = np.full((d, d), np.nan)
    for i, (plus, minus) in enumerate(zip(around[:d], around[d:], strict=True)):
        if plus.feasible and minus.feasible:
            rows[i] = -(plus.gradient - minus.gradient) / (2 * scale[i])
        elif plus.feasible:
            rows[i] = -(plus.gradient - here.gradient) / scale[i]
        elif minus.feasible:
            rows[i] = -(here.gradient - minus.gradient) / scale[i]
    found: Array = (rows + rows.T) / 2
    return found


def hessian_in_natural(transform: Transform, x: Array, hessian: Array, gradient: Array) -> Array:
    """Hessian of minus f(theta) from that of minus f(T(x)) in x and the gradient of f(T(x)) in x; shape (d, d).

    With s = d theta / d x and, for every transform here, d log|s| / d x = l: H_x = s s' ∘ H_theta - diag(g_x l).
    """
    s = transform.natural_derivative(x)
    of_jacobian = transform.gradient_to_unconstrained(x, np.zeros_like(x))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # nan where a density runs into a bound
        return (hessian + np.diag(gradient * of_jacobian)) / np.outer(s, s)


def hessian_with_jacobian(transform: Transform, x: Array, hessian: Array) -> Array:
    """Hessian of minus (f(T(x)) + log Jacobian) from that of minus f(T(x)), both in x; shape (d, d)."""
    h = 1e-4
    zeros = np.zeros_like(x)
    change = transform.gradient_to_unconstrained(x + h, zeros) - transform.gradient_to_unconstrained(x - h, zeros)
    return hessian - np.diag(change / (2 * h))


def is_positive_definite(hessian: Array) -> bool:
    """Whether all eigenvalues are positive, judged after scaling to a unit diagonal."""
    diagonal = np.diag(hessian)
    if not np.isfinite(hessian).all() or (diagonal <= 0).any():
        return False
    scale = np.sqrt(diagonal)
    return bool(np.linalg.eigvalsh(hessian / np.outer(scale, scale))[0] > 1e-12)


def condition_number(hessian: Array) -> float:
    """Ratio of the largest to the smallest eigenvalue in absolute value; inf where there are none."""
    if not np.isfinite(hessian).all():
        return float("inf")
    eigenvalues = np.abs(np.linalg.eigvalsh(hessian))
    return float(eigenvalues.max() / eigenvalues.min()) if eigenvalues.min() > 0 else float("inf")


def covariance_from_hessian(hessian: Array, prior_sd: Array, widest: float = 2.0) -> Array:
    """Inverse of a Hessian of minus a log density, made positive definite; shape (d, d).

    Directions in which the density is flat, or curved the wrong way, get ``widest`` prior standard deviations.

    Parameters
    ----------
    hessian : ndarray of shape (d, d)
        Rows and columns of nan (no second derivative there) count as flat.
    prior_sd : ndarray of shape (d,)
        Scale of each coordinate.
    widest : float
        Most standard deviations, in units of ``prior_sd``, in any direction.
    """
    scaled = np.nan_to_num(hessian, nan=0.0, posinf=0.0, neginf=0.0) * np.outer(prior_sd, prior_sd)
    eigenvalues, vectors = np.linalg.eigh(scaled)
    half = vectors / np.sqrt(np.maximum(eigenvalues, widest**-2))
    return (half @ half.T) * np.outer(prior_sd, prior_sd)


def differentiate(evaluate: Callable[[Array], list[Value]], x: Array, here: Value, scale: Array) -> Array:
    """Hessian of minus the objective at ``x`` from a batch of 2 d gradients; shape (d, d).

    Of an objective with many small jumps, steps of ``scale`` may see a jump and nothing else. So where the Hessian is
    not positive definite another batch takes longer steps; its Hessian is returned if it is.
    """

    def by_steps(steps: Array) -> Array:
        return hessian_from_gradients(here, evaluate(difference_points(x, steps)), steps)

    hessian = by_steps(scale)
    if is_positive_definite(hessian):
        return hessian
    smoother = by_steps(_LONGER * scale)
    return smoother if is_positive_definite(smoother) else hessian
