"""Herbst and Schorfheide's small model on the authors' data, against its equations written out as matrices, solved by
time iteration and filtered by a Kalman filter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from estimhank.data.dataset import Dataset
from estimhank.model.registry import find_model
from estimhank.posterior.posterior import Posterior
from tests.helpers.kalman import StateSpace, kalman
from tests.helpers.time_iteration import solve

ROOT = Path(__file__).parents[2]
OUTSIDE = ROOT.parent / "shared" / "data" / "validation" / "herbst_schorfheide_us.txt"
pytestmark = pytest.mark.skipif(not OUTSIDE.exists(), reason="the authors' data are not part of the repository")

#: Two points that the book compares (chapter 8).
HIGH = {
    "tau": 2.09, "kappa": 0.98, "psi1": 2.25, "psi2": 0.65, "rA": 0.34, "piA": 3.16, "gammaQ": 0.51,
    "rho_R": 0.81, "rho_g": 0.98, "rho_z": 0.93, "sigma_R": 0.19, "sigma_g": 0.65, "sigma_z": 0.24,
}  # fmt: skip
LOW = {
    "tau": 3.26, "kappa": 0.89, "psi1": 1.88, "psi2": 0.53, "rA": 0.19, "piA": 3.29, "gammaQ": 0.73,
    "rho_R": 0.76, "rho_g": 0.98, "rho_z": 0.89, "sigma_R": 0.20, "sigma_g": 0.58, "sigma_z": 0.29,
}  # fmt: skip


@pytest.fixture(scope="module")
def post() -> Posterior:
    model = find_model("herbst_schorfheide.py:HerbstSchorfheide", ROOT / "examples")()
    names, values = tuple(o.name for o in model.observables), np.loadtxt(OUTSIDE)
    dates = tuple(f"{1983 + i // 4}Q{i % 4 + 1}" for i in range(len(values)))
    data = Dataset(dates, names, tuple(o.units for o in model.observables), names, values, np.zeros(len(names)))
    return Posterior(model, data)


def by_hand(p: dict[str, float], sample: np.ndarray) -> float:
    """Log likelihood; states y, pi, R, g, z, and y of the quarter before."""
    lag, now, lead, shock = (np.zeros((5, 5)) for _ in range(4))
    y, pi, rate, g, z = range(5)
    now[0, [y, rate, g]], lead[0, [y, pi, g, z]] = [1, 1 / p["tau"], -1], [-1, -1 / p["tau"], 1, -1 / p["tau"]]
    now[1, [pi, y, g]], lead[1, pi] = [1, -p["kappa"], p["kappa"]], -1 / (1 + p["rA"] / 400)
    lean = 1 - p["rho_R"]
    now[2, [rate, pi, y, g]] = [1, -lean * p["psi1"], -lean * p["psi2"], lean * p["psi2"]]
    lag[2, rate], lag[3, g], lag[4, z] = -p["rho_R"], -p["rho_g"], -p["rho_z"]
    now[3, g] = now[4, z] = 1
    shock[[2, 3, 4], [0, 1, 2]] = -1
    sizes = np.array([p["sigma_R"], p["sigma_g"], p["sigma_z"]])
    found = solve(lag, now, lead, shock[:, :3], np.zeros(3), sizes)
    transition, impulse = np.zeros((6, 6)), np.zeros((6, 3))
    transition[:5, :5], impulse[:5] = found.transition[:5, :5], found.impulse[:5]
    transition[5, y] = 1.0
    seen = np.zeros((3, 6))
    seen[0, [y, z, 5]], seen[1, pi], seen[2, rate] = [1, 1, -1], 4, 4
    means = np.array([p["gammaQ"], p["piA"], p["piA"] + p["rA"] + 4 * p["gammaQ"]])
    return kalman(StateSpace(transition, impulse @ impulse.T, seen, np.zeros(3)), sample - means)[0]


@pytest.mark.parametrize("point", [HIGH, LOW], ids=["high", "low"])
def test_its_likelihood_is_that_of_a_kalman_filter(post: Posterior, point: dict[str, float]) -> None:
    expected = by_hand(point, np.asarray(post.data.values))
    assert post.log_likelihood(point) == pytest.approx(expected, abs=1e-8)
