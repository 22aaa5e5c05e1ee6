"""A surrogate trained on a density that is only near the exact one, as with emulated households: the exact draws are of
the exact density all the same, and the certificate says how near it was."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import pytest

from benchmarks.known_targets import skewed
from estimhank.surrogate.posterior_stage import run_posterior
from estimhank.surrogate.surrogate_stage import run_surrogate
from tests.helpers.in_memory import Memory, candidates, mode_of
from tests.helpers.stages import SIZES, TRAINING, Z_LIMIT, D, worst_z_scores


@pytest.mark.parametrize("off", [pytest.param(0.02, marks=pytest.mark.long), 0.6])
def test_exact_draws_are_those_of_the_exact_density(off: float) -> None:
    exact = skewed(D)
    near = replace(exact, log_pdf=lambda x: exact.log_pdf(x) + off * jnp.sin(3 * x[0]))
    trained = run_surrogate(Memory(near), near, candidates(near, 1_000), mode_of(near), TRAINING, 3)
    result = run_posterior(Memory(exact), exact, trained.surrogate, SIZES, 3)
    assert result.exact.converged, result.exact.convergence
    assert max(worst_z_scores(exact, result.exact).values()) < Z_LIMIT
    error = result.certificate.figures["s_e"].value
    assert error < 0.05 if off < 0.1 else error > 0.1 and not result.certificate.passed
