"""The surrogate is a function of coordinates, and the same function after saving and loading."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from estimhank.networks.mlp import initial_weights
from estimhank.support.errors import ResultsError, StorageError
from estimhank.surrogate.surrogate import Surrogate, load_surrogate, save_surrogate
from tests.helpers.hand_made import SHAPE, normal_surrogate

MEAN, ROOT = np.array([1.0, -2.0, 300.0]), np.array([[2.0, 0, 0], [0.5, 0.1, 0], [0.3, 0.2, 1.0]])


def with_networks(count: int) -> Surrogate:
    surrogate = normal_surrogate(MEAN, ROOT)
    networks = tuple(initial_weights(3, SHAPE.hidden, SHAPE.activation, seed=k) for k in range(count))
    return replace(surrogate, parameters=surrogate.parameters._replace(networks=networks))


def points(n: int = 50) -> np.ndarray:
    return MEAN + np.random.default_rng(0).standard_normal((n, 3)) @ ROOT.T


def test_a_quadratic_surrogate_is_a_normal_log_density() -> None:
    value = normal_surrogate(MEAN, ROOT).log_density(points())
    exact = multivariate_normal(MEAN, ROOT @ ROOT.T).logpdf(points())
    np.testing.assert_allclose(value - value[0], exact - exact[0], atol=2e-5)


def test_whitening_and_its_inverse_agree() -> None:
    surrogate = normal_surrogate(MEAN, ROOT)
    assert surrogate.whiten(points()).dtype == np.float32
    np.testing.assert_allclose(surrogate.unwhiten(surrogate.whiten(points())), points(), rtol=0, atol=2e-6)


def test_the_value_is_the_mean_less_twice_the_variance_of_the_networks_and_the_spread_their_deviation() -> None:
    surrogate, x = with_networks(3), points()
    p = surrogate.parameters
    alone = [replace(surrogate, parameters=p._replace(networks=(weights,))) for weights in p.networks]
    values = np.stack([one.log_density(x) for one in alone])
    np.testing.assert_allclose(surrogate.log_density(x), values.mean(axis=0) - 2 * values.var(axis=0), atol=5e-5)
    centred = values - values.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(surrogate.spread(x), centred.std(axis=0, ddof=1), atol=5e-5)
    np.testing.assert_array_equal(alone[0].spread(x), 0.0)


def test_a_loaded_surrogate_is_the_saved_one_to_the_bit(tmp_path: Path) -> None:
    surrogate = replace(with_networks(2), modes=points(2), known=points(4))
    save_surrogate(surrogate, tmp_path)
    again = load_surrogate(tmp_path, surrogate.fingerprint)
    np.testing.assert_array_equal(again.log_density(points()), surrogate.log_density(points()))
    jax.tree.map(np.testing.assert_array_equal, again.parameters, surrogate.parameters)
    for name in ("center", "root", "modes", "known"):
        np.testing.assert_array_equal(getattr(again, name), getattr(surrogate, name))
    assert (again.names, again.constant, again.training_evaluations) == (surrogate.names, -3.0, 123)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["surrogate.json", "surrogate.npz"]
    np.load(tmp_path / "surrogate.npz", allow_pickle=False)


def test_a_surrogate_of_another_target_is_refused_and_the_sentence_says_what_differs(tmp_path: Path) -> None:
    save_surrogate(normal_surrogate(MEAN, ROOT, {"model": "a", "data": "b"}), tmp_path)
    with pytest.raises(ResultsError, match="trained on another data"):
        load_surrogate(tmp_path, {"model": "a", "data": "c"})


@pytest.mark.parametrize("damage", ["missing", "torn", "another format"])
def test_damaged_files_are_refused_in_a_sentence(tmp_path: Path, damage: str) -> None:
    arrays, description = save_surrogate(normal_surrogate(MEAN, ROOT), tmp_path)
    if damage == "missing":
        arrays.unlink()
    elif damage == "torn":
        arrays.write_bytes(arrays.read_bytes()[:100])
    else:
        changed = re.sub(r'"format": \d+', '"format": 99', description.read_text())
        assert '"format": 99' in changed
        description.write_text(changed)
    with pytest.raises(StorageError, match=r"cannot read .*surrogate\.npz"):
        load_surrogate(tmp_path)


def test_far_outside_the_fence_the_surrogate_is_finite_and_low() -> None:
    surrogate = with_networks(1)
    far = surrogate.unwhiten(np.array([[1e4, 0.0, 0.0], [30.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    value = surrogate.log_density(far)
    assert np.isfinite(value).all() and value[0] < value[1] < value[2] - 450
    np.testing.assert_array_equal(surrogate.outside(far), [True, True, False])
    np.testing.assert_array_equal(surrogate.outside(far, factor=2.0), [True, False, False])


def test_a_steeper_fence_changes_nothing_inside() -> None:
    surrogate = with_networks(1)
    steep = surrogate.with_penalty_strength(100.0)
    np.testing.assert_array_equal(steep.log_density(points()), surrogate.log_density(points()))
    outer = surrogate.unwhiten(jnp.array([[30.0, 0.0, 0.0]]))
    assert steep.log_density(outer)[0] < surrogate.log_density(outer)[0]
