"""Interpolation of policies against scipy's PCHIP, and derivatives without jumps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import PchipInterpolator

from estimhank.households.interpolation import interpolate_rows, interpolate_rows_smoothly

GRID = jnp.asarray(np.expm1(np.expm1(np.linspace(0.0, 1.1, 30))))
KNOTS = jnp.stack([1.04 * GRID - shift + 0.2 * jnp.sqrt(GRID) for shift in (0.05, 0.3, -0.1)])


def test_the_smooth_interpolant_is_pchip_between_the_knots_and_goes_on_straight() -> None:
    x = jnp.linspace(-0.2, float(KNOTS.max()) + 1.0, 500)
    found = np.asarray(interpolate_rows_smoothly(x, KNOTS, GRID))
    for row, knots in zip(found, np.asarray(KNOTS), strict=True):
        inside = (x >= knots[0]) & (x <= knots[-1])
        reference = PchipInterpolator(knots, np.asarray(GRID))
        np.testing.assert_allclose(row[inside], reference(x)[inside], atol=1e-12)
        for beyond, end, value in ((x < knots[0], knots[0], GRID[0]), (x > knots[-1], knots[-1], GRID[-1])):
            line = value + reference(end, 1) * (np.asarray(x) - end)
            np.testing.assert_allclose(row[beyond], line[beyond], atol=1e-11)
        assert (np.diff(row) > 0).all()


def test_its_derivatives_are_those_of_differences_in_every_argument() -> None:
    rng, step = np.random.default_rng(0), 1e-6
    x = jnp.linspace(-0.2, float(KNOTS.max()) + 1.0, 200)
    move = [jnp.asarray(rng.standard_normal(a.shape)) for a in (x, KNOTS, GRID)]
    move[2] = move[2] * 0.01
    ends = [
        interpolate_rows_smoothly(*(a + s * step * m for a, m in zip((x, KNOTS, GRID), move, strict=True)))
        for s in (1, -1)
    ]
    tangent = jax.jvp(interpolate_rows_smoothly, (x, KNOTS, GRID), tuple(move))[1]
    np.testing.assert_allclose(tangent, (ends[0] - ends[1]) / (2 * step), atol=2e-7)


def test_the_derivative_in_the_knots_jumps_at_a_knot_only_where_policies_are_linear() -> None:
    """Response at a grid point to a shift of the knot that crosses it."""
    at = GRID[12:13]
    sizes = {}
    for interpolate in (interpolate_rows, interpolate_rows_smoothly):

        def response(gap: float, interpolate=interpolate) -> np.ndarray:
            knots = (KNOTS - (KNOTS[:, 12] - at + gap)[:, None])[:1]
            return np.asarray(jax.jacfwd(lambda k: interpolate(at, k, GRID))(knots)).ravel()

        sizes[interpolate] = np.abs(response(1e-9) - response(-1e-9)).max()
    assert sizes[interpolate_rows] > 1e-3 and sizes[interpolate_rows_smoothly] < 1e-6
