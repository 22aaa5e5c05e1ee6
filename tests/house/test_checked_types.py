"""An argument the wrong way round is found out where it is handed over, in the tests; a run checks nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from estimhank.households.interpolation import interpolate_rows
from estimhank.likelihood.autocovariance import autocovariances
from estimhank.likelihood.dense import dense_log_likelihood
from estimhank.likelihood.levinson import toeplitz_log_likelihood
from estimhank.networks.mlp import evaluate_network, initial_weights
from estimhank.sequence_space.dense_equations import unstack_dates

GAMMA = jnp.stack([jnp.eye(2), 0.3 * jnp.eye(2), 0.1 * jnp.eye(2)])
COEFFICIENTS = 0.5 ** jnp.arange(12.0)[:, None, None] * jnp.ones((12, 2, 3))


@pytest.mark.parametrize(
    ("function", "right", "wrong"),
    [
        (autocovariances, (COEFFICIENTS, jnp.full(3, 0.5), 4, 8), (COEFFICIENTS, jnp.full(2, 0.5), 4, 8)),
        (autocovariances, (COEFFICIENTS, jnp.full(3, 0.5), 4, 8), (COEFFICIENTS[0], jnp.full(3, 0.5), 4, 8)),
        (toeplitz_log_likelihood, (GAMMA, np.ones((3, 2))), (GAMMA, np.ones((2, 3)))),
        (dense_log_likelihood, (GAMMA, np.ones((3, 2))), (GAMMA, np.ones((3, 2, 1)))),
        (interpolate_rows, (jnp.arange(5.0), jnp.ones((2, 4)).cumsum(1), jnp.arange(4.0)),
         (jnp.arange(5.0), jnp.ones((4, 2)).cumsum(0), jnp.arange(4.0))),
        (unstack_dates, (jnp.ones((6, 2)), 3), (jnp.ones(6), 3)),
    ],
)  # fmt: skip
def test_a_transposed_argument_is_an_error(function: Any, right: tuple[Any, ...], wrong: tuple[Any, ...]) -> None:
    function(*right)
    with pytest.raises(TypeCheckError):
        function(*wrong)


def test_a_network_takes_points_by_rows() -> None:
    weights = initial_weights(3, (4,), "celu", 0)
    assert evaluate_network(weights, jnp.ones((5, 3), jnp.float32), (4,), "celu").shape == (5,)
    with pytest.raises(TypeCheckError):
        evaluate_network(weights, jnp.ones(3, jnp.float32), (4,), "celu")


def test_a_run_checks_nothing_and_imports_no_checker() -> None:
    code = (
        "import sys, jax.numpy as jnp\n"
        "from estimhank.sequence_space.dense_equations import stack_dates\n"
        "import estimhank.run.pipeline\n"
        "stack_dates(jnp.ones((2, 3, 4), bool))\n"
        "assert 'jaxtyping' in sys.modules and 'beartype' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
