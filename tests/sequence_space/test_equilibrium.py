"""General equilibrium against a dense solution of the whole system, and its derivative against differences."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.households.one_asset import StandardIncompleteMarkets
from estimhank.model.declaration import Model
from estimhank.model.observed import Level
from estimhank.model.processes import AR1
from estimhank.models.krusell_smith import KrusellSmith
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.parameters.parameter_table import ModelError, Parameter, Parameters
from estimhank.parameters.priors import Beta, Gamma, Normal
from estimhank.posterior.posterior import Posterior
from estimhank.sequence_space.dense_equations import apply_dense, apply_dense_transposed, dense_rows
from estimhank.sequence_space.equilibrium import solve_equilibrium
from estimhank.sequence_space.household_operator import HouseholdOperator, household_operator
from estimhank.sequence_space.linear_system import LinearSystem, linearize
from estimhank.sequence_space.solution import model_structure
from estimhank.sequence_space.steady_solver import SteadySolver
from estimhank.sequence_space.structure import Structure
from tests.helpers import golden

T = 40

# compiled once for each structure: the automatic choice of the default model serves several tests
solve = jax.jit(solve_equilibrium, static_argnums=0)
operator_of = jax.jit(lambda jacobians: household_operator(jacobians.transpose(3, 1, 0, 2)))


@cache
def small(cls: type[Model], dense: tuple[str, ...] = ()) -> tuple[Any, Structure, LinearSystem, HouseholdOperator]:
    """A model on a small grid and a short horizon, solved up to general equilibrium."""
    model = cls(
        household=StandardIncompleteMarkets(inputs=cls.household.inputs, n_e=3, n_a=60) if cls.household else None
    )
    model.dense = dense
    solver = SteadySolver(model, {}, T)
    structure = model_structure(model, solver.reference, model.parameters.priors())
    system = jax.jit(lambda p: linearize(model, solver.reference.values, p))(solver.reference.parameters)
    return model, structure, system, solver.at({}).household


def dense_solution(st: Structure, system: LinearSystem, jacobians: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """The whole stacked system by one dense solve, no elimination."""
    lag, now, lead, shock = (np.asarray(m) for m in system)
    n_eq, n_v = now.shape
    n_o = len(st.outputs)
    size = n_eq + n_o
    k, right = np.zeros((T * size, T * n_v)), np.zeros((T * size, paths.shape[1]))
    for t in range(T):
        row = slice(t * size, t * size + n_eq)
        for block, s in ((lag, t - 1), (now, t), (lead, t + 1)):
            if 0 <= s < T:
                k[row, s * n_v : (s + 1) * n_v] = block
        right[row] = -shock * paths[t]
        for o, output in enumerate(st.outputs):
            r = t * size + n_eq + o
            k[r, t * n_v + output] = 1.0
            for i, v in enumerate(st.inputs):
                k[r, v::n_v] -= jacobians[o, i, t]
    return np.linalg.solve(k, right).reshape(T, n_v, -1)


class RealBusinessCycle(Model):
    """A representative agent: no household block, one leading and one lagged variable."""

    name = "rbc"
    variables = ("C", "K", "Y", "r")
    shocks = (AR1("z"),)
    observables = (Level("Y"),)
    parameters = Parameters(
        rho_z=Parameter(0.9, "r", "persistence", Beta(0.5, 0.2), "shocks"),
        sigma_z=Parameter(0.7, "s", "s.d.", Gamma(0.5, 0.2), "shocks"),
        alpha=Parameter(0.33, "a", "capital share", touches="steady_state"),
        delta=Parameter(0.025, "d", "depreciation", touches="steady_state"),
        beta=Parameter(0.99, "b", "discount factor", touches="steady_state"),
    )

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """Euler equation, resources, production, rental rate."""
        yield "Euler equation", 1 / now.C - p.beta * (1 + lead.r) / lead.C
        yield "resources", now.C + now.K - (1 - p.delta) * lag.K - now.Y
        yield "production", now.Y - (1 + shock.z) * lag.K**p.alpha
        yield "rental rate", now.r - (p.alpha * (1 + shock.z) * lag.K ** (p.alpha - 1) - p.delta)

    def steady_state(self, p: Any, household: Any) -> dict[str, float]:
        """Closed form."""
        r = 1 / p.beta - 1
        k = (p.alpha / (r + p.delta)) ** (1 / (1 - p.alpha))
        return {"r": r, "K": k, "Y": k**p.alpha, "C": k**p.alpha - p.delta * k}


@pytest.mark.parametrize(
    ("cls", "dense"),
    [
        (OneAssetHANK, ()),
        pytest.param(OneAssetHANK, ("Y",), marks=pytest.mark.long),
        pytest.param(OneAssetHANK, ("pi",), marks=pytest.mark.long),
        (OneAssetHANK, ("Y", "B")),
        pytest.param(KrusellSmith, (), marks=pytest.mark.long),  # compiles households of its own; two models remain
        pytest.param(KrusellSmith, ("K",), marks=pytest.mark.long),
        (RealBusinessCycle, ()),
    ],
    ids=lambda v: v.__name__ if isinstance(v, type) else "-".join(v) or "automatic",
)
def test_elimination_gives_the_dense_solution(cls: type[Model], dense: tuple[str, ...]) -> None:
    model, st, system, household = small(cls, dense)  # type: ignore[arg-type]
    if dense:
        assert {model.unknowns[i] for i in st.elimination.dense} == set(dense)
    roots = np.linspace(0.5, 0.9, len(model.shocks))
    paths = roots ** np.arange(T)[:, None]
    mine = np.asarray(solve(st, system, household, jnp.asarray(paths)))
    np.testing.assert_allclose(mine, dense_solution(st, system, np.asarray(household.jacobians), paths), atol=1e-10)
    # products with the dense equations' rows are those of the rows themselves, and adjoint to each other
    everything = tuple(range(len(model.unknowns)))
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((T, len(everything), 2)))
    product = jax.jit(apply_dense, static_argnums=(0, 3))(st, system, household, everything, x)
    rows = np.asarray(jax.jit(dense_rows, static_argnums=(0, 3))(st, system, household, everything))
    np.testing.assert_allclose(product, np.einsum("tvm,tvk->mk", rows, x), atol=1e-10)
    y = jnp.asarray(rng.standard_normal(product.shape))
    back = jax.jit(apply_dense_transposed, static_argnums=(0, 3))(st, system, household, everything, y)
    assert np.vdot(back, x) == pytest.approx(np.vdot(product, y), rel=1e-10, abs=1e-10)


def test_taking_household_assets_as_given_is_found_singular() -> None:
    with pytest.raises(ModelError, match="do not determine"):
        small(OneAssetHANK, ("A",))


@pytest.mark.parametrize("dense", [("r_ante",), pytest.param(("Y", "B"), marks=pytest.mark.long)], ids="-".join)
def test_derivative_equals_differences(dense: tuple[str, ...]) -> None:
    # what is chosen automatically is r_ante
    model, st, system, household = small(OneAssetHANK, () if dense == ("r_ante",) else dense)
    assert tuple(model.unknowns[i] for i in st.elimination.dense) == dense
    rng = np.random.default_rng(0)
    paths = np.array([0.9, 0.8, 0.5]) ** np.arange(T)[:, None]
    weights = rng.normal(size=(T, len(system.now[0]), 3))

    def with_operator(s: LinearSystem, h: HouseholdOperator, z: jax.Array) -> jax.Array:
        return (weights * solve_equilibrium(st, s, h, z)).sum()  # type: ignore[return-value]

    s_bar, h_bar, z_bar = jax.jit(jax.grad(with_operator, argnums=(0, 1, 2)))(system, household, paths)
    # directions that respect the zeros of the equations: elimination knows the pattern
    direction = LinearSystem(*(jnp.asarray(m) * rng.normal(size=m.shape) for m in system))
    jacobians = np.asarray(household.jacobians)
    j_direction = rng.normal(size=jacobians.shape) * jacobians
    z_direction = rng.normal(size=paths.shape)
    step = 1e-6

    def at(sign: int) -> float:
        moved = LinearSystem(*(jnp.asarray(m) + sign * step * d for m, d in zip(system, direction, strict=True)))
        operator = operator_of(jacobians + sign * step * j_direction)
        x = solve(st, jax.tree.map(jnp.asarray, moved), operator, jnp.asarray(paths + sign * step * z_direction))
        return float((weights * np.asarray(x)).sum())

    numeric = (at(1) - at(-1)) / (2 * step)
    exact = sum(float((np.asarray(b) * d).sum()) for b, d in zip(s_bar, direction, strict=True))
    exact += float((np.asarray(h_bar.jacobians) * j_direction).sum()) + float((np.asarray(z_bar) * z_direction).sum())
    assert exact == pytest.approx(numeric, rel=1e-6)


def test_impact_responses_of_the_default_model(posterior: Posterior, reference: dict[str, float]) -> None:
    golden.DEFAULT_IMPACT.check(posterior.responses(reference)[0].T)


def test_goods_market_clears_by_walras_law() -> None:
    model, st, system, household = small(OneAssetHANK)
    paths = np.array([0.9, 0.8, 0.5]) ** np.arange(T)[:, None]
    x = np.asarray(solve(st, system, household, jnp.asarray(paths)))
    names = model.unknowns
    spending = np.zeros((T, 3))
    spending[:, 1] = paths[:, 1]
    gap = x[:, names.index("C")] + spending - x[:, names.index("Y")]
    assert np.abs(gap).max() < 1e-8


class Doubled(OneAssetHANK):
    """Goods-market clearing beside asset-market clearing, in place of the Fisher equation."""

    name = "doubled"

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """The default model's, with one exchanged."""
        for name, residual in super().equations(lag, now, lead, household, shock, p):
            if name == "ex-ante real rate":
                yield "goods market", household.C + p.G + shock.g - now.Y
            else:
                yield name, residual


def test_an_equation_that_follows_from_the_others_is_reported() -> None:
    with pytest.raises(ModelError, match="Walras"):
        small(Doubled)


class Mistimed(OneAssetHANK):
    """phi_y moves the steady state because the rule is written around the wrong level of output."""

    name = "mistimed"

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """The default model's, with an intercept that only the reference value of phi_y cancels."""
        for name, residual in super().equations(lag, now, lead, household, shock, p):
            yield name, residual + (p.phi_y - 0.125 if name == "Taylor rule" else 0.0)


def test_a_parameter_that_moves_the_steady_state_undeclared_is_reported() -> None:
    with pytest.raises(ModelError, match="'phi_y' moves the steady state"):
        small(Mistimed)


def test_too_few_equations_are_counted() -> None:
    class Short(RealBusinessCycle):
        name = "short"

        def equations(self, *args: Any) -> Iterator[tuple[str, Any]]:
            yield from list(super().equations(*args))[:-1]

    with pytest.raises(ModelError, match=r"3 equations .* for 4 variables"):
        SteadySolver(Short(), {}, T).at({})


def scalar_model(lag: float, lead: float) -> type[Model]:
    """y_t = lag y_{t-1} + lead y_{t+1} + u_t without a household."""

    class Scalar(Model):
        name = "scalar"
        variables = ("y",)
        shocks = (AR1("u"),)
        observables = (Level("y"),)
        parameters = Parameters(
            rho_u=Parameter(0.5, "r", "persistence", Beta(0.5, 0.2), "shocks"),
            sigma_u=Parameter(1.0, "s", "s.d.", Gamma(1.0, 0.2), "shocks"),
        )

        def equations(self, before: Any, now: Any, after: Any, household: Any, shock: Any, p: Any) -> Any:
            yield "only", now.y - lag * before.y - lead * after.y - shock.u

        def steady_state(self, p: Any, household: Any) -> dict[str, float]:
            return {"y": 0.0}

    return Scalar


@pytest.mark.parametrize(("lag", "lead"), [(0.0, 0.0), (0.7, 0.0), (0.0, 0.6), (0.3, 0.4)])
def test_models_without_a_household_have_their_closed_form(lag: float, lead: float) -> None:
    _, st, system, household = small(scalar_model(lag, lead))  # type: ignore[arg-type]
    rho = 0.5
    paths = jnp.asarray(rho ** np.arange(T)[:, None])
    y = np.asarray(solve(st, system, household, paths))[:, 0, 0]
    # y_t = a y_{t-1} + b u_t with a = lag + lead a^2 the stable root and b = 1 / (1 - lead (a + rho))
    a = (1 - np.sqrt(1 - 4 * lag * lead)) / (2 * lead) if lead else lag
    b = 1 / (1 - lead * (a + rho))
    expected, last = [], 0.0
    for t in range(T):
        last = a * last + b * rho**t
        expected.append(last)
    np.testing.assert_allclose(y[: T // 2], expected[: T // 2], atol=1e-5)


def test_a_household_parameter_declared_not_to_move_the_steady_state_is_reported() -> None:
    class Careless(OneAssetHANK):
        name = "careless"
        parameters = OneAssetHANK.parameters.changed("sd_e", prior=Gamma(0.92, 0.1), touches="equilibrium")

    with pytest.raises(ModelError, match="'sd_e' moves the steady state"):
        small(Careless)


def test_a_lag_whose_coefficient_is_zero_at_the_reference_is_kept() -> None:
    class Indexed(RealBusinessCycle):
        name = "indexed"
        variables = ("C", "K", "Y", "r", "q")  # type: ignore[assignment]
        parameters = Parameters(
            {
                **RealBusinessCycle.parameters,
                "habit": Parameter(0.0, "h", "habit", Normal(0.0, 0.3), "steady_state"),
            }
        )

        def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Any:
            yield from super().equations(lag, now, lead, household, shock, p)
            yield "index", now.q - p.habit * lag.q - now.Y

        def steady_state(self, p: Any, household: Any) -> dict[str, float]:
            values = super().steady_state(p, household)
            return {**values, "q": values["Y"] / (1 - p.habit)}

    model, st, _, _ = small(Indexed)
    assert "q" in {model.unknowns[st.elimination.rest[i]] for i in st.elimination.lagged}
