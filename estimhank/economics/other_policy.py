"""Two ways to a model's coefficients under another policy (see :mod:`estimhank.economics.counterfactual`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.economics.announced import AnnouncedAt, AnnouncedEffects
from estimhank.economics.linear_form import LinearForm, LinearForms
from estimhank.economics.study import Study
from estimhank.parameters.parameter_table import nearest
from estimhank.posterior.computation import Computation
from estimhank.support.errors import ConfigError
from estimhank.support.settings import option

Array = NDArray[np.float64]

_BLOCK = 64  # dates of a tail that one matrix product gives

#: Iterations at most; where they stop; and the share of what a rule asks for that may be left, beyond which the system
#: is factorised.
_KRYLOV, _ROUNDING, _MET = 60, 1e-13, 1e-10


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


def _least_residual(apply: Callable[[jax.Array], jax.Array], right: jax.Array) -> jax.Array:
    """x with A x = b for several columns b (n, k) by generalised conjugate residuals: at each step the combination of
    all directions so far that leaves least (Eisenstat, Elman and Schultz 1983)."""
    n, k = right.shape
    start = (jnp.zeros((n, k)), right, jnp.zeros((_KRYLOV, n, k)), jnp.zeros((_KRYLOV, n, k)), 0)

    def goes_on(state: Any) -> jax.Array:
        _, left, _, _, step = state
        more: jax.Array = jnp.linalg.norm(left, axis=0) > _ROUNDING * jnp.linalg.norm(right, axis=0)
        goes: jax.Array = (step < _KRYLOV) & more.any()
        return goes

    def next_one(state: Any) -> Any:
        x, left, directions, images, step = state
        direction, image = left, apply(left)
        for _ in range(2):  # orthogonal to rounding
            part = jnp.einsum("ink,nk->ik", images, image)
            image = image - jnp.einsum("ink,ik->nk", images, part)
            direction = direction - jnp.einsum("ink,ik->nk", directions, part)
        length = jnp.maximum(jnp.linalg.norm(image, axis=0), 1e-300)
        direction, image = direction / length, image / length
        along = (left * image).sum(0)
        return (
            x + direction * along,
            left - image * along,
            directions.at[step].set(direction),
            images.at[step].set(image),
            step + 1,
        )

    found: jax.Array = jax.lax.while_loop(goes_on, next_one, start)[0]
    return found


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
        self.all = self.news.announced == self.dates
        self._inverse: Array | None = None
        self._functions: dict[int, tuple[Any, Any]] = {}
        terms = " ".join(f"{t.weight:+g} {t.series}" + (f"({-t.lag:+d})" if t.lag else "") for t in rule)
        self.words = f"{terms} = 0, brought about by {shock}, announced for {quarters or 'all'} quarters"

    def solve(self, theta: Array, form: LinearForm) -> AnnouncedAt:
        """The solution there."""
        at = self.news.solved(theta)
        if self._inverse is None:  # of the first draw, near which the others are
            self._inverse = np.linalg.pinv(np.asarray(self.residual(self.news.with_roots(at)[0][:, :, 0])))
        return at

    def residual(self, path: jax.Array) -> jax.Array:
        """A x, of paths (dates, n_x, ...): nothing happens before date 0, nor after the last."""
        total = jnp.zeros_like(path[:, 0])
        for series, weight, lag in self.terms:
            gone = slice(0, lag) if lag >= 0 else slice(self.dates + lag, self.dates)
            total = total + weight * jnp.roll(path[:, series], lag, axis=0).at[gone].set(0.0)
        return total

    def _compiled(self, computation: Computation) -> tuple[Any, Any]:
        """Coefficients from all effects of announcements at once, and by iteration; compiled once for a
        computation."""
        if id(computation) not in self._functions:

            def directly(form: LinearForm, effects: jax.Array, roots: jax.Array, length: int) -> Coefficients:
                asked, m = self._asked(form, length), self.residual(effects)
                q, r = jnp.linalg.qr(m)
                nu = -jax.scipy.linalg.solve_triangular(r, q.T @ asked)
                return self._found(form, asked, jnp.einsum("txh,hz->txz", effects, nu), roots, length)

            def iterated(
                form: LinearForm, theta: jax.Array, parts: Any, solved: Any, inverse: jax.Array, length: int
            ) -> Coefficients:
                effects, roots = self.news.of_paths(AnnouncedAt(computation, theta, parts, solved))
                asked = self._asked(form, length)
                size = jnp.maximum(jnp.linalg.norm(asked, axis=0), 1e-300)

                def brings(x: jax.Array) -> jax.Array:
                    return self.residual(effects(inverse @ x))

                x = _least_residual(brings, -asked / size)
                return self._found(form, asked, effects(inverse @ x) * size, roots, length)

            self._functions[id(computation)] = (
                jax.jit(directly, static_argnums=3),
                jax.jit(iterated, static_argnums=5),
            )
        found: tuple[Any, Any] = self._functions[id(computation)]
        return found

    def _asked(self, form: LinearForm, length: int) -> jax.Array:
        """What the rule has left of the model's own responses, (dates, n_z)."""
        return self.residual(long_average(form, length)[: self.dates, self.at])

    def _found(
        self, form: LinearForm, asked: jax.Array, more: jax.Array, roots: jax.Array, length: int
    ) -> Coefficients:
        """Responses and what policy adds to them, ``more`` (dates, n_x, n_z)."""
        path = long_average(form, length)[:, self.at]
        size = jnp.maximum(jnp.linalg.norm(asked, axis=0), 1e-300)
        missed = jnp.linalg.norm(asked + self.residual(more), axis=0) / size
        # from where the likelihood lets responses go on at the shocks' own roots
        later = jnp.arange(length - self.tail_start)
        more = jnp.concatenate([more[: self.tail_start], more[self.tail_start] * roots ** later[:, None, None]])
        return Coefficients(path + more, jnp.zeros(len(self.at)), jnp.zeros(path.shape[1:]), missed.max())

    def coefficients(self, form: LinearForm, solved: AnnouncedAt, length: int) -> Coefficients:
        """Responses and what policy adds to them.

        With announcements for all dates by iteration, preconditioned by the first draw's solution: each step
        takes as many right-hand sides as there are shocks, in place of as many as there are dates. Where that does not
        meet the rule to rounding, and with fewer announcements, from the effects of each of them.
        """
        at = solved
        directly, iterated = self._compiled(at.computation)
        found: Coefficients
        if self.all and self._inverse is not None and at.computation.horizon == len(self._inverse):
            found = iterated(form, at.theta, at.parts, at.solved, self._inverse, length)
            if float(found.missed) <= _MET:
                return found
        effects, roots = self.news.with_roots(at)
        found = directly(form, effects[:, :, 0], roots, length)
        return found
