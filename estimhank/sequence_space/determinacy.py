"""Existence and uniqueness of the stable solution by a winding number.

Source: Onatski (2006), "Winding number criterion for existence and uniqueness of equilibrium in linear rational
expectations models", and Auclert, Bardóczy, Rognlie and Straub (2021), section 5.3. The symbol of the declared
system at frequency w replaces a lag by exp(iw) and a lead by exp(-iw); its determinant winds around zero as often as
there are stable roots in excess: 0 determinate, negative indeterminate, positive no stable solution (1 - a lead with
a > 1 gives -1, 1 - rho lag with rho > 1 gives +1).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.sequence_space.equilibrium import Structure
from estimhank.sequence_space.linear_system import LinearSystem

#: Largest change of phase between neighbouring frequencies that is trusted; beyond it the fine grid decides.
PHASE_LIMIT = 1.2


class HouseholdSymbol(NamedTuple):
    """Fourier transform of the far diagonals of the household Jacobians on two grids of frequencies in [0, pi].

    ``coarse`` and ``fine``: (n_w, n_o, n_i), complex.
    """

    coarse: jax.Array
    fine: jax.Array


def frequencies(refinement: int = 1) -> NDArray[np.float64]:
    """Frequencies from 0 to pi, dense near zero, where slow roots (debt, for instance) cross the unit circle."""
    near = np.geomspace(1e-6, 0.06, 30 * refinement)
    return np.concatenate([[0.0], near, np.linspace(0.06, np.pi, 60 * refinement)[1:]])


COARSE, FINE = frequencies(1), frequencies(24)


def household_symbol(jacobians: jax.Array) -> HouseholdSymbol:
    """Symbols of household Jacobians (n_o, n_i, T, T) from their last row and column, the longest diagonals."""
    horizon = jacobians.shape[-1]
    lags = jacobians[:, :, -1, ::-1]
    leads = jacobians[:, :, -2::-1, -1]
    ahead, back = np.arange(horizon), np.arange(1, horizon)

    def transform(grid: NDArray[np.float64]) -> jax.Array:
        lag_waves, lead_waves = np.exp(1j * np.outer(grid, ahead)), np.exp(-1j * np.outer(grid, back))
        return jnp.einsum("wk,oik->woi", lag_waves, lags) + jnp.einsum("wk,oik->woi", lead_waves, leads)

    return HouseholdSymbol(transform(COARSE), transform(FINE))


def _phase_steps(
    structure: Structure, system: LinearSystem, household: jax.Array, grid: NDArray[np.float64]
) -> jax.Array:
    wave = jnp.exp(1j * jnp.asarray(grid))[:, None, None]
    aggregate = system.lag * wave + system.now + system.lead / wave
    n_o, n_v = len(structure.outputs), system.now.shape[1]
    rows = jnp.zeros((len(grid), n_o, n_v), complex)
    if n_o:
        rows = rows.at[:, :, jnp.array(structure.inputs, int)].set(-household)
        rows = rows.at[:, jnp.arange(n_o), jnp.array(structure.outputs, int)].add(1.0)
    phase = jnp.linalg.slogdet(jnp.concatenate([aggregate, rows], axis=1))[0]
    return jnp.angle(phase[1:] * jnp.conj(phase[:-1]))


def winding_number(structure: Structure, system: LinearSystem, symbol: HouseholdSymbol) -> jax.Array:
    """Winding number of the determinant of the symbol, an integer.

    The determinant at -w is the conjugate of that at w, so half the circle suffices. Where the phase moves by more than
    :data:`PHASE_LIMIT` between two frequencies (a root close to the unit circle) a finer grid is used.
    """
    coarse = _phase_steps(structure, system, symbol.coarse, COARSE)

    def refine(_: None) -> jax.Array:
        return _phase_steps(structure, system, symbol.fine, FINE).sum()

    total = jax.lax.cond(jnp.abs(coarse).max() > PHASE_LIMIT, refine, lambda _: coarse.sum(), None)
    return jnp.round(total / jnp.pi).astype(int)
