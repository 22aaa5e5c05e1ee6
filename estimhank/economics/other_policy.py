"""Two ways to a model's coefficients under another policy (see :mod:`estimhank.economics.counterfactual`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.economics.announced import AnnouncedEffects
from estimhank.economics.linear_form import LinearForm, LinearForms
from estimhank.economics.study import Study
from estimhank.parameters.parameter_table import nearest
from estimhank.support.errors import ConfigError
from estimhank.support.settings import option

Array = NDArray[np.float64]

_BLOCK = 64  # dates of a tail that one matrix product gives


@dataclass(frozen=True)
class Term:
    """One term of a rule: ``weight`` times a reported series ``lag`` quarters ago (negative: expected)."""

    series: str
    weight: float
    lag: int = option(0, least=-20, most=20)


class Coefficients(NamedTuple):
    """Of the series under another policy.

    Attributes
    ----------
    path : array of shape (length, n_x, n_z)
    shift : array of shape (n_x,)
        Of their means.
    variance : array of shape (n_x, n_z)
        By shock.
    missed : scalar
        Share of what a rule asks for that announcements do not bring about.
    """

    path: jax.Array
    shift: jax.Array
    variance: jax.Array
    missed: jax.Array


class OtherPolicy(Protocol):
    """Another policy at any draw."""

    def solve(self, theta: Array, form: LinearForm) -> Any:
        """What has to be solved, one draw after another."""
        ...

    def coefficients(self, form: LinearForm, solved: Any, length: int) -> Coefficients:
        """From what was solved; in threads."""
        ...


def long_average(form: LinearForm, dates: int) -> jax.Array:
    """As :func:`estimhank.economics.linear_form.moving_average`, for thousands of dates: by blocks of the tail."""
    known = form.given.shape[0]
    if dates <= known:
        return form.given[:dates]
    tail, blocks = form.tail, -(-(dates - known) // _BLOCK)

    def later(row: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        return jnp.einsum("zxd,zde->zxe", row, tail.transition), row

    def next_block(state: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        return jnp.einsum("zde,ze->zd", power, state), state

    rows = jax.lax.scan(later, tail.output, None, length=_BLOCK)[1]
    power = tail.transition
    for _ in range(_BLOCK.bit_length() - 1):
        power = power @ power
    states = jax.lax.scan(next_block, tail.state, None, length=blocks)[1]
    found = jnp.einsum("jzxd,bzd->bjxz", rows, states)
    found = found.reshape(blocks * _BLOCK, *found.shape[2:])[: dates - known]
    return jnp.concatenate([form.given, found])


class OtherParameters:
    """The model solved at other parameters, or another model.

    Parameters
    ----------
    study : Study
    parameters : mapping of str to float
    forms : LinearForms, optional
        Of the other model, whose parameters are the draws', by name, but for ``parameters``.

    Raises
    ------
    ConfigError
    """

    def __init__(self, study: Study, parameters: Mapping[str, float], forms: LinearForms | None = None) -> None:
        self.forms = forms or study.forms
        self.own, theirs = study.draws.posterior.names, self.forms.posterior.names
        if self.forms.shocks != study.forms.shocks:
            raise ConfigError(
                f"the other model has the shocks {', '.join(self.forms.shocks)}, not {', '.join(study.forms.shocks)}"
            )
        for name in parameters:
            if name not in theirs and forms is None:
                raise ConfigError(f"'{name}' is not an estimated parameter{nearest(name, theirs)}")
        self.changed = {name: value for name, value in parameters.items() if name in theirs}
        self.shared = [name for name in theirs if name in self.own and name not in self.changed]
        self.words = ", ".join(f"{name} = {value:g}" for name, value in parameters.items()) or "another model"
        self.at = study.lasting.positions

    def solve(self, theta: Array, form: LinearForm) -> LinearForm:
        """The linear form there."""
        known = dict(zip(self.own, theta.tolist(), strict=True))
        return self.forms.at({**{name: known[name] for name in self.shared}, **self.changed})

    @cached_property
    def _of(self) -> Any:
        def of(form: LinearForm, new: LinearForm, length: int) -> Coefficients:
            path, variance = long_average(new, length)[:, self.at], new.covariances[:, 0][:, self.at, self.at].T
            return Coefficients(path, (new.mean - form.mean)[self.at], variance, jnp.zeros(()))

        return jax.jit(of, static_argnums=2)

    def coefficients(self, form: LinearForm, solved: LinearForm, length: int) -> Coefficients:
        """Those of the other solution."""
        found: Coefficients = self._of(form, solved, length)
        return found


class AnnouncedRule:
    """A rule that announcements of a policy shock bring about (McKay and Wolf 2023).

    Parameters
    ----------
    study : Study
    rule : sequence of Term
    shock : str
    quarters : int
        For which the shock is announced; 0: all that the solution has.

    Raises
    ------
    ConfigError
    """

    def __init__(self, study: Study, rule: Sequence[Term], shock: str, quarters: int = 0) -> None:
        posterior, names = study.draws.posterior, study.lasting.about.names
        for term in rule:
            if term.series not in names:
                raise ConfigError(
                    f"the rule speaks of '{term.series}', which is not reported{nearest(term.series, names)}"
                )
        self.at, self.dates = study.lasting.positions, posterior.horizon
        self.terms = [(names.index(term.series), term.weight, term.lag) for term in rule]
        self.news = AnnouncedEffects(posterior, study.lasting, (shock,), quarters or self.dates, self.dates)
        self.tail_start = posterior.solver.setting.tail_start
        terms = " ".join(f"{t.weight:+g} {t.series}" + (f"({-t.lag:+d})" if t.lag else "") for t in rule)
        self.words = f"{terms} = 0, brought about by {shock}, announced for {quarters or 'all'} quarters"

    def solve(self, theta: Array, form: LinearForm) -> tuple[jax.Array, jax.Array]:
        """Effects of announcements (dates, n_x, announced), and the shocks' roots (n_z,)."""
        effects, roots = self.news.with_roots(theta)
        return effects[:, :, 0], roots

    def residual(self, path: jax.Array) -> jax.Array:
        """A x, of paths (dates, n_x, ...): nothing happens before date 0, nor after the last."""
        total = jnp.zeros_like(path[:, 0])
        for series, weight, lag in self.terms:
            gone = slice(0, lag) if lag >= 0 else slice(self.dates + lag, self.dates)
            total = total + weight * jnp.roll(path[:, series], lag, axis=0).at[gone].set(0.0)
        return total

    @cached_property
    def _of(self) -> Any:
        def of(form: LinearForm, effects: jax.Array, roots: jax.Array, length: int) -> Coefficients:
            path = long_average(form, length)[:, self.at]
            asked, m = self.residual(path[: self.dates]), self.residual(effects)
            q, r = jnp.linalg.qr(m)
            nu = -jax.scipy.linalg.solve_triangular(r, q.T @ asked)
            size = jnp.maximum(jnp.linalg.norm(asked, axis=0), 1e-300)
            missed = jnp.linalg.norm(asked + m @ nu, axis=0) / size
            more = jnp.einsum("txh,hz->txz", effects, nu)
            # from where the likelihood lets responses go on at the shocks' own roots
            later = jnp.arange(length - self.tail_start)
            more = jnp.concatenate([more[: self.tail_start], more[self.tail_start] * roots ** later[:, None, None]])
            return Coefficients(path + more, jnp.zeros(len(self.at)), jnp.zeros(path.shape[1:]), missed.max())

        return jax.jit(of, static_argnums=3)

    def coefficients(self, form: LinearForm, solved: tuple[jax.Array, jax.Array], length: int) -> Coefficients:
        """Responses and what policy adds to them."""
        found: Coefficients = self._of(form, *solved, length)
        return found
