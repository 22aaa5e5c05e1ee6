"""Existence and uniqueness of the stable solution by a winding number.

Source: Onatski (2006), "Winding number criterion for existence and uniqueness of equilibrium in linear rational
expectations models", and Auclert, Bardóczy, Rognlie and Straub (2021), section 5.3. The symbol of the declared
system at frequency w replaces a lag by exp(iw) and a lead by exp(-iw); its determinant winds around zero as often as
there are stable roots in excess: 0 determinate, negative indeterminate, positive no stable solution (1 - a lead with
a > 1 gives -1, 1 - rho lag with rho > 1 gives +1).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.sequence_space.linear_system import LinearSystem
from estimhank.sequence_space.structure import Structure

#: Largest change of phase between neighbouring frequencies that is trusted; beyond it the fine grid decides.
PHASE_LIMIT = 1.2

#: What :func:`coarse_winding_number` returns where finer frequencies have to decide.
DOUBTFUL = 1_000_000


class HouseholdSymbol(NamedTuple):
    """Fourier transform of the far diagonals of the household Jacobians.

    ``coarse`` (n_w, n_o, n_i), complex: at the frequencies :data:`COARSE`. ``lags`` (n_o, n_i, T) and ``leads``
    (n_o, n_i, T-1): the diagonals, for more frequencies where they are needed.
    """

    coarse: jax.Array
    lags: jax.Array
    leads: jax.Array


def frequencies(refinement: int = 1) -> NDArray[np.float64]:
    """Frequencies from 0 to pi, dense near zero, where slow roots (debt, for instance) cross the unit circle."""
    near = np.geomspace(1e-6, 0.06, 30 * refinement)
    return np.concatenate([[0.0], near, np.linspace(0.06, np.pi, 60 * refinement)[1:]])


COARSE, FINE = frequencies(1), frequencies(24)
_BLOCK = 128  # fine frequencies treated together


def household_symbol(by_date: jax.Array) -> HouseholdSymbol:
    """Symbols of household Jacobians, laid out as (T, n_i, n_o, T), ``[s, i, o, t]``.

    The longest diagonals that the horizon holds are the last date of the output and the last date of the input.
    """
    lags = by_date[::-1, :, :, -1].transpose(2, 1, 0)
    leads = by_date[-1, :, :, -2::-1].transpose(1, 0, 2)
    ahead = np.arange(lags.shape[2])
    coarse = _transform(lags, leads, np.exp(1j * np.outer(COARSE, ahead)))
    return HouseholdSymbol(coarse, lags, leads)


def _transform(lags: jax.Array, leads: jax.Array, waves: Any) -> jax.Array:
    """Symbols at some frequencies; ``waves`` (n_w, T) are exp(i w k) for k = 0, ..., T-1."""
    return jnp.einsum("wk,oik->woi", waves, lags) + jnp.einsum("wk,oik->woi", jnp.conj(waves[:, 1:]), leads)


def _phases(structure: Structure, system: LinearSystem, household: jax.Array, grid: jax.Array) -> jax.Array:
    """Phase of the symbol's determinant, a complex number of modulus one, at each frequency."""
    wave = jnp.exp(1j * grid)[:, None, None]
    aggregate = system.lag * wave + system.now + system.lead / wave
    n_o, n_v = len(structure.outputs), system.now.shape[1]
    rows = jnp.zeros((len(grid), n_o, n_v), complex)
    if n_o:
        rows = rows.at[:, :, jnp.array(structure.inputs, int)].set(-household)
        rows = rows.at[:, jnp.arange(n_o), jnp.array(structure.outputs, int)].add(1.0)
    return jnp.linalg.slogdet(jnp.concatenate([aggregate, rows], axis=1))[0]


def _steps(phase: jax.Array) -> jax.Array:
    return jnp.angle(phase[1:] * jnp.conj(phase[:-1]))


def _coarse_steps(structure: Structure, system: LinearSystem, symbol: HouseholdSymbol) -> jax.Array:
    return _steps(_phases(structure, system, symbol.coarse, jnp.asarray(COARSE)))


def winding_number(structure: Structure, system: LinearSystem, symbol: HouseholdSymbol) -> jax.Array:
    """Winding number of the determinant of the symbol, an integer.

    The determinant at -w is the conjugate of that at w, so half the circle suffices. Where the phase moves by more than
    :data:`PHASE_LIMIT` between two frequencies (a root close to the unit circle) a finer grid is used.
    """
    coarse = _coarse_steps(structure, system, symbol)
    dates = jnp.arange(symbol.lags.shape[2])

    def some(grid: jax.Array) -> jax.Array:
        household = _transform(symbol.lags, symbol.leads, jnp.exp(1j * jnp.outer(grid, dates)))
        return _phases(structure, system, household, grid)

    def refine(_: None) -> jax.Array:
        # A root so close to the unit circle is rare. Some frequencies at a time, for memory is set aside in every call:
        # what all of them need, tens of megabytes, would be handed back to the system and asked for again each time.
        blocks = np.resize(FINE, (-(-len(FINE) // _BLOCK), _BLOCK))
        return _steps(jax.lax.map(some, jnp.asarray(blocks)).reshape(-1)[: len(FINE)]).sum()

    total = jax.lax.cond(_is_doubtful(coarse), refine, lambda _: coarse.sum(), None)
    return jnp.round(total / jnp.pi).astype(int)


def coarse_winding_number(structure: Structure, system: LinearSystem, symbol: HouseholdSymbol) -> jax.Array:
    """Winding number from the coarse frequencies alone, :data:`DOUBTFUL` where those do not suffice.

    For many systems at a time: there both branches of a condition are computed, and the fine grid costs many times as
    much as all the rest.
    """
    coarse = _coarse_steps(structure, system, symbol)
    return jnp.where(_is_doubtful(coarse), DOUBTFUL, jnp.round(coarse.sum() / jnp.pi).astype(int))


def _is_doubtful(steps: jax.Array) -> jax.Array:
    return jnp.abs(steps).max() > PHASE_LIMIT
