"""The quadratic base reproduces quadratics, from values or gradients, and always falls."""

from __future__ import annotations

import math

import numpy as np
import pytest

from estimhank.surrogate.quadratic import Quadratic, fit_base, fit_quadratic, fit_student


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


def student(d: int, freedom: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, values and gradients of a Student t that is not round and not centred."""
    rng = np.random.default_rng(4)
    root = np.tril(0.4 * rng.standard_normal((d, d))) + np.eye(d)
    u = rng.standard_normal((800, d)) * np.sqrt(freedom / rng.chisquare(freedom, 800))[:, None]
    form = (u**2).sum(axis=1)
    value = 3.0 - 0.5 * (freedom + d) * np.log1p(form / freedom)
    slope = -(freedom + d) / (freedom + form)[:, None] * np.linalg.solve(root.T, u.T).T
    return 0.3 + u @ root.T, value, slope


@pytest.mark.parametrize("with_gradient", [True, False])
def test_a_student_is_recovered_and_its_tails_are_made_heavier(with_gradient: bool) -> None:
    z, value, slope = student(3, 5.0)
    slope = slope if with_gradient else np.full_like(slope, np.nan)
    exact = fit_student(z, value, slope, np.ones(len(z)), 5.0)
    assert exact is not None
    np.testing.assert_allclose(exact.value(z), value, atol=1e-6)
    used = fit_base(z, value, slope, np.ones(len(z)))
    assert used.freedom == pytest.approx(0.8 * 5.0)
    far = 1e4 * z
    assert np.diff(used.value(np.concatenate([far, 10 * far])).reshape(2, -1), axis=0) == pytest.approx(
        -used.power * np.log(10), rel=1e-2
    )
    for i, step in enumerate(1e-6 * np.eye(3)):
        difference = (used.value(z[:1] + step) - used.value(z[:1] - step))[0] / 2e-6
        assert used.gradient(z[:1])[0, i] == pytest.approx(difference, rel=1e-5, abs=1e-6)


def test_normal_skewed_and_bimodal_densities_are_left_to_the_networks() -> None:
    z = np.random.default_rng(0).standard_normal((600, 3))
    bent = -0.5 * (z[:, 0] ** 2 + (z[:, 1] + 0.5 * z[:, 0] ** 2) ** 2 + z[:, 2] ** 2)
    skewed = z[:, 0] - np.exp(z[:, 0]) - 0.5 * (z[:, 1:] ** 2).sum(axis=1)
    for value in (-0.5 * (z**2).sum(axis=1), bent, skewed):
        assert math.isinf(fit_base(z, value, np.full_like(z, np.nan), np.ones(len(z))).power)
