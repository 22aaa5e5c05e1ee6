"""The condensed dense system, and the one at few dates: against all equations at all dates."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.data.dataset import Dataset
from estimhank.model.declaration import Model
from estimhank.models.one_asset_hours import OneAssetHours
from estimhank.models.two_asset_hank import TwoAssetHANK
from estimhank.posterior.posterior import Posterior
from estimhank.sequence_space import equilibrium
from estimhank.sequence_space.coarse_dates import CoarseDates, fold, interpolate, pick, scatter
from estimhank.sequence_space.condensation import find_condensation
from estimhank.sequence_space.elimination import choose_elimination
from estimhank.sequence_space.equilibrium import solve_equilibrium
from estimhank.sequence_space.linear_system import LinearSystem
from estimhank.sequence_space.structure import Structure, household_positions
from estimhank.target.batching import vectorize

SMALL = TwoAssetHANK(household=replace(TwoAssetHANK.household, n_b=10, n_a=16, n_kappa=4))
HOURS = OneAssetHours(household=replace(OneAssetHours.household, n_a=60, n_e=3))
solve = jax.jit(solve_equilibrium, static_argnums=0)


@cache
def posterior(model: Model, horizon: int) -> Posterior:
    names = tuple(o.name for o in model.observables)
    values = np.random.default_rng(0).standard_normal((80, len(names)))
    dates = tuple(f"{1990 + i // 4}Q{i % 4 + 1}" for i in range(80))
    data = Dataset(dates, names, tuple(o.units for o in model.observables), names, values, np.zeros(len(names)))
    return Posterior(model, data, horizon, horizon * 2 // 3)


def ingredients(target: Posterior) -> tuple[Any, ...]:
    s = target.solver
    point, parts = jnp.asarray(target.reference()), s.steady.reference_parts
    system, _ = s.computation._linearized(point, parts)
    return s.structure, system, parts.household, s.computation._paths(point, parts)


def whole_structure(target: Posterior, system: LinearSystem) -> Structure:
    """Every household output with its own dates, as the equations stand."""
    model = target.solver.setting.model
    inputs, outputs = household_positions(model)
    elimination = choose_elimination([system], model.unknowns, inputs + outputs, len(outputs))
    return Structure(elimination, inputs, outputs)


@pytest.mark.long
def test_two_assets_take_two_dense_variables() -> None:
    """Assets matter as a sum, marginal utility by itself; consumption and adjustment costs move nothing."""
    target = posterior(SMALL, 100)
    structure, names = target.solver.structure, target.model.unknowns
    assert len(structure.elimination.dense) == 2
    found = structure.condensation
    assert found is not None
    assert [[names[found.outputs[o]] for o in one.outputs] for one in found.merged] == [["A", "B"], ["UCE"]]
    assert {names[found.outputs[o]] for o in found.later} == {"A", "B", "CHI"}
    assert [names[v] for v, _ in found.defined] == ["C"]


@pytest.mark.long
def test_the_condensed_solution_is_that_of_all_equations() -> None:
    target = posterior(SMALL, 100)
    structure, *given = ingredients(target)
    whole = whole_structure(target, given[0])
    assert len(whole.elimination.dense) == 4
    mine, theirs = (np.asarray(solve(st, *given)) for st in (structure, whole))
    np.testing.assert_allclose(mine, theirs, atol=1e-9 * np.abs(theirs).max())
    weights = jnp.asarray(np.random.default_rng(1).standard_normal(mine.shape) / np.abs(theirs).max((0, 2))[:, None])

    def gradients(st: Structure) -> Any:
        return jax.jit(jax.grad(lambda *x: (weights * solve_equilibrium(st, *x)).sum(), argnums=(0, 1, 2)))(*given)

    # a coefficient that no parameters move away from zero has no derivative that anybody asks for
    for a, b, at in zip(*map(jax.tree.leaves, (*map(gradients, (structure, whole)), tuple(given))), strict=True):
        stands = np.asarray(at) != 0.0
        np.testing.assert_allclose(a[stands], b[stands], atol=1e-6 * float(jnp.abs(b[stands]).max()))


def test_what_every_output_needs_is_left_as_it_stands() -> None:
    """Outputs in several equations, or at another date, or that are inputs too, keep dates of their own."""
    now = np.array([[1.0, 0.5, 1.0, 1.0], [0.0, 1.0, 0.0, 2.0]])
    nothing = np.zeros_like(now)
    shock = jnp.ones((2, 1))

    def found(lag: np.ndarray = nothing, inputs: tuple[int, ...] = (0,)) -> Any:
        return find_condensation(
            [LinearSystem(jnp.asarray(lag), jnp.asarray(now), jnp.asarray(nothing), shock)], inputs, (2, 3)
        )

    assert found() is None  # the second stands in two equations
    now[1, 3] = 0.0
    merged = found()
    assert merged is not None and merged.merged[0].outputs == (0, 1) and merged.merged[0].equation == 0
    lag = nothing.copy()
    lag[0, 3] = 1.0
    assert found(lag) is None
    assert found(inputs=(0, 3)) is None


@pytest.mark.parametrize("horizon", [300, 1000])
def test_few_dates_say_what_all_say(horizon: int) -> None:
    few = CoarseDates(horizon, 60, 60)
    t = np.arange(horizon)
    slow = np.stack([0.985**t, 0.95**t, 0.97**t * np.cos(t / 80), 1e-2 * 1.01 ** (t - horizon)], axis=1)
    x = jnp.asarray(slow)
    np.testing.assert_allclose(interpolate(few, pick(few, x)), x, atol=1e-7)
    y = jnp.asarray(np.random.default_rng(0).standard_normal((len(few.dates), 2)))
    z = jnp.asarray(np.random.default_rng(1).standard_normal((horizon, 2)))
    assert float((interpolate(few, y) * z).sum()) == pytest.approx(float((y * fold(few, z)).sum()), rel=1e-12)
    assert float((pick(few, z) * y).sum()) == pytest.approx(float((z * scatter(few, y)).sum()), rel=1e-12)
    fast = 0.75 ** t[:, None] * np.cos(t[:, None])
    assert CoarseDates.that_hold(slow, slow[:, :0]) == (few if horizon == 300 else CoarseDates(horizon, 120, 60))
    assert CoarseDates.that_hold((-0.99) ** t[:, None], slow) is None
    # of what may be hopeless, what can be done is done
    more = CoarseDates.that_hold(slow, fast)
    assert more is not None and more.first > 60


def test_where_few_dates_do_not_do_there_are_more_before_all() -> None:
    """A longer horizon has more last dates, and half again as many where its few ones fail; short ones go to all."""
    slow = 0.985 ** np.arange(1500)[:, None]
    few = CoarseDates.that_hold(slow, slow)
    assert few is not None and few.last >= 50
    more = few.more()
    assert more is not None and len(few.dates) < len(more.dates) < 450
    assert more.last == 150 and more.more() is None
    assert CoarseDates(300, 60, 60).more() is None


@pytest.mark.parametrize("horizon", [2000, 3000, 6000])
def test_the_longest_horizons_have_few_dates_too(horizon: int) -> None:
    slow = 0.985 ** np.arange(horizon)[:, None]
    few = CoarseDates.that_hold(slow, slow)
    assert few is not None and len(few.dates) < 450


@pytest.mark.long
def test_the_value_at_more_dates_is_that_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    target = posterior(HOURS, 800)
    point = target.reference()
    want = target.evaluate(point).log_likelihood
    more, every = (
        Posterior(target.model, target.data, 800, 533, None, solver)
        for solver in (target.solver.at_more_dates, target.solver.at_every_date)
    )
    assert len(more.solver.structure.coarse.dates) > len(target.solver.structure.coarse.dates)
    assert every.solver.structure.coarse is None
    exact = every.evaluate(point).log_likelihood
    assert more.evaluate(point).log_likelihood == pytest.approx(exact, abs=1e-6)
    assert want == pytest.approx(exact, abs=1e-5)
    # no solution passes at few dates, nor at more: the value is that of all
    monkeypatch.setattr(equilibrium, "FAILURE", -1.0)
    fresh = Posterior(target.model, target.data, 800, 533)
    assert fresh.evaluate(point).log_likelihood == pytest.approx(exact, abs=1e-6)


@pytest.mark.long
def test_few_dates_give_the_solution_of_all_dates_and_its_gradient() -> None:
    target = posterior(HOURS, 300)
    structure, *given = ingredients(target)
    assert structure.coarse is not None and len(structure.coarse.dates) < 160
    mine, theirs = (np.asarray(solve(st, *given)) for st in (structure, replace(structure, coarse=None)))
    size = np.abs(theirs).max((0, 2)) + 1e-12
    assert (np.abs(mine - theirs).max((0, 2)) / size).max() < 1e-7
    weights = jnp.asarray(np.random.default_rng(1).standard_normal(mine.shape) / size[:, None])

    system, household, paths = given
    roots = jnp.full(paths.shape[1], 0.9)

    # along what parameters do to paths: these stay sums of geometric ones
    def value(st: Structure, system: LinearSystem, roots: jax.Array) -> jax.Array:
        along = roots ** jnp.arange(300.0)[:, None]
        total: jax.Array = (weights * solve_equilibrium(st, system, household, along)).sum()
        return total

    gradient = jax.jit(jax.grad(value, argnums=(1, 2)), static_argnums=0)
    found = (gradient(st, system, roots) for st in (structure, replace(structure, coarse=None)))
    for a, b, at in zip(*map(jax.tree.leaves, (*found, (system, roots))), strict=True):
        stands = np.asarray(at) != 0.0
        np.testing.assert_allclose(a[stands], b[stands], atol=1e-6 * float(jnp.abs(b[stands]).max(initial=0.0)))


@pytest.mark.long
def test_what_oscillates_for_long_is_refused_at_few_dates() -> None:
    """A shock that changes its sign every quarter."""
    structure, system, household, paths = ingredients(posterior(HOURS, 300))
    sign = jnp.asarray((-0.97) ** np.arange(300.0))[:, None]
    assert not np.isfinite(np.asarray(solve(structure, system, household, paths * 0 + sign))).any()
    assert np.isfinite(np.asarray(solve(replace(structure, coarse=None), system, household, paths * 0 + sign))).all()


@pytest.mark.long
def test_where_few_dates_fail_the_value_is_that_of_all_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one and together: no solution passes here."""
    target = posterior(HOURS, 300)
    point = target.reference()
    want = target.evaluate(point, True)
    monkeypatch.setattr(equilibrium, "FAILURE", -1.0)
    fresh = Posterior(target.model, target.data, 300, 200)
    assert fresh.solver.structure.coarse is not None
    np.testing.assert_allclose(fresh.solver.responses_at(point), target.solver.responses_at(point), atol=1e-6)
    found = fresh.evaluate(point, True)
    assert found.reason == want.reason == "ok"
    assert found.gradient is not None and want.gradient is not None
    assert found.log_likelihood == pytest.approx(want.log_likelihood, abs=1e-5)
    np.testing.assert_allclose(found.gradient, want.gradient, rtol=1e-5, atol=1e-5 * np.abs(want.gradient).max())
    (together,) = vectorize(fresh, 1).evaluate_batch(point[None])
    assert together.log_likelihood == pytest.approx(found.log_likelihood, abs=1e-8)
