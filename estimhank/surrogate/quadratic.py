"""What a surrogate starts from, so that networks learn only what is not elliptical about a posterior.

A quadratic q(z), the log density of a normal distribution; or, where exact evaluations show heavy tails, that of a
Student t with the same ellipses. With p degrees of freedom plus dimensions::

    base(z) = constant - p/2 log(1 - 2 q(z) / p)        which tends to constant + q(z) as p grows

For a given p, y = exp(-2 v / p) of a value v is a quadratic in z, so values and gradients give its coefficients by
linear least squares; p is the best of a few. It is then made smaller: beyond what networks have seen the surrogate is
this base alone, and a surrogate with tails lighter than the posterior's sends no chain where its own are too low.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FLATTEST = 0.1  # least curvature in whitened coordinates: the quadratic must fall in every direction
_ROWS, _NUMBERS = 4_000, 20_000_000  # points that are enough for its few coefficients; most numbers of a regression
_RIDGE = 1e-13
#: Degrees of freedom that are tried; a posterior whose tails are nearer normal is left to the networks.
_FREEDOMS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0)
_DEEPEST = 60.0  # logarithm of the largest (1 + distance^2) that a Student t is fitted to
_FEW_FREEDOMS = (2.0, 5.0, 15.0)  # that show whether any are of use
_AT_ALL_BETTER = 0.9
_MUCH_BETTER = 0.5  # share of the normal's squared error that a Student t must not exceed to take its place
_HEAVIER = 0.8  # share of the degrees of freedom that is used


class Quadratic(NamedTuple):
    """q(z) = linear'z + z' matrix z / 2, with a negative definite matrix; and the power p, infinite for a normal."""

    constant: float
    linear: Array
    matrix: Array
    power: float = math.inf

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the tails, infinite for a normal."""
        return self.power - len(self.linear)

    def value(self, z: Array) -> Array:
        """Values of the base at z of shape (n, d)."""
        form: Array = z @ self.linear + 0.5 * ((z @ self.matrix) * z).sum(axis=1)
        if math.isinf(self.power):
            return self.constant + form
        value: Array = self.constant - 0.5 * self.power * np.log1p(-2 * form / self.power)
        return value

    def gradient(self, z: Array) -> Array:
        """Gradients of the base at z of shape (n, d)."""
        gradient: Array = self.linear + z @ self.matrix
        if math.isinf(self.power):
            return gradient
        form = z @ self.linear + 0.5 * ((z @ self.matrix) * z).sum(axis=1)
        return gradient / (1 - 2 * form / self.power)[:, None]


def fit_quadratic(z: Array, value: Array, gradient: Array, weight: Array) -> Quadratic:
    """Weighted least squares on values and, where finite, gradients; curvature is bounded away from zero.

    Parameters
    ----------
    z : ndarray of shape (n, d)
        Whitened coordinates.
    value : ndarray of shape (n,)
    gradient : ndarray of shape (n, d)
        nan where it is not known.
    weight : ndarray of shape (n,)

    Returns
    -------
    Quadratic
        The standard normal's -z'z/2, shifted, where there are too few points.
    """
    some = _latest(z.shape[1], _NUMBERS)
    z, value, gradient, weight = (a[some] for a in (z, value, gradient, weight))
    n, d = z.shape
    known = np.isfinite(gradient)
    i, j = np.triu_indices(d)
    k = 1 + d + len(i)
    linear, matrix = np.zeros(d), -np.eye(d)
    if n + int(known.sum()) >= 3 * k:
        rows, right = _regression(z, value, gradient, np.sqrt(weight), known, (i, j))
        solution = np.linalg.lstsq(rows, right, rcond=None)[0]
        linear = solution[1 : 1 + d]
        half = np.zeros((d, d))
        half[i, j] = solution[1 + d :]
        values, vectors = np.linalg.eigh(half + half.T)
        matrix = (vectors * np.minimum(values, -_FLATTEST)) @ vectors.T
    rest = value - Quadratic(0.0, linear, matrix).value(z)
    return Quadratic(float(np.average(rest, weights=weight)), linear, matrix)


def fit_base(z: Array, value: Array, gradient: Array, weight: Array) -> Quadratic:
    """The quadratic, or the Student t where it comes much nearer to values and gradients; arguments as above."""
    normal = fit_quadratic(z, value, gradient, weight)
    some = _latest(z.shape[1], _NUMBERS // 4)
    columns = z[some], value[some], gradient[some], weight[some]
    error = _squared_error(normal, *columns)

    def nearest(freedoms: tuple[float, ...]) -> tuple[float, float]:
        fits = [(freedom, fit_student(*columns, freedom)) for freedom in freedoms]
        return min(((_squared_error(fit, *columns), f) for f, fit in fits if fit), default=(math.inf, math.inf))

    if nearest(_FEW_FREEDOMS)[0] > _AT_ALL_BETTER * error:
        return normal
    least, freedom = nearest(_FREEDOMS)
    if least > _MUCH_BETTER * error:
        return normal
    return fit_student(z, value, gradient, weight, _HEAVIER * freedom) or normal


def _latest(d: int, numbers: int) -> slice:
    """The latest points: as many as are enough, and as a regression with so many numbers has room for."""
    columns = 1 + d + d * (d + 1) // 2
    return slice(-min(_ROWS, max(1, numbers // ((1 + d) * columns))), None)


def fit_student(z: Array, value: Array, gradient: Array, weight: Array, freedom: float) -> Quadratic | None:
    """Weighted least squares for given degrees of freedom; None where there are too few points, or no proper fit."""
    some = _latest(z.shape[1], _NUMBERS)
    z, value, gradient, weight = (a[some] for a in (z, value, gradient, weight))
    n, d = z.shape
    i, j = np.triu_indices(d)
    k, power = 1 + d + len(i), freedom + d
    top = float(value.max())
    if 2 * (top - float(value.min())) > _DEEPEST * power:
        return None  # no posterior with such tails has points so low among those that matter
    known = np.isfinite(gradient)
    if n + int(known.sum()) < 3 * k:
        return None
    form = np.exp(-2 * (value - top) / power)  # the quadratic that is looked for
    root = np.sqrt(weight) * 0.5 * power / form  # errors in log points
    gradients = -2 / power * form[:, None] * gradient
    rows, right = _regression(z, form, gradients, root, known, (i, j))
    square = rows.T @ rows  # normal equations: many rows, few columns, and nothing near singular
    square += _RIDGE * np.diag(np.diag(square))
    solution = np.linalg.solve(square, rows.T @ right)
    half = np.zeros((d, d))
    half[i, j] = solution[1 + d :]
    level = float(solution[0])
    if level <= 0:
        return None
    linear, matrix = (-0.5 * power / level * a for a in (solution[1 : 1 + d], half + half.T))
    values, vectors = np.linalg.eigh(matrix)
    values = np.minimum(values, -_FLATTEST)
    highest = -0.5 * float(((linear @ vectors) ** 2 / values).sum())  # of q
    if 2 * highest >= power:
        return None
    base = Quadratic(0.0, linear, (vectors * values) @ vectors.T, power)
    return base._replace(constant=float(np.average(value - base.value(z), weights=weight)))


def _squared_error(base: Quadratic, z: Array, value: Array, gradient: Array, weight: Array) -> float:
    known = np.isfinite(gradient)
    gradients = np.where(known, gradient - base.gradient(z), 0.0)
    total = (weight * ((value - base.value(z)) ** 2 + (gradients**2).sum(axis=1))).sum()
    return float(total / (weight * (1 + known.sum(axis=1))).sum())


def _regression(
    z: Array,
    value: Array,
    gradient: Array,
    root: Array,
    known: NDArray[np.bool_],
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> tuple[Array, Array]:
    n, d = z.shape
    i, j = pairs
    k = 1 + d + len(i)
    rows = np.concatenate([np.ones((n, 1)), z, z[:, i] * z[:, j]], axis=1) * root[:, None]
    gradients = np.zeros((n, d, k))
    gradients[:, np.arange(d), 1 + np.arange(d)] = 1.0
    columns = 1 + d + np.arange(len(i))
    gradients[:, i, columns] += z[:, j]
    gradients[:, j, columns] += z[:, i]
    gradients = (gradients * root[:, None, None])[known]
    right = np.concatenate([value * root, (gradient * root[:, None])[known]])
    return np.concatenate([rows, gradients]), right
