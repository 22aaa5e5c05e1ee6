"""Workers train and draw what one process does, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import jax
import numpy as np
import pytest

from benchmarks.known_targets import banana
from estimhank.evaluation.engine import Engine
from estimhank.evaluation.workers import InTurn
from estimhank.surrogate.fast_mh import draw, warm_up
from estimhank.surrogate.fitting import Fitter, Whitening
from estimhank.surrogate.points import points_from
from tests.helpers.hand_made import normal_surrogate
from tests.helpers.in_memory import candidates
from tests.helpers.stages import TRAINING, D

TARGET = banana(D)


@pytest.fixture(scope="module")
def workers() -> Iterator[Engine]:
    """Two processes, whose start takes longer than what they are asked."""
    with Engine(TARGET, "loky", workers=2) as engine:
        yield engine


def test_networks_trained_beside_each_other_are_those_of_one_process(workers: Engine) -> None:
    points = points_from(candidates(TARGET, 800), TARGET.transform)
    whitening = Whitening.from_moments(np.zeros(D), np.diag([1.0, 2.4, 1.0]))
    config = replace(TRAINING, ensemble=2, epochs=20)
    one, _ = Fitter(TARGET, config).fit(points, whitening, 20, 1)
    beside, _ = Fitter(TARGET, config, workers=workers).fit(points, whitening, 20, 1)
    jax.tree.map(np.testing.assert_array_equal, one.parameters, beside.parameters)


def test_chains_run_beside_each_other_are_those_of_one_process(workers: Engine) -> None:
    surrogate, n = normal_surrogate(np.zeros(D), np.eye(D)), 64
    starts = np.random.default_rng(0).standard_normal((n, D)).astype(np.float32)
    chains, proposal = warm_up(surrogate, starts, np.ones(n), seed=1)
    one, beside = (draw(surrogate, chains, proposal, 10, 3, 5, where) for where in (InTurn(TARGET), workers))
    np.testing.assert_array_equal(beside.z, one.z)
    assert beside.seconds > 0 and beside.acceptance > 0
