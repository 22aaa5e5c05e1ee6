"""The economy in which Davila, Hong, Krusell and Rios-Rull (2012) find far too little capital, with aggregate risk.

Households' productivity is that of Diaz, Pijoan-Mas and Rios-Rull (2003), which makes wealth as unequal as in the
United States. A period is a year.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from estimhank.global_solution.economy import Chain, GlobalEconomy, Prices

_EFFICIENCY = (1.0, 5.29, 46.55)
_OWN = ((0.992, 0.008, 0.0), (0.009, 0.980, 0.011), (0.0, 0.083, 0.917))


def _labour() -> float:
    """Mean efficiency of the stationary distribution."""
    values, vectors = np.linalg.eig(np.array(_OWN).T)
    share = np.real(vectors[:, np.argmax(np.real(values))])
    return float(share @ np.array(_EFFICIENCY) / share.sum())


@dataclass(frozen=True)
class Unequal(GlobalEconomy):
    """Three states of efficiency, one of which is rare, short, and pays nine times the next; two of productivity.

    Parameters
    ----------
    productivity : pair of float
        Of all firms, in bad and good years.
    persistence : float
        Probability that next year is as this one.
    """

    beta: float = 0.887
    risk_aversion: float = 2.0
    borrowing_limit: float = 0.0
    largest_assets: float = 3000.0
    alpha: float = 0.36
    delta: float = 0.08
    productivity: tuple[float, ...] = (0.99, 1.01)
    persistence: float = 0.8

    def chain(self) -> Chain:
        """Productivity knows nothing of households' efficiency."""
        p = self.persistence
        return Chain.independent([[p, 1 - p], [1 - p, p]], _OWN)

    def prices(self, z: jax.Array, capital: jax.Array) -> Prices:
        """Competitive factor prices."""
        tfp, ratio = jnp.asarray(self.productivity)[z], capital / _labour()
        wage = (1 - self.alpha) * tfp * ratio**self.alpha
        return Prices(1 - self.delta + self.alpha * tfp * ratio ** (self.alpha - 1), wage * jnp.array(_EFFICIENCY))

    def capital_range(self) -> tuple[float, float]:
        """The representative household's stock, and four times it."""
        stock = ((1 / self.beta - 1 + self.delta) / self.alpha) ** (1 / (self.alpha - 1)) * _labour()
        return stock, 4.0 * stock
