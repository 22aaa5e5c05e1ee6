"""A mode inside, a supremum on a bound, a density that rises to an edge and a plateau are told apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estimhank.analysis.mode_words import mode_words
from estimhank.evaluation.engine import Engine
from estimhank.evaluation.recorder import Recorder
from estimhank.evaluation.store import EvaluationStore
from estimhank.mode.mode_result import ModeResult, read_mode, write_mode
from estimhank.mode.search import ModeConfig, find_mode
from estimhank.target.any_density import from_log_density
from estimhank.target.protocol import Target

SMALL = ModeConfig(starts=6, candidates=64, slice_points=5)


def search(folder: Path, target: Target) -> ModeResult:
    with EvaluationStore.open(folder / "evaluations.bin", target.names, target.fingerprint) as store:
        return find_mode(Recorder(Engine(target, "serial"), store), target, SMALL, seed=1)


def density(log_pdf: Callable[[np.ndarray], float], d: int, **options: Any) -> Target:
    names = [f"x{i}" for i in range(d)]
    options = {"scale": 1.0, **options}
    return from_log_density(log_pdf, names, options.pop("center", np.zeros(d)), options.pop("scale"), **options)


def cut(where: float, pull: float = 0.0) -> Callable[[np.ndarray], float]:
    """Normal around (pull, 0, 0), without a density where the first coordinate is above ``where``."""
    return lambda t: -np.inf if t[0] > where else -0.5 * float((t[0] - pull) ** 2 + t[1:] @ t[1:])


def test_a_peak_inside_the_half_space_is_an_interior_mode(tmp_path: Path) -> None:
    result = search(tmp_path, density(cut(0.5), 3))
    assert result.kind == "interior" and result.positive_definite and not result.bounds
    np.testing.assert_allclose(result.theta, np.zeros(3), atol=1e-4)
    assert len(result.modes) == 1 and not mode_words(result)


def test_a_peak_beyond_the_half_space_is_no_mode(tmp_path: Path) -> None:
    result = search(tmp_path, density(cut(0.5, pull=2.0), 3))
    assert result.kind == "edge"
    best = result.suprema[0]
    assert best.parameters == ("x0",) and best.theta[0] == pytest.approx(0.5, abs=0.01) and best.theta[0] <= 0.5
    (words,) = mode_words(result)
    assert "No start ended at a mode" in words and ("x0 = 0.5" in words or "x0 = 0.49" in words)


def test_an_interior_mode_is_reported_though_the_density_is_higher_at_an_edge(tmp_path: Path) -> None:
    def two(t: np.ndarray) -> float:
        if t[0] > 4.0:
            return -np.inf
        return float(np.logaddexp(-0.5 * t[0] ** 2, 1.5 - 0.5 * ((t[0] - 5.0) / 0.5) ** 2)) - 0.5 * float(t[1] ** 2)

    result = search(tmp_path, density(lambda t: two(t) + 3 * max(t[0] - 1.0, 0.0), 2, scale=3.0))
    assert result.kind == "interior" and abs(result.theta[0]) < 1e-3
    assert all(abs(mode.theta[0]) < 1e-3 for mode in result.modes)
    assert result.suprema and result.suprema[0].log_density > result.log_density
    assert result.suprema[0].parameters == ("x0",) and result.suprema[0].theta[0] == pytest.approx(4.0, abs=0.02)
    (words,) = mode_words(result)
    assert "also rises to the edge" in words and "above the mode" in words and "x0 = " in words


def test_an_ordering_constraint_is_an_edge_of_two_parameters(tmp_path: Path) -> None:
    def ordered(t: np.ndarray) -> float:
        return -0.5 * float((t[0] - 1) ** 2 + (t[1] + 1) ** 2) if t[0] < t[1] else -np.inf

    result = search(tmp_path, density(ordered, 2, center=[-1.0, 1.0]))
    assert result.kind == "edge" and result.suprema[0].parameters == ("x0", "x1")
    assert abs(result.suprema[0].theta[0] - result.suprema[0].theta[1]) < 0.02


def test_a_uniform_disc_is_a_plateau(tmp_path: Path) -> None:
    result = search(tmp_path, density(lambda t: 0.0 if t @ t < 1 else -np.inf, 2))
    assert result.kind == "flat" and len(result.modes) == 1 and not result.suprema
    assert any("flat around the mode" in words for words in mode_words(result))


def test_a_density_that_rises_to_a_bound_of_the_prior_has_its_supremum_there(tmp_path: Path) -> None:
    bounds = {"x0": (0.0, 1.0)}
    result = search(
        tmp_path, density(lambda t: 2 * t[0] - 0.5 * t[1] ** 2, 2, center=[0.5, 0.0], scale=0.1, bounds=bounds)
    )
    assert result.kind == "bound" and result.bounds == ("x0",) and result.theta[0] == pytest.approx(1.0, abs=1e-3)
    assert any("bound of the prior's support, at x0 = 1.0" in words for words in mode_words(result))


def test_what_kind_of_mode_it_is_survives_a_file(tmp_path: Path) -> None:
    result = search(tmp_path, density(cut(0.5, pull=2.0), 3))
    again = read_mode(write_mode(tmp_path / "mode.json", result))
    assert (again.kind, again.bounds) == (result.kind, result.bounds)
    assert again.suprema[0].reason == result.suprema[0].reason and again.suprema[0].parameters == ("x0",)
    np.testing.assert_array_equal(again.suprema[0].x, result.suprema[0].x)


@pytest.mark.parametrize("away", [1e-9, 1.2e-16])  # the second is next to one: nothing in between is a number
@pytest.mark.parametrize("slopes", [True, False])
@pytest.mark.parametrize(("mean", "low", "high"), [(0.93, 0.0, 1.0), (0.07, 0.0, 1.0), (0.2, 0.0, np.inf)])
def test_a_climb_held_at_a_bound_that_the_density_falls_towards_is_no_mode(
    tmp_path: Path, mean: float, low: float, high: float, slopes: bool, away: float
) -> None:
    """Next to a bound the gradient of the coordinates vanishes; that of the parameter shows that it is no top."""
    bound = high if mean > 0.5 else low

    def log_pdf(t: np.ndarray) -> float:
        return -0.5 * float(((t[0] - mean) / 0.02) ** 2 + t[1] ** 2)

    def gradient(t: np.ndarray) -> np.ndarray:
        return np.array([-(t[0] - mean) / 0.02**2, -t[1]])

    options = {"gradient": gradient} if slopes else {}
    target = from_log_density(log_pdf, ["a", "b"], [mean, 0.0], [0.1, 1.0], bounds={"a": (low, high)}, **options)  # type: ignore[arg-type]
    held = np.array([[bound + np.sign(mean - bound) * away, 0.3]])
    with EvaluationStore.open(tmp_path / "evaluations.bin", target.names, target.fingerprint) as store:
        result = find_mode(Recorder(Engine(target, "serial"), store), target, SMALL, seed=1, extra_starts=held)
    assert result.kind == "interior" and len(result.modes) == 1
    assert result.theta[0] == pytest.approx(mean, abs=1e-4)
    assert result.agreeing == len(result.starts)
