"""Winding numbers: the scalar convention, thresholds of the default model, and a model whose roots are known."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import eig

from estimhank.posterior.posterior import Posterior
from estimhank.sequence_space.determinacy import HouseholdSymbol, household_symbol, winding_number
from estimhank.sequence_space.elimination import Elimination
from estimhank.sequence_space.linear_system import LinearSystem
from estimhank.sequence_space.structure import Structure

NO_HOUSEHOLD = Structure(Elimination((), (), (), (), (), (), (), (), (), (), 1.0), (), ())


_wind = jax.jit(winding_number, static_argnums=0)


def wind(lag: np.ndarray, now: np.ndarray, lead: np.ndarray) -> int:
    """Winding number of a purely aggregate system."""
    nothing: HouseholdSymbol = household_symbol(jnp.zeros((2, 0, 0, 2)))
    system = LinearSystem(*(jnp.asarray(m, float) for m in (lag, now, lead)), jnp.zeros((len(now), 1)))  # type: ignore[call-arg]
    return int(_wind(NO_HOUSEHOLD, system, nothing))


@pytest.mark.parametrize("a", [1.0001, 1.01, 1.5, 30.0])
def test_scalar_convention(a: float) -> None:
    one, zero, root = np.eye(1), np.zeros((1, 1)), np.full((1, 1), a)
    assert wind(zero, one, -root) == -1
    assert wind(-root, one, zero) == 1
    assert wind(zero, one, -1 / root) == 0
    assert wind(-1 / root, one, zero) == 0


@pytest.mark.parametrize("seed", range(30))
def test_agrees_with_counting_generalised_eigenvalues(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    lag, now, lead = (rng.normal(size=(n, n)) for _ in range(3))
    # v_t = (x_t, x_{t+1}): companion pencil; a unique stable solution needs exactly n stable roots
    a = np.block([[np.zeros((n, n)), np.eye(n)], [-lag, -now]])
    b = np.block([[np.eye(n), np.zeros((n, n))], [np.zeros((n, n)), lead]])
    roots = np.abs(eig(a, b, right=False))
    stable = int((roots < 1).sum())
    assert wind(lag, now, lead) == n - stable


@pytest.fixture(scope="module")
def reason_at(posterior: Posterior) -> Callable[[dict[str, float]], str]:
    """Outcome at parameters that may lie outside the prior's support."""
    parts = posterior.solver.steady.reference_parts

    def reason(values: dict[str, float]) -> str:
        number = int(posterior.solver.solve(np.array([values[name] for name in posterior.names]), parts).winding)
        return "determinate" if number == 0 else "indeterminate" if number < 0 else "no stable solution"

    return reason


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"phi_b": 0.0362}, "no stable solution"),
        ({"phi_b": 0.0364}, "determinate"),
        ({"phi_pi": 0.9985}, "indeterminate"),
        ({"phi_pi": 0.9987}, "determinate"),
        ({"phi_pi": 0.9, "phi_b": 0.03}, "determinate"),
        ({"phi_pi": 0.9, "phi_b": 0.1}, "indeterminate"),
        ({"phi_pi": 3.0, "phi_b": 0.01}, "no stable solution"),
    ],
    ids=str,
)
def test_thresholds_of_the_default_model(
    reason_at: Callable[[dict[str, float]], str], reference: dict[str, float], changes: dict[str, float], expected: str
) -> None:
    assert reason_at({**reference, **changes}) == expected


@pytest.mark.long
def test_prior_share_without_a_stable_solution(posterior: Posterior) -> None:
    draws = posterior.sample_prior(np.random.default_rng(5), 300)
    reasons = [posterior.evaluate(theta).reason for theta in draws]
    share = reasons.count("no_stable_solution") / len(reasons)
    # 15 % of the prior at the other parameters' reference values
    assert 0.08 < share < 0.23
    assert set(reasons) <= {"ok", "no_stable_solution", "indeterminate", "horizon"}
    assert reasons.count("horizon") <= 3  # next to the boundary
