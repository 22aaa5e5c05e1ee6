"""What several tests need and is dear to make."""

from __future__ import annotations

import hypothesis
import pytest

from estimhank.posterior import Posterior

# The same examples in every run, and no time limit: what passes on one machine passes on a busy one.
hypothesis.settings.register_profile("estimhank", derandomize=True, deadline=None)
hypothesis.settings.load_profile("estimhank")

#: The parameter vector at which reference numbers are known.
REFERENCE = {
    "kappa_w": 0.1, "phi_pi": 1.7, "phi_y": 0.125, "rho_i": 0.5, "phi_b": 0.1, "rho_w": 0.95, "rho_g": 0.9,
    "rho_m": 0.6, "sigma_w": 0.3, "sigma_g": 0.8, "sigma_m": 0.4,
}  # fmt: skip


@pytest.fixture(scope="session")
def reference() -> dict[str, float]:
    """Parameters of the default model at which reference numbers are known."""
    return dict(REFERENCE)


@pytest.fixture(scope="session")
def posterior() -> Posterior:
    """The default posterior."""
    return Posterior.from_config("configs/us_hank.toml")
