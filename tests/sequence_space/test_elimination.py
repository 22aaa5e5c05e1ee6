"""The choice of dense variables: against all that there are, against one dense solution, for large and odd systems."""

from __future__ import annotations

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimhank.parameters.parameter_table import ModelError
from estimhank.sequence_space.elimination import CONDITION_LIMIT, Elimination, choose_elimination
from estimhank.sequence_space.equilibrium import solve_equilibrium
from estimhank.sequence_space.household_operator import household_operator
from estimhank.sequence_space.linear_system import LinearSystem
from estimhank.sequence_space.structure import Structure
from tests.helpers.large_systems import as_system, mixed, sectors

T = 12
DATES = 40


def draw_system(rng: np.random.Generator, n: int, blocks: int, rank_loss: int) -> LinearSystem:
    """Sparse random equations of n unknowns; ``rank_loss`` of them have no present of their own."""
    n_eq = n - blocks

    def sparse(share: float) -> np.ndarray:
        return rng.standard_normal((n_eq, n)) * (rng.uniform(size=(n_eq, n)) < share)

    share = float(rng.choice([0.25, 0.4]))
    lag, now, lead = 0.4 * sparse(share), sparse(share), 0.4 * sparse(share)
    now[:, rng.permutation(n)[:n_eq]] += np.eye(n_eq)
    for _ in range(rank_loss):
        one, other = rng.choice(n_eq, 2, replace=False)
        if rng.uniform() < 0.5:
            now[one] = now[other] * rng.standard_normal()
        else:
            now[one], lag[one, rng.integers(n)], lead[one, rng.integers(n)] = 0.0, 1.0, 1.0
    return as_system(lag, now, lead, rng.standard_normal((n_eq, 2)))


def condition(system: LinearSystem, rows: tuple[int, ...], rest: tuple[int, ...]) -> float:
    """Of the truncated banded block and of all its leading blocks' last pivots, in the 1-norm, by dense inverses."""
    lag, now, lead = (np.asarray(m)[np.ix_(rows, rest)] for m in system[:3])
    if not rest:
        return 1.0
    size = np.abs(np.hstack([lag, now, lead])).max(axis=1, keepdims=True)
    lag, now, lead = (m / np.maximum(size, 1e-300) for m in (lag, now, lead))
    eye = np.eye
    whole = np.kron(eye(DATES), now) + np.kron(eye(DATES, k=-1), lag) + np.kron(eye(DATES, k=1), lead)
    pivot, worst = now, 0.0
    try:
        for _ in range(DATES):
            worst = max(worst, float(np.linalg.cond(pivot, 1)))
            pivot = now - lag @ np.linalg.solve(pivot, lead)
        return max(worst, float(np.linalg.cond(whole, 1)))
    except np.linalg.LinAlgError:
        return np.inf


def best_of_all(system: LinearSystem, blocks: int) -> tuple[int, float]:
    """The fewest dense variables with which a banded block is not singular, and the smallest condition number then."""
    n_eq, n = system.now.shape
    for extra in range(n_eq + 1):
        found = [
            condition(
                system,
                tuple(i for i in range(n_eq) if i not in targets),
                tuple(i for i in range(n) if i not in dense),
            )
            for dense in combinations(range(n), blocks + extra)
            for targets in combinations(range(n_eq), extra)
        ]
        if min(found) < CONDITION_LIMIT:
            return blocks + extra, min(found)
    raise AssertionError("all dense is never singular")


def small_case(seed: int) -> tuple[LinearSystem, int, tuple[int, ...]]:
    rng = np.random.default_rng(seed)
    blocks = seed % 3
    n = int(rng.integers(4, 6)) + (blocks > 0)
    household = tuple(int(i) for i in range(n)) if blocks else ()
    return draw_system(rng, n, blocks, int(rng.integers(0, 3))), blocks, household


def choose(system: LinearSystem, blocks: int = 0, household: tuple[int, ...] = (), **options: object) -> Elimination:
    names = tuple(f"v{i}" for i in range(system.now.shape[1]))
    return choose_elimination([system], names, household, blocks, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(24))
def test_no_choice_of_a_small_system_is_better(seed: int) -> None:
    system, blocks, household = small_case(seed)
    try:
        found = choose(system, blocks, household)
    except ModelError:
        # refused: no household of any kind makes the whole regular
        assert blocks == 0 and not np.linalg.cond(stack(system)) < 1e12
        return
    if blocks == 0 and not found.dense:
        assert np.linalg.cond(np.asarray(system.now)) < CONDITION_LIMIT
        return
    fewest, smallest = best_of_all(system, blocks)
    assert len(found.dense) == fewest and len(found.targets) == fewest - blocks
    assert condition(system, found.rows, found.rest) < 1.1 * smallest


def stack(system: LinearSystem) -> np.ndarray:
    lag, now, lead = (np.asarray(m) for m in system[:3])
    eye = np.eye
    return np.kron(eye(T), now) + np.kron(eye(T, k=-1), lag) + np.kron(eye(T, k=1), lead)


def solutions(
    system: LinearSystem, found: Elimination, inputs: tuple[int, ...], outputs: tuple[int, ...], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Responses by elimination, and by one dense solution of all equations of all dates, household Jacobians random."""
    rng = np.random.default_rng(seed)
    n_eq, n = system.now.shape
    paths = 0.8 ** np.arange(T)[:, None] * np.ones(system.shock.shape[1])
    by_date = 0.3 * rng.standard_normal((T, len(inputs), len(outputs), T))
    structure = Structure(found, inputs, outputs)
    mine = solve_equilibrium(
        structure, jax.tree.map(jnp.asarray, system), household_operator(jnp.asarray(by_date)), jnp.asarray(paths)
    )
    size = np.abs(np.hstack(system[:3])).max(axis=1, keepdims=True)
    scaled = as_system(*(np.asarray(m) / size for m in system))
    whole = np.concatenate([stack(scaled), np.zeros((T * len(outputs), T * n))])
    for o, output in enumerate(outputs):
        for t in range(T):
            row = T * n_eq + o * T + t
            whole[row, t * n + output] = 1.0
            for i, v in enumerate(inputs):
                whole[row, v::n] -= by_date[:, i, o, t]
    force = np.concatenate(
        [(scaled.shock[None] * paths[:, None]).reshape(T * n_eq, -1), np.zeros((T * len(outputs), 2))]
    )
    return np.asarray(mine), np.linalg.solve(whole, -force).reshape(T, n, -1)


@pytest.mark.parametrize(("seed", "decades"), [(0, 0), (1, 6), (2, 6), (3, 6), (5, 0)])
def test_the_solution_is_that_of_all_dates_at_once(seed: int, decades: int) -> None:
    rng = np.random.default_rng(seed)
    blocks = seed % 3
    system = mixed(rng, draw_system(rng, 6, blocks, 1), decades)
    outputs = tuple(range(6 - blocks, 6))
    inputs = (0, 1) if blocks else ()
    found = choose(system, blocks, inputs + outputs)
    mine, expected = solutions(system, found, inputs, outputs, seed)
    np.testing.assert_allclose(mine, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())


def large(
    number: int, arbitrage: int = 0, lags: int = 1, gone: tuple[str, ...] = (), decades: float = 6.0
) -> tuple[list[LinearSystem], tuple[str, ...]]:
    """Seven random economies of the same structure, without the equations in the place of which households stand."""
    found = []
    for seed in range(7):
        economy = sectors(np.random.default_rng(seed), number, arbitrage, lags)
        names = economy.names
        for name in gone:
            economy.rows[name] = []
        keep = [i for i, rows in enumerate(economy.rows.values()) if rows]
        system = as_system(*(np.asarray(m)[keep] for m in economy.system(names)))
        found.append(mixed(np.random.default_rng(100), system, decades))
    return found, names


@pytest.mark.parametrize(
    ("sizes", "gone", "dense"),
    [
        ((7, 0, 1), (), 0),
        ((6, 0, 4), (), 0),  # lags as variables of their own
        ((7, 2, 1), (), 2),
        ((7, 7, 1), (), 7),
        ((14, 3, 1), (), 3),
        ((7, 0, 1), ("Euler",), 1),
        ((7, 0, 1), ("Euler", "bonds"), 2),
        ((14, 1, 1), ("Euler",), 2),
    ],
)
def test_large_systems_have_few_dense_variables(sizes: tuple[int, int, int], gone: tuple[str, ...], dense: int) -> None:
    systems, names = large(*sizes, gone)
    household = tuple(names.index(name) for name in ("c", "r", "y", "i")) if gone else ()
    found = choose_elimination(systems, names, household, len(gone))
    assert len(found.dense) == dense and found.condition < 1e8


def test_the_solution_of_a_large_model_with_households_is_that_of_all_dates_at_once() -> None:
    systems, names = large(7, gone=("Euler",))
    (c, r, y) = (names.index(name) for name in "cry")
    found = choose_elimination(systems, names, (r, y, c), 1)
    mine, expected = solutions(systems[3], found, (r, y), (c,), 0)
    np.testing.assert_allclose(mine, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())


def written(**equations: str) -> tuple[LinearSystem, tuple[str, ...], tuple[str, ...]]:
    """A system from words: ``rule="i pi- y+"`` holds i now, pi with a lag and y with a lead, coefficients random."""
    rng = np.random.default_rng(0)
    terms = {
        name: [(w.rstrip("+-"), w.count("+") - w.count("-")) for w in words.split()]
        for name, words in equations.items()
    }
    names = tuple(dict.fromkeys(v for row in terms.values() for v, _ in row))
    bands = np.zeros((3, len(terms), len(names)))
    for i, row in enumerate(terms.values()):
        for v, date in row:
            bands[date + 1, i, names.index(v)] += rng.uniform(0.5, 2.0)
    return as_system(*bands, np.eye(len(terms))), names, tuple(terms)


def test_equations_without_a_present_are_all_dense() -> None:
    system, names, _ = written(a="x- y+", b="y- x+")
    for wanted in ((), names):
        found = choose_elimination([system], names, (), 0, wanted)
        assert (found.dense, found.rest, found.targets) == ((0, 1), (), (0, 1))
    mine, expected = solutions(system, found, (), (), 0)
    np.testing.assert_allclose(mine, expected, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("equations", "words"),
    [
        ({"a": "x", "b": "x- x+", "c": "x y z"}, "equations 'a', 'b' hold only 'x'"),
        ({"a": "x y+ z-", "b": "x w+", "c": "x x-", "d": "x- w"}, "variables 'y', 'z' stand only in 'a'"),
        (
            {"a": "x y z-", "b": "y z", "c": "x z y", "d": "x- y- z+", "e": "v w x"},
            "variables 'v', 'w' stand only in 'e'",
        ),
    ],
)
def test_equations_that_do_not_fit_their_variables_are_named(equations: dict[str, str], words: str) -> None:
    system, names, labels = written(**equations)
    with pytest.raises(ModelError, match=words):
        choose_elimination([system], names, (), 0, equations=labels)


def test_a_variable_in_no_equation_and_an_equation_without_variables_are_named() -> None:
    system, _, labels = written(a="x y", b="y z x-", c="z x")
    lag, now, lead, shock = (np.asarray(m).copy() for m in system)
    now[:, 1] = 0.0
    with pytest.raises(ModelError, match="variable 'y' stands in no equation"):
        choose_elimination([as_system(lag, now, lead, shock)], ("x", "y", "z"), (), 0, equations=labels)
    lag, now, lead, shock = (np.asarray(m).copy() for m in system)
    now[2] = 0.0
    with pytest.raises(ModelError, match="equation 'c' holds no variable"):
        choose_elimination([as_system(lag, now, lead, shock)], ("x", "y", "z"), (), 0, equations=labels)


def test_equations_that_depend_on_each_other_are_named() -> None:
    economy = sectors(np.random.default_rng(0), 7)
    names, labels = economy.names, tuple(economy.rows)
    at = {name: labels.index(name) for name in labels}
    bands = [np.asarray(m).copy() for m in economy.system(names)]
    for m in bands[:3]:  # the rule follows from two others, a date apart where it can be
        m[at["rule"]] = 2.0 * m[at["Euler"]] - 0.5 * m[at["resources"]]
    system = as_system(*(m * 10.0 ** np.random.default_rng(1).uniform(-6, 6, (len(m), 1)) for m in bands))
    with pytest.raises(ModelError, match=r"conditions 'Euler', 'resources', 'rule' depend on each other.*Walras"):
        choose_elimination([system], names, (), 0, equations=labels)


def test_what_the_author_asks_for_is_taken_or_refused() -> None:
    system = draw_system(np.random.default_rng(4), 6, 1, 1)
    free = choose(system, 1, (0, 1, 5))
    asked = tuple(f"v{i}" for i in reversed(free.dense))
    found = choose(system, 1, (0, 1, 5), wanted=asked)
    assert found.dense == free.dense[::-1] and found.targets == free.targets and found.condition == free.condition
    # three more than there have to be
    more = tuple(f"v{i}" for i in (*free.dense, *found.rest[:2]))
    assert len(choose(system, 1, (0, 1, 5), wanted=more).targets) == len(more) - 1
    with pytest.raises(ModelError, match="do not determine the variables with v0 dense"):
        choose(system, 1, (0, 1, 5), wanted=("v0",))
    with pytest.raises(ModelError, match="dense variable 'v7' is not a variable"):
        choose(system, 1, (0, 1, 5), wanted=("v7",))
