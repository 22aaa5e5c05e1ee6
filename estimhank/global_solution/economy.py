"""What a global solution is of: households, prices, and a Markov chain of the aggregate state.

An economy says how households are paid and what they discount by; everything else, networks, histogram, training and
checks, is the same for all of them. A user's own is a frozen dataclass with two methods, ``chain`` and ``prices``
(docs/global.md has one in a page).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from estimhank.households.one_asset import rouwenhorst
from estimhank.support.errors import ConfigError

#: Rows of a published Markov matrix sum to one only to the digits that it is printed with.
_ROUNDING = 1e-5


class Prices(NamedTuple):
    """What households face in one period.

    Attributes
    ----------
    gross_return : array of shape ()
        On assets held at the beginning of the period, one plus the net return.
    income : array of shape (n_e,)
        Income after taxes and transfers of each idiosyncratic state, in goods.
    """

    gross_return: jax.Array
    income: jax.Array


class Chain(NamedTuple):
    """Markov chain of the aggregate and the idiosyncratic state together.

    Attributes
    ----------
    aggregate : array of shape (n_z, n_z)
        Of the aggregate state alone; rows sum to one.
    idiosyncratic : array of shape (n_z, n_z, n_e, n_e)
        ``[z, z', e, e']``: probability of e' given e and both aggregate states; the last axis sums to one.
    """

    aggregate: NDArray[np.float64]
    idiosyncratic: NDArray[np.float64]

    @classmethod
    def from_joint(cls, joint: ArrayLike, n_z: int, n_e: int) -> Chain:
        """From one matrix, (n_z n_e, n_z n_e), whose states are ordered by aggregate state, then idiosyncratic state.

        Raises
        ------
        ConfigError
            If it is no Markov matrix, or the aggregate state's probabilities depend on the idiosyncratic state.
        """
        p = np.asarray(joint, float)
        if p.shape != (n_z * n_e, n_z * n_e) or (p < 0).any() or np.abs(p.sum(1) - 1).max() > _ROUNDING:
            raise ConfigError(
                f"the joint transition must be a {n_z * n_e} x {n_z * n_e} matrix of probabilities with rows that sum "
                f"to one"
            )
        table = (p / p.sum(1, keepdims=True)).reshape(n_z, n_e, n_z, n_e)
        aggregate = table.sum(3)
        if np.ptp(aggregate, axis=1).max() > _ROUNDING:
            raise ConfigError("the aggregate state's probabilities must not depend on a household's own state")
        mean = aggregate.mean(1)
        conditional = np.moveaxis(table, 1, 2)
        sums = conditional.sum(3, keepdims=True)
        # what never happens may be anything that is a probability
        conditional = np.where(sums > 0, conditional / np.where(sums > 0, sums, 1), np.eye(n_e)[None, None])
        return cls(mean / mean.sum(1, keepdims=True), conditional)

    @classmethod
    def independent(cls, aggregate: ArrayLike, idiosyncratic: ArrayLike) -> Chain:
        """An aggregate chain, (n_z, n_z), and an idiosyncratic one, (n_e, n_e), that know nothing of each other."""
        a, e = np.asarray(aggregate, float), np.asarray(idiosyncratic, float)
        for name, p in (("aggregate", a), ("idiosyncratic", e)):
            if p.ndim != 2 or p.shape[0] != p.shape[1] or (p < 0).any() or np.abs(p.sum(1) - 1).max() > _ROUNDING:
                raise ConfigError(
                    f"the {name} transition must be a square matrix of probabilities with rows that sum to one"
                )
        return cls(a, np.broadcast_to(e, (*a.shape, *e.shape)).copy())

    @property
    def stationary(self) -> NDArray[np.float64]:
        """Stationary distribution of the aggregate state, (n_z,)."""
        return _stationary(self.aggregate)

    @property
    def average(self) -> NDArray[np.float64]:
        """The idiosyncratic chain of an economy without aggregate risk, (n_e, n_e): how households move on average.

        Probabilities are averaged over aggregate states and the households who are in state e in each of them.
        """
        n_z, _, n_e, _ = self.idiosyncratic.shape
        joint = np.einsum("zy,zyef->zeyf", self.aggregate, self.idiosyncratic)
        weight = _stationary(joint.reshape(n_z * n_e, n_z * n_e)).reshape(n_z, n_e)
        flow = np.einsum("ze,zeyf->ef", weight, joint)
        return np.asarray(flow / flow.sum(1, keepdims=True))


def _stationary(p: NDArray[np.float64]) -> NDArray[np.float64]:
    n = len(p)
    return np.asarray(np.linalg.lstsq(np.vstack([p.T - np.eye(n), np.ones(n)]), np.append(np.zeros(n), 1.0))[0])


def autoregression(persistence: float, sd: float, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """An AR(1) as an aggregate Markov chain by Rouwenhorst's method.

    Parameters
    ----------
    persistence : float
        Autocorrelation.
    sd : float
        Standard deviation of the *innovation* of the log.
    n : int
        Number of states.

    Returns
    -------
    levels : array of shape (n,)
        exp of the process, mean one.
    transition : array of shape (n, n)
    """
    with jax.ensure_compile_time_eval():  # numbers, even where prices are being traced
        levels, transition, _ = rouwenhorst(persistence, sd / (1 - persistence**2) ** 0.5, n)
        return np.asarray(levels), np.asarray(transition)


class GlobalEconomy(ABC):
    """An economy with aggregate risk that can be solved globally::

        max E sum_t beta^t u(c_t),   c_t + a_{t+1} = R(z_t, K_t) a_t + y(e_t; z_t, K_t),   a_{t+1} >= borrowing_limit

    with u(c) = c^(1 - gamma) / (1 - gamma), log where gamma is one, K_t mean assets, and (z, e) a Markov chain.

    Attributes
    ----------
    beta : float
        Discount factor.
    risk_aversion : float
        gamma.
    borrowing_limit : float
        Least assets.
    largest_assets : float
        Top of the grid that carries the distribution; no mass to speak of may come near it.
    """

    beta: float
    risk_aversion: float
    borrowing_limit: float
    largest_assets: float

    @abstractmethod
    def chain(self) -> Chain:
        """Markov chain of aggregate and idiosyncratic states."""

    @abstractmethod
    def prices(self, z: jax.Array, capital: jax.Array) -> Prices:
        """Prices in aggregate state ``z`` (its index, which may be traced) with mean assets ``capital``, shape ()."""

    @abstractmethod
    def capital_range(self) -> tuple[float, float]:
        """Capital stocks between which that of the deterministic steady state is searched."""

    def expected_prices(self, weights: jax.Array, capital: jax.Array) -> Prices:
        """Prices where the aggregate state is for sure at its mean with ``weights``, (n_z,), over states.

        With the stationary weights they are those of the economy without aggregate risk. By default the average of
        prices; an economy whose prices are not linear in productivity overrides it.
        """
        each = jax.vmap(lambda z: self.prices(z, capital))(jnp.arange(len(weights)))
        return Prices(weights @ each.gross_return, weights @ each.income)

    @property
    def n_z(self) -> int:
        """Number of aggregate states."""
        return len(chain_of(self).aggregate)

    @property
    def n_e(self) -> int:
        """Number of idiosyncratic states."""
        return int(chain_of(self).idiosyncratic.shape[-1])

    def marginal_utility(self, c: jax.Array) -> jax.Array:
        """u'(c)."""
        return c**-self.risk_aversion

    def inverse_marginal_utility(self, m: jax.Array) -> jax.Array:
        """Consumption at which u' is ``m``."""
        return m ** (-1 / self.risk_aversion)

    def utility(self, c: jax.Array) -> jax.Array:
        """u(c)."""
        if self.risk_aversion == 1:
            return jnp.log(c)
        return c ** (1 - self.risk_aversion) / (1 - self.risk_aversion)

    def inverse_utility(self, u: jax.Array) -> jax.Array:
        """Consumption whose utility is ``u``."""
        if self.risk_aversion == 1:
            return jnp.exp(u)
        return (u * (1 - self.risk_aversion)) ** (1 / (1 - self.risk_aversion))


@lru_cache(maxsize=32)
def chain_of(economy: GlobalEconomy) -> Chain:
    """An economy's Markov chain, asked for once, as numbers even where a caller is being traced."""
    with jax.ensure_compile_time_eval():
        found = economy.chain()
        return Chain(*(np.asarray(x) for x in found)) if isinstance(found, Chain) else found


@dataclass(frozen=True)
class KrusellSmithEconomy(GlobalEconomy):
    """Krusell and Smith (1998) as in den Haan, Judd and Juillard (2010): unemployment risk that depends on the
    aggregate state.

    Aggregate states are bad (0) and good (1), idiosyncratic states unemployed (0) and employed (1)::

        Y = Z K^alpha L^(1 - alpha),   L = hours (1 - u),   R = 1 - delta + alpha Z (K / L)^(alpha - 1)
        w = (1 - alpha) Z (K / L)^alpha
        income: (1 - tax) hours w employed, benefit w unemployed,   tax = benefit u / (hours (1 - u))

    Parameters
    ----------
    beta, alpha, delta, risk_aversion : float
        Discount factor, capital's share, depreciation a quarter, relative risk aversion.
    hours : float
        Worked by the employed.
    benefit : float
        Of the unemployed, as a share of the wage per hour.
    productivity, unemployment : pair of float
        Z and u in bad and good times.
    transition : tuple of tuples
        Joint Markov matrix, states ordered (bad, unemployed), (bad, employed), (good, unemployed), (good, employed).
    borrowing_limit, largest_assets : float
        Least assets; top of the grid.
    """

    beta: float = 0.99
    alpha: float = 0.36
    delta: float = 0.025
    risk_aversion: float = 1.0
    hours: float = 1 / 0.9
    benefit: float = 0.15
    productivity: tuple[float, ...] = (0.99, 1.01)
    unemployment: tuple[float, ...] = (0.10, 0.04)
    transition: tuple[tuple[float, ...], ...] = (
        (0.525, 0.35, 0.03125, 0.09375),
        (0.038889, 0.836111, 0.002083, 0.122917),
        (0.09375, 0.03125, 0.291667, 0.583333),
        (0.009115, 0.115885, 0.024306, 0.850694),
    )
    borrowing_limit: float = 0.0
    largest_assets: float = 250.0

    def chain(self) -> Chain:
        """The joint matrix."""
        return Chain.from_joint(self.transition, 2, 2)

    def prices(self, z: jax.Array, capital: jax.Array) -> Prices:
        """Competitive factor prices, benefits, and the tax that pays for them."""
        return self._prices(jnp.asarray(self.productivity)[z], jnp.asarray(self.unemployment)[z], capital)

    def expected_prices(self, weights: jax.Array, capital: jax.Array) -> Prices:
        """At mean productivity and mean unemployment."""
        return self._prices(weights @ jnp.asarray(self.productivity), weights @ jnp.asarray(self.unemployment), capital)

    def _prices(self, productivity: jax.Array, unemployment: jax.Array, capital: jax.Array) -> Prices:
        labour: Float[jax.Array, ""] = self.hours * (1 - unemployment)
        ratio = capital / labour
        wage = (1 - self.alpha) * productivity * ratio**self.alpha
        tax = self.benefit * unemployment / labour
        gross = 1 - self.delta + self.alpha * productivity * ratio ** (self.alpha - 1)
        return Prices(gross, jnp.stack([self.benefit * wage, (1 - tax) * self.hours * wage]))

    def capital_range(self) -> tuple[float, float]:
        """Around the stock of the representative household, which precautionary saving exceeds by little."""
        labour = self.hours * (1 - float(np.mean(self.unemployment)))
        ratio = ((1 / self.beta - 1 + self.delta) / self.alpha) ** (1 / (self.alpha - 1))
        return 0.5 * ratio * labour, 2.0 * ratio * labour
