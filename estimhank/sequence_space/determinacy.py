"""Existence and uniqueness of the stable solution by a winding number.

Source: Onatski (2006), "Winding number criterion for existence and uniqueness of equilibrium in linear rational
expectations models", and Auclert, Bardóczy, Rognlie and Straub (2021), section 5.3. The symbol of the declared
system replaces a lag by z and a lead by 1/z; its determinant winds around zero, as z goes around a circle, as often as
there are stable roots in excess: 0 determinate, negative indeterminate, positive no stable solution (1 - a lead with
a > 1 gives -1, 1 - rho lag with rho > 1 gives +1).

A price level or a level of productivity has a root of one. It is legitimate where only its changes are observed, so it
counts as stable: z goes around a circle just inside the unit circle, |z| = 1 - :data:`OFF_CIRCLE`, and the determinant
is nowhere zero because of it. That nothing observed loads on such a root is tested apart, with the autocovariances.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from estimhank.sequence_space.linear_system import LinearSystem
from estimhank.sequence_space.structure import Structure

#: Distance of the circle that is followed from the unit circle: roots up to one over one minus this count as stable.
OFF_CIRCLE = 1e-5

#: Largest change of phase, and of the logarithm of the modulus, between neighbouring frequencies that is trusted.
#: Between others, and their neighbours, further frequencies are put. The modulus shows what the phase alone would hide:
#: two roots at one place turn it all the way round, which looks like no turn at all.
PHASE_LIMIT, MODULUS_LIMIT = 1.2, 1.6

#: What :func:`coarse_winding_number` returns where finer frequencies have to decide.
DOUBTFUL = 1_000_000

_INTERVALS, _HALVINGS = 128, 40  # intervals that are halved together, and how often


class HouseholdSymbol(NamedTuple):
    """Fourier transform of the far diagonals of the household Jacobians.

    ``coarse`` (n_w, n_o, n_i), complex: at the frequencies :data:`COARSE`. ``lags`` (n_o, n_i, T) and ``leads``
    (n_o, n_i, T-1): the diagonals, for more frequencies where they are needed.
    """

    coarse: jax.Array
    lags: jax.Array
    leads: jax.Array


def frequencies() -> NDArray[np.float64]:
    """Frequencies from 0 to pi, dense near zero, where slow roots (debt, for instance) cross the unit circle."""
    near = np.geomspace(1e-6, 0.06, 30)
    return np.concatenate([[0.0], near, np.linspace(0.06, np.pi, 60)[1:]])


COARSE = frequencies()


def household_symbol(by_date: Float[jax.Array, "T n_i n_o T"]) -> HouseholdSymbol:
    """Symbols of household Jacobians, laid out as (T, n_i, n_o, T), ``[s, i, o, t]``.

    The longest diagonals that the horizon holds are the last date of the output and the last date of the input.
    """
    lags = by_date[::-1, :, :, -1].transpose(2, 1, 0)
    leads = by_date[-1, :, :, -2::-1].transpose(1, 0, 2)
    # on the circle that is followed z^k is exp(i w k) times a power of its radius: a part of the diagonals from here on
    radius = (1 - OFF_CIRCLE) ** np.arange(lags.shape[2])
    lags, leads = lags * radius, leads / radius[1:]
    ahead = np.arange(lags.shape[2])
    coarse = _transform(lags, leads, np.exp(1j * np.outer(COARSE, ahead)))
    return HouseholdSymbol(coarse, lags, leads)


def _transform(lags: jax.Array, leads: jax.Array, waves: Any) -> jax.Array:
    """Symbols at some frequencies; ``waves`` (n_w, T) are exp(i w k) for k = 0, ..., T-1."""
    return jnp.einsum("wk,oik->woi", waves, lags) + jnp.einsum("wk,oik->woi", jnp.conj(waves[:, 1:]), leads)


class _Determinant(NamedTuple):
    """The symbol's determinant at some frequencies: a number of modulus one, and the logarithm of its own modulus."""

    phase: jax.Array
    modulus: jax.Array


def _determinants(structure: Structure, system: LinearSystem, household: jax.Array, grid: jax.Array) -> _Determinant:
    z = ((1 - OFF_CIRCLE) * jnp.exp(1j * grid))[:, None, None]
    aggregate = system.lag * z + system.now + system.lead / z
    n_o, n_v = len(structure.whole_outputs), system.now.shape[1]
    rows = jnp.zeros((len(grid), n_o, n_v), complex)
    if n_o:
        rows = rows.at[:, :, jnp.array(structure.whole_inputs, int)].set(-household)
        rows = rows.at[:, jnp.arange(n_o), jnp.array(structure.whole_outputs, int)].add(1.0)
    return _Determinant(*jnp.linalg.slogdet(jnp.concatenate([aggregate, rows], axis=1)))


def _steps(low: _Determinant, high: _Determinant) -> tuple[jax.Array, jax.Array]:
    """Changes of phase, and which of them are not to be trusted."""
    turn = jnp.angle(high.phase * jnp.conj(low.phase))
    return turn, ~((jnp.abs(turn) < PHASE_LIMIT) & (jnp.abs(high.modulus - low.modulus) < MODULUS_LIMIT))


def _coarse_steps(
    structure: Structure, system: LinearSystem, symbol: HouseholdSymbol
) -> tuple[_Determinant, jax.Array, jax.Array]:
    found = _determinants(structure, system, symbol.coarse, jnp.asarray(COARSE))
    turn, odd = _steps(_Determinant(*(x[:-1] for x in found)), _Determinant(*(x[1:] for x in found)))
    return found, turn, odd | jnp.append(odd[1:], False) | jnp.append(False, odd[:-1])


class _Refinement(NamedTuple):
    """Intervals between frequencies that have yet to be halved, and the sum of the changes of phase between others."""

    low: jax.Array
    high: jax.Array
    at_low: _Determinant
    at_high: _Determinant
    open: jax.Array
    total: jax.Array
    halvings: jax.Array


def winding_number(structure: Structure, system: LinearSystem, symbol: HouseholdSymbol) -> jax.Array:
    """Winding number of the determinant of the symbol, an integer; :data:`DOUBTFUL` where it cannot be told.

    The determinant at -w is the conjugate of that at w, so half the circle suffices. Where the determinant changes
    much between two frequencies (a root close to the circle) the interval between them is halved until it does not.
    """
    found, turn, odd = _coarse_steps(structure, system, symbol)
    dates = jnp.arange(symbol.lags.shape[2])

    def at(grid: jax.Array) -> _Determinant:
        household = _transform(symbol.lags, symbol.leads, jnp.exp(1j * jnp.outer(grid, dates)))
        return _determinants(structure, system, household, grid)

    def halve(s: _Refinement) -> _Refinement:
        middle = (s.low + s.high) / 2
        here = at(middle)
        low, high = jnp.concatenate([s.low, middle]), jnp.concatenate([middle, s.high])
        at_low, at_high = (
            _Determinant(*(jnp.concatenate([a, b]) for a, b in zip(one, other, strict=True)))
            for one, other in ((s.at_low, here), (here, s.at_high))
        )
        turn, odd = _steps(at_low, at_high)
        both = jnp.concatenate([s.open, s.open])
        # a root in the middle of an interval shows in the two beside it: none is closed before both are fine
        wide = odd[: len(middle)] | odd[len(middle) :]
        odd = both & jnp.concatenate([wide, wide])
        total = s.total + jnp.where(both & ~odd, turn, 0.0).sum()
        first = jnp.argsort(~odd)[:_INTERVALS]
        total = jnp.where(odd.sum() > _INTERVALS, jnp.nan, total)
        low, high, at_low, at_high = jax.tree.map(lambda x: x[first], (low, high, at_low, at_high))
        return _Refinement(low, high, at_low, at_high, odd[first], total, s.halvings + 1)

    def refine(_: None) -> jax.Array:
        pad = (0, _INTERVALS - len(odd))
        grid = jnp.asarray(COARSE)
        low, high = _Determinant(*(x[:-1] for x in found)), _Determinant(*(x[1:] for x in found))
        ends = (grid[:-1], grid[1:], low, high)
        left, right, low, high = jax.tree.map(lambda x: jnp.pad(x, pad), ends)
        total = jnp.where(odd, 0.0, turn).sum()
        start = _Refinement(left, right, low, high, jnp.pad(odd, pad), total, jnp.asarray(0))
        end = jax.lax.while_loop(lambda s: s.open.any() & (s.halvings < _HALVINGS), halve, start)
        return jnp.where(end.open.any(), jnp.nan, end.total)

    total = jax.lax.cond(odd.any(), refine, lambda _: turn.sum(), None)
    return _as_integer(total)


def _as_integer(total: jax.Array) -> jax.Array:
    """Half turns; the determinant is real at both ends, so that anything but whole ones is an error."""
    turns = total / jnp.pi
    near = jnp.round(turns)
    return jnp.where(jnp.abs(turns - near) < 0.1, near, DOUBTFUL).astype(int)


def coarse_winding_number(structure: Structure, system: LinearSystem, symbol: HouseholdSymbol) -> jax.Array:
    """Winding number from the coarse frequencies alone, :data:`DOUBTFUL` where those do not suffice.

    For many systems at a time: there both branches of a condition are computed, and refinement costs many times as
    much as all the rest.
    """
    _, turn, odd = _coarse_steps(structure, system, symbol)
    return jnp.where(odd.any(), DOUBTFUL, _as_integer(turn.sum()))
