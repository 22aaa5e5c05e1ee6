"""Derivatives of what a Gaussian sample is made of in the parameters, by differences of solutions.

Of the stacked sample y ~ N(mu, V), subscripts for derivatives, the exact Fisher information is::

    I_ij = mu_i' V^{-1} mu_j + 1/2 tr(V^{-1} V_i V^{-1} V_j)

Of a sample that is conditioned on its first dates it is less by that of these dates.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular

from estimhank.economics.linear_form import LinearForm, LinearForms, transfer
from estimhank.economics.stacked_sample import StackedSample
from estimhank.support.errors import EstimhankError

Array = NDArray[np.float64]

_STEP = 2e-3  # of a difference, in prior standard deviations: the error is of its fourth power
_SHORTER = (1.0, 0.1, 0.01)  # steps that are tried where there is no solution two steps away
_FREQUENCIES, _NEAR_ZERO = 400, 3.0  # frequencies are pi s^3 for s spread evenly: slow roots are seen near zero


@dataclass(frozen=True)
class SampleDerivatives:
    """Derivatives at a point in d parameters, each in units of its prior's standard deviation.

    Attributes
    ----------
    moments : ndarray of shape (n_m, d)
        Of means and autocovariances at all lags of the sample, in units of the observables' standard deviations.
    spectrum : ndarray of shape (n_s, d)
        Of means and of the spectrum at many frequencies, weighted so that sums of squares are integrals over them.
    information : ndarray of shape (d, d)
        Fisher's, exact for a sample of this length, with values missing where they are.
    """

    moments: Array
    spectrum: Array
    information: Array


def sample_derivatives(forms: LinearForms, theta: ArrayLike, prior_sd: Array) -> SampleDerivatives:
    """Derivatives at a point, shape (d,), natural units; ``forms`` of the observables suffice.

    Raises
    ------
    EstimhankError
        If there is no solution at the point, or none on both sides of it.
    """
    posterior, sample = forms.posterior, StackedSample(forms.posterior.data)
    point = posterior.to_array(np.asarray(theta, float))
    here = forms.at(point)
    n_o = len(forms.observed)
    sd = jnp.sqrt(jnp.diagonal(here.covariances.sum(0)[0, :n_o, :n_o]))
    s = (np.arange(_FREQUENCIES) + 0.5) / _FREQUENCIES
    # dw / 2 pi over the whole circle is 3 s^2 ds over half of it
    frequencies, weights = np.pi * s**_NEAR_ZERO, np.sqrt(_NEAR_ZERO * s ** (_NEAR_ZERO - 1) / _FREQUENCIES)

    @jax.jit
    def describe(form: LinearForm) -> tuple[jax.Array, ...]:
        gamma = form.covariances[:, : sample.dates, :n_o, :n_o].sum(0).at[0].add(jnp.diag(form.errors))
        scaled, mean = gamma / sd[:, None] / sd, form.mean[:n_o] / sd
        moments = jnp.concatenate([mean, scaled[0][np.tril_indices(n_o)], scaled[1:].ravel()])
        responses = transfer(form, frequencies)[:, :n_o] / sd[:, None]
        whole = responses @ responses.conj().transpose(0, 2, 1) + jnp.diag(form.errors / sd**2)
        density = jnp.asarray(weights)[:, None, None] * whole
        spectrum = jnp.concatenate([mean, density.real.ravel(), density.imag.ravel()])
        return moments, spectrum, -sample.deviations(form, jnp.zeros(sample.values.shape)), sample.covariance(form)

    columns = [_by_parameter(forms, describe, point, i, float(unit)) for i, unit in enumerate(prior_sd)]
    by_moment, by_frequency, mean, covariance = (np.stack(parts) for parts in zip(*columns, strict=True))
    factor = np.asarray(sample.stack(here).factor)
    known = int((sample.date < sample.first).sum())
    information = _information(factor, mean, covariance)
    if known:
        information -= _information(factor[:known, :known], mean[:, :known], covariance[:, :known, :known])
    return SampleDerivatives(by_moment.T, by_frequency.T, information)


def _by_parameter(forms: LinearForms, describe, point: Array, i: int, unit: float) -> list[Array]:  # type: ignore[no-untyped-def]
    """Derivatives of ``describe`` in parameter i, by the five-point rule in its unconstrained coordinate."""
    transform = forms.posterior.transform
    x = transform.to_unconstrained(point)
    by_x = float(transform.natural_derivative(x)[i])
    for shorter in _SHORTER:
        step = _STEP * shorter * unit / by_x
        points = [x + k * step * np.eye(len(x))[i] for k in (-2, -1, 1, 2)]
        try:
            found = [describe(forms.at(transform.to_natural(y))) for y in points]
        except EstimhankError:
            continue
        return [
            np.asarray(8 * (c - b) - (d - a)) / (12 * step * by_x) * unit for a, b, c, d in zip(*found, strict=True)
        ]
    raise EstimhankError(
        f"there is no solution on both sides of {forms.posterior.names[i]} = {point[i]:.6g}: choose a point inside the "
        "region that has one"
    )


def _information(factor: Array, mean: Array, covariance: Array) -> Array:
    """From L (N, N) and derivatives of mean (d, N) and covariance (d, N, N)."""
    by_mean = solve_triangular(factor, mean.T, lower=True)
    whitened = []
    for one in covariance:
        half = solve_triangular(factor, one, lower=True)
        whitened.append(solve_triangular(factor, half.T, lower=True).ravel())
    parts = np.stack(whitened)
    found: Array = by_mean.T @ by_mean + 0.5 * parts @ parts.T
    return found
