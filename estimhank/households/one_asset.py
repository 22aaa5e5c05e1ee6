"""Household problems as functions of their aggregate inputs.

A block says what a household does with one period, given the marginal value of assets next period; the steady state,
the distribution and the sequence-space Jacobians follow from that function (:mod:`estimhank.households.stationary`,
:mod:`estimhank.households.fake_news`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from estimhank.households.interpolation import interpolate_rows, interpolate_rows_smoothly
from estimhank.households.transition import AssetLottery, SmoothAssetLottery, Transition

#: A number, traced or not.
Scalar = jax.Array | float


class Grids(NamedTuple):
    """Discretised state space of a household.

    Attributes
    ----------
    e : array of shape (n_e,)
        Idiosyncratic productivity, mean one.
    transition : array of shape (n_e, n_e)
        Markov matrix of ``e``; rows sum to one.
    stationary : array of shape (n_e,)
        Stationary distribution of ``e``.
    a : array of shape (n_a,)
        Asset grid, increasing; the first point is the borrowing limit.
    """

    e: jax.Array
    transition: jax.Array
    stationary: jax.Array
    a: jax.Array

    @property
    def assets(self) -> tuple[jax.Array, ...]:
        """Grids of the endogenous assets, in the order of the axes of a distribution; the first is the most liquid."""
        return (self.a,)


#: What the ``grids`` of a block gives: :class:`Grids`, or another tuple that has ``e``, ``transition``, ``stationary``
#: and ``assets``.
StateSpace = Any


class Policies(NamedTuple):
    """One period of household behaviour on the grid.

    Attributes
    ----------
    marginal_value : array of shape (n_e, n_a)
        Derivative of the value function with respect to beginning-of-period assets, before discounting.
    assets : array of shape (n_e, n_a)
        End-of-period assets; of k assets (k, n_e, ...), in the order of ``Grids.assets``.
    outputs : mapping of name to array of shape (n_e, n_a)
        What the block aggregates, one policy for each of ``HouseholdBlock.outputs``.
    endogenous_grid : array of shape (n_e, n_a), optional
        Beginning-of-period assets from which each point of the asset grid is chosen, of a block that is solved by the
        endogenous grid method. It tells a surrogate more precisely where the density
        falls from a cliff (:mod:`estimhank.households.cliffs`); nothing else reads it.
    """

    marginal_value: jax.Array
    assets: jax.Array
    outputs: dict[str, jax.Array]
    endogenous_grid: jax.Array | None = None


@dataclass(frozen=True)
class Sum:
    """A target that several outputs add up to: ``Sum(p.B, {"poor.A": p.share, "rich.A": 1 - p.share})``."""

    value: Any
    weights: Mapping[str, Any]


@dataclass(frozen=True)
class HouseholdTarget:
    """What households' stationary problems are solved for.

    Parameters
    ----------
    inputs : mapping of str to float
        Constant values of the blocks' inputs.
    unknown : str, optional
        Parameter that is moved to reach the target (for example ``"beta"``); ``None`` solves at given parameters.
    bracket : pair of float
        Interval that is searched for the unknown.
    output, value : str, float
        The aggregate output and the value that it must have.
    unknowns : mapping of str to pair of float, optional
        Several parameters that are moved, each with the interval that is searched, in place of one.
    targets : mapping of str, optional
        As many targets: the name of an output with its value, or any name with a :class:`Sum` of outputs.
    """

    inputs: Mapping[str, Any]
    unknown: str | None = None
    bracket: tuple[float, float] = (0.0, 0.0)
    output: str = ""
    value: Any = 0.0
    unknowns: Mapping[str, tuple[Any, Any]] | None = None
    targets: Mapping[str, Any] | None = None

    @property
    def brackets(self) -> dict[str, tuple[Any, Any]]:
        """Parameters that are moved, with the intervals that are searched."""
        if self.unknowns is not None:
            return dict(self.unknowns)
        return {} if self.unknown is None else {self.unknown: self.bracket}

    @property
    def sums(self) -> dict[str, Sum]:
        """Targets by name."""
        if not self.brackets:
            return {}
        given = {self.output: self.value} if self.targets is None else self.targets
        return {name: value if isinstance(value, Sum) else Sum(value, {name: 1.0}) for name, value in given.items()}


def rouwenhorst(
    rho: Scalar, sd: Scalar, n: int
) -> tuple[Float[jax.Array, " {n}"], Float[jax.Array, "{n} {n}"], Float[jax.Array, " {n}"]]:
    """Rouwenhorst's discretisation of a Gaussian AR(1) for log productivity (Kopecky and Suen 2010).

    Parameters
    ----------
    rho : float
        Autocorrelation.
    sd : float
        Cross-sectional standard deviation of the log.
    n : int
        Number of states.

    Returns
    -------
    e : array of shape (n,)
        Productivity levels, normalised to mean one under the stationary distribution.
    transition : array of shape (n, n)
    stationary : array of shape (n,)
        Binomial(n - 1, 1/2).
    """
    p = (1 + rho) / 2
    transition = jnp.array([[p, 1 - p], [1 - p, p]])
    for m in range(3, n + 1):
        z = jnp.zeros((m, m))
        z = z.at[:-1, :-1].add(p * transition).at[:-1, 1:].add((1 - p) * transition)
        z = z.at[1:, :-1].add((1 - p) * transition).at[1:, 1:].add(p * transition)
        transition = z.at[1:-1].divide(2.0)
    stationary = jnp.ones(1)
    for _ in range(n - 1):
        stationary = 0.5 * (jnp.append(stationary, 0.0) + jnp.append(0.0, stationary))
    # the two-point chain on {-1, 1} summed n - 1 times has variance n - 1, rescaled to sd^2
    levels = jnp.exp(sd * jnp.linspace(-1.0, 1.0, n) * (n - 1) ** 0.5)
    return levels / (stationary @ levels), transition, stationary


def double_exponential_grid(low: Scalar, high: Scalar, n: int) -> Float[jax.Array, " {n}"]:
    """Grid a_j = low + exp(exp(u_j) - 1) - 1 with u equally spaced: dense near the borrowing limit, shape (n,)."""
    u = jnp.linspace(0.0, jnp.log1p(jnp.log1p(high - low)), n)
    return low + jnp.expm1(jnp.expm1(u))


def logarithmic_grid(low: Scalar, high: Scalar, n: int, pivot: float = 0.25) -> Float[jax.Array, " {n}"]:
    """Grid whose points are equally spaced in log(a - low + pivot), shape (n,)."""
    return low + jnp.geomspace(pivot, high - low + pivot, n) - pivot


#: How policies are interpolated, and the lottery that follows them.
SCHEMES = {
    "linear": (interpolate_rows, AssetLottery),
    "smooth": (interpolate_rows_smoothly, SmoothAssetLottery),
}

SPACINGS = {"double_exponential": double_exponential_grid, "logarithmic": logarithmic_grid}


class HouseholdBlock(ABC):
    """A household problem: with one asset, or with several (:class:`estimhank.households.two_asset.TwoAssets`).

    Subclasses say which aggregate variables enter (``inputs``), what is aggregated (``outputs``), the state space, and
    one backward step. ``derived`` names outputs that the ``identities`` express through the others: their Jacobians
    need not be computed.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    derived: tuple[str, ...] = ()
    #: names of the entries of the parameter table that the household reads
    parameters: tuple[str, ...] = ()

    @abstractmethod
    def grids(self, p: Any) -> StateSpace:
        """State space at parameters ``p``."""

    @abstractmethod
    def initial_marginal_value(self, grids: StateSpace, inputs: Mapping[str, jax.Array], p: Any) -> jax.Array:
        """A first guess of the marginal value of assets, shape (n_e, n_a); of k assets (k, n_e, ...)."""

    @abstractmethod
    def backward(
        self, marginal_value_next: jax.Array, inputs: Mapping[str, jax.Array], grids: StateSpace, p: Any
    ) -> Policies:
        """Behaviour today, given the marginal value of assets tomorrow, shape (n_e, n_a), and today's inputs."""

    def with_estimated_steady_state(self) -> HouseholdBlock:
        """The block to use where parameters that are estimated move the steady state."""
        return self

    def transition(self, grids: StateSpace, policies: Policies) -> Transition:
        """Law of motion of the distribution that follows policies."""
        return AssetLottery.of(policies.assets, grids.a, grids.transition)

    def identities(self, lag: Any, now: Any) -> Iterator[tuple[str, Any]]:
        """Exact relations between outputs and inputs, ``(name, residual)``; one for each of ``derived``."""
        return iter(())


@dataclass(frozen=True)
class StandardIncompleteMarkets(HouseholdBlock):
    """Consumption and saving with uninsurable income risk and a borrowing limit::

        max E sum_t beta^t c_t^(1 - 1/eis) / (1 - 1/eis),   c_t + a_t = (1 + r_t) a_{t-1} + Z_t e_t,   a_t >= a_min

    solved by the endogenous grid method (Carroll 2006).

    Parameters
    ----------
    inputs : pair of str
        Names of the model variables that are the return r and the income per unit of productivity Z.
    outputs : pair of str
        Names of aggregate assets and consumption.
    n_e, n_a : int
        Productivity states and asset grid points.
    a_max, a_min : float
        Top of the asset grid, and the borrowing limit.
    spacing : {"double_exponential", "logarithmic"}
        How grid points are spread.
    scheme : {"auto", "linear", "smooth"}
        Discretisation. ``"linear"``: policies and lottery are linear between grid points, as in the sequence-jacobian
        toolkit; Jacobians, and so the density, jump where a policy crosses a grid point. ``"smooth"``: monotone cubic
        policies and a lottery between three grid points, both continuously differentiable. ``"auto"`` is smooth in a
        model in which parameters that move the steady state are estimated, else linear.

    Notes
    -----
    Reads ``beta``, ``eis``, ``rho_e`` and ``sd_e`` (cross-sectional standard deviation of log productivity) from the
    parameter table.
    """

    inputs: tuple[str, ...] = ("r", "Z")
    outputs: tuple[str, ...] = ("A", "C")
    n_e: int = 7
    n_a: int = 200
    a_max: float = 200.0
    a_min: float = 0.0
    spacing: str = "double_exponential"
    scheme: str = "auto"
    parameters: tuple[str, ...] = ("beta", "eis", "rho_e", "sd_e")

    def _check_names(self) -> None:
        if len(self.inputs) != 2 or len(self.outputs) != 2:
            raise ValueError(
                "StandardIncompleteMarkets has two inputs (return, income) and two outputs (assets, consumption)"
            )

    def __post_init__(self) -> None:
        self._check_names()
        if self.n_e < 2 or self.n_a < 10 or not self.a_max > self.a_min:
            raise ValueError(f"{type(self).__name__} needs n_e >= 2, n_a >= 10 and a_max > a_min")
        if self.spacing not in SPACINGS:
            raise ValueError(f"unknown grid spacing '{self.spacing}' (known: {', '.join(SPACINGS)})")
        if self.scheme not in ("auto", *SCHEMES):
            raise ValueError(f"unknown scheme '{self.scheme}' (known: auto, {', '.join(SCHEMES)})")

    def with_estimated_steady_state(self) -> StandardIncompleteMarkets:
        """Smooth, unless a scheme was chosen."""
        return replace(self, scheme="smooth") if self.scheme == "auto" else self

    @property
    def _scheme(self) -> tuple[Any, Any]:
        return SCHEMES["linear" if self.scheme == "auto" else self.scheme]

    def transition(self, grids: Grids, policies: Policies) -> Transition:
        """The lottery of the scheme."""
        found: Transition = self._scheme[1].of(policies.assets, grids.a, grids.transition)
        return found

    @property
    def derived(self) -> tuple[str, ...]:  # type: ignore[override]
        """Consumption follows from assets by the aggregate budget."""
        return (self.outputs[1],)

    def grids(self, p: Any) -> Grids:
        """Rouwenhorst productivity and an asset grid that is dense near the borrowing limit."""
        e, transition, stationary = rouwenhorst(p.rho_e, p.sd_e, self.n_e)
        a = SPACINGS[self.spacing](jnp.asarray(self.a_min), jnp.asarray(self.a_max), self.n_a)
        return Grids(e, transition, stationary, a)

    def initial_marginal_value(self, grids: Grids, inputs: Mapping[str, jax.Array], p: Any) -> jax.Array:
        """Marginal value of consuming a tenth of cash on hand."""
        r, z = (inputs[name] for name in self.inputs)
        cash = (1 + r) * grids.a[None, :] + z * grids.e[:, None] - (1 + jnp.minimum(r, 0.0)) * self.a_min
        found: jax.Array = (1 + r) * (0.1 * cash) ** (-1 / p.eis)
        return found

    def backward(
        self, marginal_value_next: jax.Array, inputs: Mapping[str, jax.Array], grids: Grids, p: Any
    ) -> Policies:
        """One step of the endogenous grid method."""
        r, z = (inputs[name] for name in self.inputs)
        consumption_next_grid = (p.beta * grids.transition @ marginal_value_next) ** (-p.eis)
        income = z * grids.e[:, None]
        cash = (1 + r) * grids.a[None, :] + income
        # assets today from which each end-of-period asset level is chosen, in units of cash on hand
        endogenous = (consumption_next_grid + grids.a[None, :] - income) / (1 + r)
        assets = jnp.maximum(self._scheme[0](grids.a, endogenous, grids.a), self.a_min)
        consumption = cash - assets
        marginal_value = (1 + r) * consumption ** (-1 / p.eis)
        return Policies(marginal_value, assets, {self.outputs[0]: assets, self.outputs[1]: consumption}, endogenous)

    def identities(self, lag: Any, now: Any) -> Iterator[tuple[str, Any]]:
        """The aggregate budget C_t = (1 + r_t) A_{t-1} + Z_t - A_t (mean productivity is one)."""
        (r, z), (a, c) = self.inputs, self.outputs
        yield (
            "household budget",
            getattr(now, c) - ((1 + getattr(now, r)) * getattr(lag, a) + getattr(now, z) - getattr(now, a)),
        )
