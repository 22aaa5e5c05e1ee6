"""The linear form of a solved model at one parameter vector: what every result is computed from.

Series x_t of any kind, the observables first, are moving averages of independent standard normal shocks over the
infinite past::

    x_t = mean + sum_{j >= 0} N[j] e_{t-j}

with coefficients of the solution up to some date, and from there on the tail that the likelihood takes there
(:mod:`estimhank.likelihood.continuation`, :mod:`estimhank.likelihood.recursive`). Autocovariances by shock are summed
by the likelihood's own formulas, one shock at a time, so that they add up to the likelihood's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from estimhank.economics.series import Series, observed_series
from estimhank.likelihood.autocovariance import autocovariances
from estimhank.likelihood.continuation import ORDER, Continuation, continued_autocovariances, fit_continuation, windows
from estimhank.likelihood.observation import combine_quarters, observe
from estimhank.likelihood.recursive import Tail, recursive_autocovariances
from estimhank.model.measurement_error import error_variances
from estimhank.posterior.computation import Computation, Solved
from estimhank.posterior.posterior import Posterior
from estimhank.posterior.routes import Route
from estimhank.sequence_space.steady_parts import SteadyParts

#: Dates beyond the sample for which covariances are at hand, for forecasts.
AHEAD = 40

#: Share of a series' largest coefficient by which the tail may miss the solution, well within the horizon, for figures
#: of the infinite horizon to be given; and which may be left after 2^22 dates of a state space.
_MISSED, _LEFT, _DOUBLINGS = 1e-4, 1e-6, 22


class ShockTail(NamedTuple):
    """Coefficients from some date on: N[L + j][:, z] = ``output``[z] ``transition``[z]^j ``state``[z].

    Shapes (n_z, n_x, d), (n_z, d, d) and (n_z, d).
    """

    output: jax.Array
    transition: jax.Array
    state: jax.Array


class LinearForm(NamedTuple):
    """A solved model, linear in its shocks.

    Attributes
    ----------
    given : array of shape (L, n_x, n_z)
        Coefficients of the first dates.
    tail : ShockTail
        Those of all later dates.
    covariances : array of shape (n_z, n + ahead, n_x, n_x)
        ``[z, k]`` is the part of Cov(x_{t+k}, x_t) that shock z has; ``nan`` for series that do not die out.
    mean : array of shape (n_x,)
        What the model says that the series are on average, beyond :attr:`Series.constant`.
    errors : array of shape (n_o,)
        Variances of the observables' measurement errors.
    sizes : array of shape (n_z,)
        Standard deviations of the shocks in the units of their parameters; one of correlated ones.
    dies_out : array of shape (n_x,), bool
        Whether responses of a series die out, as far as is known: where not, it has no variance, and only its
        responses, forecasts errors and changes can be spoken of.
    """

    given: jax.Array
    tail: ShockTail
    covariances: jax.Array
    mean: jax.Array
    errors: jax.Array
    sizes: jax.Array
    dies_out: jax.Array


def moving_average(form: LinearForm, dates: int) -> Float[jax.Array, "{dates} n_x n_z"]:
    """Coefficients N[0], N[1], ..., (dates, n_x, n_z), however far."""
    known = form.given.shape[0]
    if dates <= known:
        return form.given[:dates]

    def step(state: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        seen = jnp.einsum("zxd,zd->xz", form.tail.output, state)
        return jnp.einsum("zde,ze->zd", form.tail.transition, state), seen

    later = jax.lax.scan(step, form.tail.state, None, length=dates - known)[1]
    return jnp.concatenate([form.given, later])


def transfer(form: LinearForm, frequencies: Float[np.ndarray, " w"]) -> jax.Array:
    """N(e^{-iw}) = sum_j N[j] e^{-iwj} over the infinite horizon, (w, n_x, n_z), complex; w > 0."""
    known = form.given.shape[0]
    turn = jnp.asarray(np.exp(-1j * frequencies))
    early = jnp.einsum("wt,txz->wxz", np.exp(-1j * frequencies[:, None] * np.arange(known)), form.given)
    eye = jnp.eye(form.tail.transition.shape[1])

    def late(output: jax.Array, transition: jax.Array, state: jax.Array) -> jax.Array:
        def one(factor: jax.Array) -> jax.Array:
            found: jax.Array = output @ jnp.linalg.solve(eye - factor * transition, state + 0j)
            return found

        at_all: jax.Array = jax.vmap(one)(turn)
        return at_all

    found: jax.Array = early + (turn**known)[:, None, None] * jax.vmap(late, out_axes=2)(*form.tail)
    return found


class LinearForms:
    """Linear forms of a posterior's model at any parameters.

    Parameters
    ----------
    posterior : Posterior
    further : sequence of Series
        Beside the observables, which come first.
    ahead : int
        Dates beyond the sample for which covariances are wanted.
    """

    def __init__(self, posterior: Posterior, further: Sequence[Series] = (), ahead: int = AHEAD) -> None:
        self.posterior, self.ahead = posterior, ahead
        self.observed = observed_series(posterior)
        self.series = (*self.observed, *further)
        self._functions: dict[tuple[int, Route], Any] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the series."""
        return tuple(s.name for s in self.series)

    @cached_property
    def shocks(self) -> tuple[str, ...]:
        """Of the shocks: independent innovations, those of correlated processes in the order of their declaration."""
        return tuple(s.name for s in self.posterior.solver.setting.model.innovations)

    @property
    def lags(self) -> int:
        """Number of lags of the covariances."""
        return len(self.posterior.data.dates) + self.ahead

    @cached_property
    def dates(self) -> int:
        """Dates before the tail, the same at a longer horizon that few draws need: so that what is made of a form is
        compiled once."""
        posterior = self.posterior
        found = windows(posterior.horizon, posterior.tail_start)[0]
        return found if posterior.longer_at is None else max(found, windows(*posterior.longer_at)[0])

    def at(self, theta: Mapping[str, float] | ArrayLike) -> LinearForm:
        """The linear form at parameters.

        Raises
        ------
        EstimhankError
            If there is no density there: the reason in words.
        """
        return self.with_log_likelihood(theta)[0]

    def with_log_likelihood(self, theta: Mapping[str, float] | ArrayLike) -> tuple[LinearForm, float]:
        """The same, and the log likelihood there as the posterior gives it."""
        here, route, value = self.posterior.solved(theta)
        computation = here.solver.computation
        route = route._replace(dense_covariance=False)  # of which nothing depends on it here
        key = (computation.horizon, route)
        if key not in self._functions:
            self._functions[key] = jax.jit(
                _FormFunction(computation, self.series, len(self.observed), self.lags, route, self.dates)
            )
        responses = None if computation.recursive else here.responses
        return self._functions[key](here.point, here.parts, here.solved, responses), value


class _FormFunction:
    """The linear form of a solution by a route: a pure function, compiled once."""

    def __init__(
        self,
        computation: Computation,
        series: Sequence[Series],
        observed: int,
        lags: int,
        route: Route,
        dates: int,
    ) -> None:
        self.computation, self.series, self.observed = computation, tuple(series), observed
        self.lags, self.route, self.dates = lags, route, dates
        # an observable in other units is a filter of what the likelihood has of it, tail included: so the two agree
        names = [s.observable for s in series[:observed]]
        self.base: list[Series] = []
        self.place: list[int] = []
        for i, s in enumerate(series):
            if i >= observed and s.observable:
                self.place.append(names.index(s.observable))
            else:
                self.place.append(len(self.base))
                self.base.append(s)
        self.filters = [(1.0,) if i < observed else s.filter for i, s in enumerate(series)]
        self.back = max(len(weights) for weights in self.filters) - 1

    def __call__(self, theta: jax.Array, parts: SteadyParts, solved: Solved, responses: jax.Array | None) -> LinearForm:
        if self.computation.recursive:
            given, tail, covariances, dies_out = self._of_states(theta, parts, solved)
        else:
            assert responses is not None
            given, tail, covariances, dies_out = self._of_paths(theta, parts, responses)
        dies_out = dies_out.at[: self.observed].set(True)  # the likelihood has judged them
        both = dies_out[:, None] & dies_out[None, :]
        scale = np.array([s.scale for s in self.computation.model.innovations])
        return LinearForm(
            *self._filtered(given, tail, jnp.where(both, covariances, jnp.nan)),
            self._mean(theta, parts),
            self._errors(theta),
            self.computation.processes(theta, parts)[0] / scale,
            dies_out[np.array(self.place)],
        )

    def _filtered(
        self, given: jax.Array, tail: ShockTail, covariances: jax.Array
    ) -> tuple[jax.Array, ShockTail, jax.Array]:
        """Of the series, from those of :attr:`base`: coefficients to ``back`` dates later, the tail from there on, and
        covariances, of which there are ``back`` more lags than are wanted."""
        place, back = np.array(self.place), self.back
        weights = np.array([np.pad(w, (0, back + 1 - len(w))) for w in self.filters])
        longer = given
        for lag in range(back):  # a few dates of the tail
            state = tail.state
            for _ in range(lag):
                state = jnp.einsum("zde,ze->zd", tail.transition, state)
            longer = jnp.concatenate([longer, jnp.einsum("zxd,zd->xz", tail.output, state)[None]])
        longer = combine_quarters(longer[:, place], self.filters)
        # from that date on sum_l weights[l] output T^(back - l), of the state at the first date of the tail
        output, ahead = jnp.zeros_like(tail.output[:, place]), tail.output[:, place]
        for lag in range(back, -1, -1):
            output = output + weights[None, :, lag, None] * ahead
            ahead = jnp.einsum("zxd,zde->zxe", ahead, tail.transition)
        both_sides = jnp.concatenate([covariances[:, back:0:-1].transpose(0, 1, 3, 2), covariances], axis=1)
        both_sides = both_sides[:, :, place[:, None], place[None, :]]
        # Cov(sum_l v[l] x_{t+k-l}, sum_m w[m] x_{t-m}) = sum_{l,m} v[l] w[m] Cov(x_{t+k-l+m}, x_t)
        k = np.arange(self.lags)
        found = jnp.zeros((covariances.shape[0], self.lags, len(place), len(place)))
        for lead, v in enumerate(weights.T):
            for lag, w in enumerate(weights.T):
                if (both := v[:, None] * w[None, :]).any():
                    found = found + both * both_sides[:, back + k - lead + lag]
        return longer, ShockTail(output, tail.transition, tail.state), found

    def _observe(self, responses: jax.Array, parts: SteadyParts) -> jax.Array:
        """Coefficients of :attr:`base`, from those of the unknowns."""
        model, variables = self.computation.model, [s.variable for s in self.base]
        found = observe(responses, variables, model.unknowns, parts.values)
        return combine_quarters(found, [s.weights for s in self.base])

    def _mean(self, theta: jax.Array, parts: SteadyParts) -> jax.Array:
        """Of the series, (n_x,): that of a series made of an observable is the observable's, weighted."""
        names = self.computation.setting.data.names
        found = self.computation.mean(theta, parts)
        if found is None:
            return jnp.zeros(len(self.series))
        own = [s.weights for s in self.series[: self.observed]]
        means = []
        for s in self.series:
            if not s.observable:
                means.append(jnp.zeros(()))
                continue
            at = names.index(s.observable)
            means.append(found[at] * (sum(s.weights) / sum(own[at])))
        return jnp.stack(means)

    def _errors(self, theta: jax.Array) -> jax.Array:
        setting = self.computation.setting
        estimated = {name: theta[i] for i, name in enumerate(setting.names)}
        return error_variances(setting.model, {**setting.model.parameters.values_with({}).as_dict(), **estimated})

    def _of_paths(self, theta: jax.Array, parts: SteadyParts, responses: jax.Array) -> Any:
        """Of a truncated solution, continued by the likelihood's tail."""
        computation, setting = self.computation, self.computation.setting
        coefficients = self._observe(responses, parts)
        _, roots = computation.processes(theta, parts)
        start, _, width = windows(setting.horizon, setting.tail_start)
        if self.route.fitted:
            fit = fit_continuation(coefficients, roots, start, (start, width), fitted_to=self.observed)
            d = fit.transition.shape[1]
            first = jnp.zeros((len(roots), d)).at[:, 0].set(1.0)
            tail = ShockTail(fit.state.transpose(0, 2, 1), fit.transition.transpose(0, 2, 1), first)

            def of_shock(m: jax.Array, transition: jax.Array, state: jax.Array) -> jax.Array:
                one = Continuation(transition[None], state[None], fit.passed, fit.removed)
                return continued_autocovariances(m[:start, :, None], one, self.lags + self.back)

            covariances = jax.vmap(of_shock, in_axes=(2, 0, 0))(coefficients, fit.transition, fit.state)
        else:
            # as many states as a fitted tail has, of which one moves: what follows is then compiled once for both
            room = ((0, 0), (0, 0), (0, ORDER))
            star = jnp.pad(coefficients[start].T[:, :, None], room)
            one = jnp.zeros((len(roots), ORDER + 1)).at[:, 0].set(1.0)
            tail = ShockTail(star, jnp.zeros((len(roots), ORDER + 1, ORDER + 1)).at[:, 0, 0].set(roots), one)

            def by_shock(m: jax.Array, rho: jax.Array) -> jax.Array:
                return autocovariances(m[..., None], rho[None], self.lags + self.back, start)

            covariances = jax.vmap(by_shock, in_axes=(2, 0))(coefficients, roots)
        # where the tail is not what the solution still is: it misses a slow root of the economy's own
        later = start + width // 2
        form = LinearForm(coefficients[:start], tail, covariances, *(roots,) * 4)
        missed = jnp.abs(moving_average(form, later + 1)[later] - coefficients[later]).max(1)
        found = missed <= _MISSED * jnp.abs(coefficients).max((0, 2))
        found = found.at[: self.observed].set(True)
        # nothing is said of later dates of a series whose tail is not known
        tail = tail._replace(output=jnp.where(found[None, :, None], tail.output, jnp.nan))
        given = coefficients[:start]
        if start < self.dates:
            given = moving_average(form._replace(tail=tail), self.dates)
            state = jax.lax.fori_loop(
                start, self.dates, lambda _, s: jnp.einsum("zde,ze->zd", tail.transition, s), tail.state
            )
            tail = tail._replace(state=state)
        return given, tail, covariances, found

    def _of_states(self, theta: jax.Array, parts: SteadyParts, solved: Solved) -> Any:
        """Of a state space, over the infinite horizon."""
        space, roots, _ = self.computation.states(theta, parts, solved)
        reach = max(1, *(s.reach for s in self.base)) + 1
        step = lambda power, _: (space.transition @ power, space.output @ power)  # noqa: E731
        by_state = jax.lax.scan(step, jnp.eye(len(space.transition)), None, length=reach + 1)[1]
        by_state = self._observe(by_state, parts)
        given, output = by_state[:reach] @ space.impulse, by_state[reach]
        power = jax.lax.scan(lambda a, _: (a @ a, None), space.transition, None, length=_DOUBLINGS)[0]
        left = jnp.abs(output @ power @ space.impulse).max(1)
        size = jnp.maximum(jnp.abs(given).max((0, 2)), jnp.abs(output @ space.impulse).max(1))
        dies_out = (left <= _LEFT * size).at[: self.observed].set(True)
        # series with a unit root have no part in when a sum is complete
        seen = jnp.where(dies_out[:, None], output, 0.0)

        def of_shock(m: jax.Array, impulse: jax.Array) -> jax.Array:
            return recursive_autocovariances(
                m[..., None], Tail(seen, space.transition, impulse[:, None]), self.lags + self.back
            )[0]

        covariances = jax.vmap(of_shock, in_axes=(2, 1))(given, space.impulse)
        n_z, m = len(roots), len(space.transition)
        tail = ShockTail(
            jnp.broadcast_to(output, (n_z, *output.shape)),
            jnp.broadcast_to(space.transition, (n_z, m, m)),
            space.impulse.T,
        )
        return given, tail, covariances, dies_out
