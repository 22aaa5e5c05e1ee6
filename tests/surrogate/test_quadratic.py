"""The quadratic base reproduces quadratics, from values or gradients, and always falls."""

from __future__ import annotations

import numpy as np
import pytest

from estimhank.surrogate.quadratic import Quadratic, fit_quadratic


def known(d: int) -> Quadratic:
    rng = np.random.default_rng(3)
    root = rng.standard_normal((d, d))
    return Quadratic(-2.5, rng.standard_normal(d), -(root @ root.T) - np.eye(d))


@pytest.mark.parametrize("with_gradient", [True, False])
def test_a_quadratic_is_recovered(with_gradient: bool) -> None:
    d, n = 4, 60 if not with_gradient else 12
    truth, z = known(d), np.random.default_rng(0).standard_normal((n, d))
    slope = truth.gradient(z) if with_gradient else np.full((n, d), np.nan)
    fitted = fit_quadratic(z, truth.value(z), slope, np.ones(n))
    np.testing.assert_allclose(fitted.matrix, truth.matrix, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(fitted.linear, truth.linear, rtol=1e-8, atol=1e-8)
    assert fitted.constant == pytest.approx(truth.constant, abs=1e-8)


def test_values_and_gradients_agree() -> None:
    q, z = known(3), np.random.default_rng(0).standard_normal((1, 3))
    for i, step in enumerate(1e-6 * np.eye(3)):
        assert q.gradient(z)[0, i] == pytest.approx((q.value(z + step) - q.value(z - step))[0] / 2e-6, rel=1e-6)


def test_it_falls_in_every_direction_even_where_the_data_do_not() -> None:
    z = np.random.default_rng(0).standard_normal((100, 2))
    fitted = fit_quadratic(z, z[:, 0] ** 2 - z[:, 1] ** 2, np.full_like(z, np.nan), np.ones(100))
    assert np.linalg.eigvalsh(fitted.matrix).max() == pytest.approx(-0.1)


def test_too_few_points_give_a_standard_normal() -> None:
    z = np.random.default_rng(0).standard_normal((10, 4))
    fitted = fit_quadratic(z, -0.5 * (z**2).sum(axis=1) + 7.0, np.full_like(z, np.nan), np.ones(10))
    np.testing.assert_array_equal(fitted.matrix, -np.eye(4))
    assert fitted.constant == pytest.approx(7.0)
