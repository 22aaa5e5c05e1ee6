"""From autocovariances to a log density: the last step, which no horizon enters."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from estimhank.likelihood.incomplete import gaussian_log_likelihood
from estimhank.model.measurement_error import error_parameters, error_variances
from estimhank.posterior.routes import RouteOutcome
from estimhank.posterior.setting import Setting


class Moments(NamedTuple):
    """First and second moments of what the data hold.

    ``gamma`` (n, n_o, n_o): autocovariances; ``mean`` (n_o,): what the model says that it is, None where the data are
    less their own.
    """

    gamma: jax.Array
    mean: jax.Array | None = None


class Covariances(NamedTuple):
    """Moments of what the data hold, by a route, and what there is to say of them.

    ``again``: by another fit of the same route, to be compared with, or None; ``stationary``: nothing observed loads on
    a unit root; ``error``: in log points of a log likelihood of up to a thousand, of what cannot be compared.
    """

    moments: Moments
    again: Moments | None
    stationary: jax.Array
    error: jax.Array


class Aside(NamedTuple):
    """What only checks and gradients read of a solution: winding number, whether it solves the equations, and the
    responses of all unknowns (T, n_v, n_z), none of a state space."""

    winding: jax.Array
    sound: jax.Array
    responses: jax.Array | None


class GaussianDensity:
    """Log prior and log likelihood of autocovariances, each function compiled once for all horizons and routes."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def log_prior_of(self, theta: jax.Array) -> jax.Array:
        """Log prior density at natural parameters (d,)."""
        priors = self.setting.priors.values()
        return jnp.stack([prior.logpdf(theta[i]) for i, prior in enumerate(priors)]).sum()

    def gaussian(self, theta: jax.Array, moments: Moments, dense: bool) -> tuple[jax.Array, jax.Array]:
        """Log likelihood of moments, measurement errors added, and its error by rounding."""
        model, data, (gamma, mean) = self.setting.model, self.setting.data, moments
        values, first = np.asarray(data.values, float), data.condition_on
        if error_parameters(model):
            estimated = {name: theta[i] for i, name in enumerate(self.setting.names)}
            own = {**model.parameters.values_with({}).as_dict(), **estimated}
            gamma = gamma.at[0].add(jnp.diag(error_variances(model, own)))
        value, rounding = gaussian_log_likelihood(gamma, values, dense, mean)
        if first:  # p(later | first) = p(all) / p(first)
            before, error = gaussian_log_likelihood(gamma, values[:first], dense, mean)
            value, rounding = value - before, rounding + error
        return value, rounding

    @cached_property
    def log_prior(self) -> Any:
        """:meth:`log_prior_of`, compiled."""
        return jax.jit(self.log_prior_of)

    @cached_property
    def gauss(self) -> Any:
        """:meth:`gaussian`, compiled."""
        return jax.jit(self.gaussian, static_argnums=2)

    @cached_property
    def gauss_with_derivatives(self) -> Any:
        """The same, with derivatives of the log density with respect to theta and to the moments."""

        def density(theta: jax.Array, moments: Moments, dense: bool) -> tuple[jax.Array, Any]:
            gaussian = self.gaussian(theta, moments, dense)
            return gaussian[0] + self.log_prior(theta), gaussian

        both = jax.value_and_grad(density, (0, 1), has_aux=True)

        def with_derivatives(theta: jax.Array, moments: Moments, dense: bool) -> Any:
            (_, gaussian), derivatives = both(theta, moments, dense)
            return gaussian, derivatives

        return jax.jit(with_derivatives, static_argnums=2)

    @cached_property
    def conclude(self) -> Any:
        """:func:`outcome_of`, compiled."""
        return jax.jit(outcome_of)

    def __reduce__(self) -> Any:
        return GaussianDensity, (self.setting,)  # who receives it compiles its own


def outcome_of(
    found: Covariances, aside: Aside, gaussian: tuple[jax.Array, jax.Array], again: jax.Array | None
) -> RouteOutcome:
    """Outcome of a log likelihood and its rounding error; ``again``: that of the other fit."""
    (value, rounding), error = gaussian, found.error
    if again is not None:
        still = jax.lax.stop_gradient(value)
        error = jnp.abs(again - still) + error * jnp.maximum(1.0, jnp.abs(still) / 1e3)
    regular = jnp.isfinite(found.moments.gamma).all() & aside.sound
    value = jnp.where(regular & found.stationary, value, jnp.nan)
    return RouteOutcome(value, aside.winding, regular, found.stationary, error, rounding)
