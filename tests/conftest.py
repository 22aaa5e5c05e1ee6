"""What several tests need and is dear to make."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import jax
import pytest

from tests.helpers.checked_types import check_types

check_types()  # before anything of the package is imported

from estimhank.posterior.posterior import Posterior
from estimhank.support.runtime import configure

configure()

# The same examples in every run, and no time limit: what passes on one machine passes on a busy one.
hypothesis.settings.register_profile("estimhank", derandomize=True, deadline=None)
hypothesis.settings.load_profile("estimhank")

# Small compilations are kept too: what one worker has compiled the other reads, and the processes that tests start.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

#: The parameter vector at which reference numbers are known.
REFERENCE = {
    "kappa_w": 0.1, "phi_pi": 1.7, "phi_y": 0.125, "rho_i": 0.5, "phi_b": 0.1, "rho_w": 0.95, "rho_g": 0.9,
    "rho_m": 0.6, "sigma_w": 0.3, "sigma_g": 0.8, "sigma_m": 0.4,
}  # fmt: skip


BEGAN = pytest.StashKey[float]()

#: Files that take longest, which begin first: the other way round one worker is left with the last of them. Those of
#: the surrogate and those of models take turns: two workers then seldom compile the same at the same time.
LONGEST = (
    "test_feasibility.py", "test_steady_solver.py", "test_known_targets.py",
    "test_surrogate_stage.py", "test_posterior.py", "test_tail_chains.py", "test_measurement_error.py",
    "test_fast_mh.py", "test_equilibrium.py", "test_exact.py", "test_cases.py",
    "test_any_density.py", "test_household.py",
    "test_sabotage.py", "test_incomplete.py", "test_algorithms.py", "test_infinite_horizon.py", "test_examples.py",
    "test_types.py", "test_notebook.py", "test_dask.py", "test_engine.py", "test_write.py", "test_cliffs.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def processor_seconds() -> float:
    """Of this process and of the children that it has waited for."""
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Note when a test begins."""
    item.stash[BEGAN] = processor_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Say in the report how much processor time a test took, its fixtures included (`make durations`)."""
    done = yield
    item.user_properties.append(("processor_seconds", f"{processor_seconds() - item.stash[BEGAN]:.2f}"))
    return done


@pytest.fixture(scope="session")
def reference() -> dict[str, float]:
    """Parameters of the default model at which reference numbers are known."""
    return dict(REFERENCE)


@pytest.fixture(scope="session")
def posterior() -> Posterior:
    """The default posterior."""
    return Posterior.from_config("configs/us_hank.toml")
