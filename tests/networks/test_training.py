"""The training loop on examples of its own: it learns values from gradients, respects bounds, and repeats itself."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from estimhank.evaluation.workers import InTurn
from estimhank.networks.mlp import initial_weights
from estimhank.networks.settings import TrainingConfig
from estimhank.networks.training import Examples, TrainingError, ensemble_losses, examples, padded, train_ensemble

ALONE = InTurn(None)  # type: ignore[arg-type]  # nobody asks for a target
D = 2
CONFIG = TrainingConfig((16, 16), "silu", ensemble=2, gradient_weight=1.0)


def wave(n: int, seed: int = 0) -> Examples:
    z = np.random.default_rng(seed).standard_normal((n, D))
    gradient = np.column_stack([np.cos(z[:, 0]), 0.5 * np.ones(n)])
    return examples(z, np.sin(z[:, 0]) + 0.5 * z[:, 1], gradient, np.ones(n), np.zeros(n, bool))


def test_an_ensemble_learns_a_function_and_repeats_itself() -> None:
    data, fresh = wave(400), wave(500, seed=1)
    networks, losses = train_ensemble(data, np.arange(400), CONFIG, 200, 1, ALONE)
    again, _ = train_ensemble(data, np.arange(400), CONFIG, 200, 1, ALONE)
    jax.tree.map(np.testing.assert_array_equal, networks, again)
    assert len(networks) == len(losses) == 2 and (losses[:, -1] < 0.1 * losses[:, 0]).all()
    value, gradient = ensemble_losses(networks, fresh, CONFIG.hidden, CONFIG.activation)
    assert float(value) < 0.1 and float(gradient) < 0.3
    # and goes on from where it was, rather than from the beginning
    _, further = train_ensemble(data, np.arange(400), CONFIG, 20, 2, ALONE, begin=networks)
    assert (further[:, 0] < 0.1 * losses[:, 0]).all()


def test_a_bound_from_above_costs_nothing_from_below() -> None:
    data = wave(400)
    low = data._replace(value=data.value + 5, known=np.zeros_like(data.known), upper_bound=np.ones_like(data.value))
    networks, losses = train_ensemble(low, np.arange(400), replace(CONFIG, ensemble=1), 50, 1, ALONE)
    assert losses[0, -1] < 1e-3, "a network near zero is below 3 everywhere"
    value = float(ensemble_losses(networks, data, CONFIG.hidden, CONFIG.activation)[0])
    assert 0.2 < value < 3.0, "and need not follow what it was not told"


def test_a_loss_that_stays_infinite_is_refused_in_a_sentence() -> None:
    n = 64
    z = np.random.default_rng(0).standard_normal((n, D))
    data = examples(z, np.full(n, 1e30), np.full((n, D), np.nan), np.ones(n), np.zeros(n, bool))
    with pytest.raises(TrainingError, match="loss is not finite"):
        train_ensemble(data, np.arange(n), TrainingConfig((8,), "silu", 1), 2, 1, ALONE)


def test_padding_adds_examples_that_do_not_count() -> None:
    z = np.ones((5, D))
    data = examples(z, np.ones(5), np.full((5, D), np.nan), np.ones(5), np.zeros(5, bool))
    more = padded(data)
    assert len(data.z) == 5 and more.z.shape[0] % 512 == 0
    assert float(more.weight.sum()) == 5.0 and float(more.known.sum()) == 0.0
    assert all(column.dtype == np.float32 for column in more)
    networks = (initial_weights(D, (8,), "silu", 1),)
    np.testing.assert_allclose(
        ensemble_losses(networks, more, (8,), "silu"), ensemble_losses(networks, data, (8,), "silu"), rtol=1e-5
    )
