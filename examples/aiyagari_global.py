"""Aiyagari's economy with an AR(1) of productivity, solved globally: an economy of one's own in a page.

estimhank global examples/aiyagari_global.toml --out results/aiyagari_global
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from estimhank.global_solution.economy import Chain, GlobalEconomy, Prices, autoregression
from estimhank.households.one_asset import rouwenhorst


@dataclass(frozen=True)
class Aiyagari(GlobalEconomy):
    """Households differ in productivity; firms rent capital; total factor productivity is autoregressive."""

    beta: float = 0.96
    risk_aversion: float = 2.0
    borrowing_limit: float = 0.0
    largest_assets: float = 60.0
    alpha: float = 0.36
    delta: float = 0.08
    persistence: float = 0.8
    sd: float = 0.02
    own_persistence: float = 0.6
    own_sd: float = 0.4

    @property
    def productivity(self) -> tuple[float, ...]:
        """Levels of total factor productivity."""
        return tuple(autoregression(self.persistence, self.sd, 3)[0])

    def chain(self) -> Chain:
        """Two independent chains of three states each."""
        _, own, _ = rouwenhorst(self.own_persistence, self.own_sd, 3)
        return Chain.independent(autoregression(self.persistence, self.sd, 3)[1], np.asarray(own))

    def prices(self, z: jax.Array, capital: jax.Array) -> Prices:
        """Competitive factor prices; labour is one."""
        tfp = jnp.asarray(self.productivity)[z]
        efficiency, _, _ = rouwenhorst(self.own_persistence, self.own_sd, 3)
        wage = (1 - self.alpha) * tfp * capital**self.alpha
        return Prices(1 - self.delta + self.alpha * tfp * capital ** (self.alpha - 1), wage * efficiency)

    def capital_range(self) -> tuple[float, float]:
        """Around the representative household's stock."""
        stock = ((1 / self.beta - 1 + self.delta) / self.alpha) ** (1 / (self.alpha - 1))
        return 0.9 * stock, 2.0 * stock
