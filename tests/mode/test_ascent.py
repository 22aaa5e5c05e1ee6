"""Quasi-Newton ascent on functions with known maxima."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from estimhank.mode.ascent import Value, ascend, restrict, run_in_lockstep


def rosenbrock(points: np.ndarray) -> list[Value]:
    return [Value(-float(rosen(x)), -rosen_der(x)) for x in points]


def test_a_curved_valley_is_followed_to_its_end_about_as_fast_as_by_scipy() -> None:
    start = np.array([-1.2, 1.0, -0.5, 2.0])
    (end,) = run_in_lockstep([ascend(start, np.eye(4))], rosenbrock)
    reference = minimize(rosen, start, jac=rosen_der, method="BFGS")
    assert end.status == "converged"
    np.testing.assert_allclose(end.x, np.ones(4), atol=1e-3)
    assert end.evaluations < 2 * reference.nfev + 20


def test_searches_in_lockstep_do_not_disturb_each_other() -> None:
    starts = np.random.default_rng(0).uniform(-2, 2, (5, 3))
    together = run_in_lockstep([ascend(start, np.eye(3)) for start in starts], rosenbrock)
    alone = [run_in_lockstep([ascend(start, np.eye(3))], rosenbrock)[0] for start in starts]
    for one, other in zip(together, alone, strict=True):
        assert one.x.tobytes() == other.x.tobytes() and one.evaluations == other.evaluations


def test_the_metric_approaches_the_inverse_hessian() -> None:
    precision = np.array([[4.0, 1.0], [1.0, 2.0]])

    def normal(points: np.ndarray) -> list[Value]:
        return [Value(-0.5 * float(x @ precision @ x), -precision @ x) for x in points]

    (end,) = run_in_lockstep([ascend(np.array([3.0, -2.0]), np.eye(2), tolerance=1e-14)], normal)
    np.testing.assert_allclose(end.metric, np.linalg.inv(precision), rtol=0.05)


def test_values_and_gradients_that_are_not_finite_count_as_infeasible() -> None:
    def walled(points: np.ndarray) -> list[Value]:
        return [
            Value(-np.inf, np.full(1, np.nan)) if x[0] > 2 else Value(-float((x[0] - 1.9) ** 2), -2 * (x - 1.9))
            for x in points
        ]

    (end,) = run_in_lockstep([ascend(np.array([-30.0]), 100 * np.eye(1))], walled)
    assert end.status == "converged" and end.x[0] == pytest.approx(1.9, abs=1e-3)


def test_an_infeasible_start_is_reported() -> None:
    (end,) = run_in_lockstep([ascend(np.zeros(2), np.eye(2))], lambda points: [Value(-np.inf, np.zeros(2))])
    assert end.status == "infeasible" and end.evaluations == 1


def test_a_search_ends_at_its_limit() -> None:
    (end,) = run_in_lockstep([ascend(np.array([-1.2, 1.0]), np.eye(2), max_evaluations=10)], rosenbrock)
    assert end.status == "unfinished" and 10 <= end.evaluations <= 40


def test_a_start_that_slides_into_an_edge_begins_again_further_inside() -> None:
    """The climb from the start runs into a wall behind which the density does not exist; the peak is elsewhere."""

    def walled(points: np.ndarray) -> list[Value]:
        values = []
        for x in points:
            if x[0] < -4.0 + 0.3 * np.sin(3 * x[1]):
                values.append(Value(-np.inf, np.zeros(2)))
                continue
            # a slope towards the wall on the left, a quadratic peak at (2, 1) on the right
            near = np.exp(-((x[0] + 6) ** 2) / 4)
            value = -((x[0] - 2) ** 2) - (x[1] - 1) ** 2 + 80 * near
            slope = np.array([-2 * (x[0] - 2) - 40 * (x[0] + 6) * near, -2 * (x[1] - 1)])
            values.append(Value(float(value), slope))
        return values

    start, peak = np.array([-3.5, 0.0]), np.array([2.0, 1.0])
    (alone,) = run_in_lockstep([ascend(start, np.eye(2))], walled)
    (helped,) = run_in_lockstep([ascend(start, np.eye(2), interior=np.array([1.0, 0.0]))], walled)
    assert alone.status == "stalled"
    assert alone.value < helped.value or helped.status == "converged"
    np.testing.assert_allclose(helped.x, peak, atol=1e-3)


def test_a_search_in_some_coordinates_leaves_the_others_alone() -> None:
    scale = np.array([1.0, 4.0, 9.0])

    def quadratic(points: np.ndarray) -> list[Value]:
        assert (points[:, 1] == 2.0).all()
        # the slope along the coordinate that does not move is not known
        slopes = np.where([False, True, False], np.nan, -scale * (points - 1.0))
        return [Value(-0.5 * float(scale @ (x - 1.0) ** 2), s) for x, s in zip(points, slopes, strict=True)]

    free = np.array([0, 2])
    search = restrict(ascend(np.array([3.0, -1.0]), np.eye(2)), np.array([3.0, 2.0, -1.0]), free)
    (end,) = run_in_lockstep([search], quadratic)
    np.testing.assert_allclose(end.x, [1.0, 2.0, 1.0], atol=1e-4)
    assert end.status == "converged" and end.metric.shape == (2, 2) and end.evaluations > 2


def test_small_jumps_end_a_climb_soon_and_without_beginning_again() -> None:
    """A quadratic whose value has steps of 0.3 that its gradient does not know of."""
    scale = np.array([1.0, 30.0])

    def stepped(points: np.ndarray) -> list[Value]:
        values = -0.5 * (scale * points**2).sum(axis=1) - 0.3 * (np.floor(7 * points.sum(axis=1)) % 2)
        return [Value(float(v), -scale * x) for v, x in zip(values, points, strict=True)]

    (end,) = run_in_lockstep([ascend(np.array([3.0, 2.0]), np.eye(2), interior=np.zeros(2))], stepped)
    assert end.status in ("rough", "converged") and end.evaluations < 150
    assert end.value > -0.4
