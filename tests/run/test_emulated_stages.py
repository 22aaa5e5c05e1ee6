"""Emulated households in a run: trained in the sample stage, kept in a store of their own, refused where they err."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from estimhank.analysis.emulator_check import check_emulator
from estimhank.emulator.emulator import load_emulator, save_emulator
from estimhank.households.one_asset import StandardIncompleteMarkets
from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.parameters.priors import Gamma
from estimhank.posterior.posterior import Posterior
from estimhank.run import emulated_stages
from estimhank.run.config import Config, make_config
from estimhank.run.context import EMULATED_STORE, EMULATOR, EXAMPLES, RunContext
from estimhank.run.stages import PIPELINE
from estimhank.support.errors import ModelWarning

pytestmark = pytest.mark.long  # minutes, all together

PRIORS = {"eis": Gamma(0.5, 0.1), "sd_e": Gamma(0.92, 0.1), "B_bar": Gamma(1.0, 0.25)}
SMALL = StandardIncompleteMarkets(inputs=("r", "Z"), n_e=3, n_a=80, a_max=100.0)
FAST = {"rho_w": 0.7, "rho_g": 0.6, "phi_b": 0.4, "B_bar": 1.6}


@pytest.fixture(scope="module")
def exact(posterior: Posterior) -> Posterior:
    table = OneAssetHANK.parameters
    for name, prior in PRIORS.items():
        table = table.changed(name, prior=prior)
    return Posterior(OneAssetHANK(table, SMALL), posterior.data, 160, 100)


@pytest.fixture(scope="module")
def mode(exact: Posterior) -> Any:
    """A normal approximation at a place whose steady states are far from cliffs."""
    theta = exact.to_array({**dict(zip(exact.names, exact.reference(), strict=True)), **FAST})
    sd = np.array([{"eis": 0.04, "sd_e": 0.04, "B_bar": 0.08}.get(name, 0.01) for name in exact.names])
    return SimpleNamespace(center_x=exact.transform.to_unconstrained(theta), covariance_x=np.diag(sd**2))


@pytest.fixture(scope="module")
def draws(exact: Posterior, mode: Any) -> Any:
    x = np.random.default_rng(3).multivariate_normal(mode.center_x, mode.covariance_x, (2, 80))
    return SimpleNamespace(x=x)


def settings(**emulator: Any) -> Config:
    return make_config({"run": {"backend": "serial"}, "emulator": {"points": 80, "check_draws": 40, **emulator}})


@pytest.fixture
def context(tmp_path: Path, exact: Posterior) -> Iterator[RunContext]:
    with RunContext(settings(), tmp_path, lambda config, data: exact) as opened:
        yield opened


def test_a_run_with_an_emulator_has_two_stores_and_passes_its_check(
    context: RunContext, exact: Posterior, mode: Any, draws: Any
) -> None:
    facts = emulated_stages.train(context, mode)
    assert facts.used > 60 and facts.error < 1e-2
    assert context.training is context.emulated and context.training.engine.target.fingerprint["emulator"]
    facts = emulated_stages.check(context, facts, draws)
    assert facts.check is not None and facts.check.passed and facts.words.startswith("the emulator is certified")
    assert {p.name for p in context.folder.iterdir()} >= {EMULATOR, EXAMPLES, EMULATED_STORE, "evaluations.bin"}
    batch = context.recorder.store.batch("sample", emulated_stages.CHECKED_BATCH)
    assert batch is not None
    assert batch.log_likelihood[0] == exact.log_likelihood(batch.theta[0])  # the store's values are exact
    at_draws = emulated_stages.check_at_draws(context, batch.theta, batch.log_density)
    assert at_draws is not None and at_draws.passed


def test_a_run_that_goes_on_finds_the_same_emulator(context: RunContext, mode: Any, draws: Any) -> None:
    emulated_stages.train(context, mode)
    assert context.emulated is not None
    theta = context.target.transform.to_natural(draws.x[0, :4])
    first = context.emulated.evaluate("sample", 0, theta)
    context.forget_emulated()
    emulated_stages.train(context, mode)
    assert context.emulated is not None
    again = context.emulated.evaluate("sample", 0, theta)
    assert context.emulated.replayed["sample"] == 4
    np.testing.assert_array_equal(again.log_likelihood, first.log_likelihood)


def test_a_sabotaged_emulator_is_not_used(context: RunContext, mode: Any, draws: Any) -> None:
    facts = emulated_stages.train(context, mode)
    good = load_emulator(context.folder / EMULATOR)
    save_emulator(replace(good, mean=1.05 * good.mean), context.folder / EMULATOR)
    context.forget_emulated()
    with pytest.warns(ModelWarning, match="not certified"):
        facts = emulated_stages.check(context, facts, draws)
    assert facts.check is not None and not facts.check.passed
    assert facts.words.startswith("evaluations are exact: the emulator is not certified")
    assert context.emulated is None and context.training is context.recorder
    assert not (context.folder / EMULATOR).exists() and not (context.folder / EMULATED_STORE).exists()


def test_what_cannot_be_emulated_is_evaluated_exactly(tmp_path: Path, posterior: Posterior, mode: Any) -> None:
    d = len(posterior.names)
    few: Any = SimpleNamespace(center_x=np.zeros(d), covariance_x=np.eye(d))
    with RunContext(settings(), tmp_path, lambda config, data: posterior) as context:
        with pytest.warns(ModelWarning, match="nothing to emulate"):
            facts = emulated_stages.train(context, few)
        assert "nothing to emulate" in facts.words and context.training is context.recorder


def test_a_check_says_what_is_wrong() -> None:
    rng = np.random.default_rng(0)
    exact = rng.normal(size=400)
    inside = np.ones(400, bool)
    assert check_emulator(exact, exact + 1.0 + 0.01 * rng.normal(size=400), inside).passed
    off = check_emulator(exact, exact + 0.2 * rng.normal(size=400), inside)
    assert not off.passed and "has s.d. 0.1" in off.words
    missing = check_emulator(exact, np.where(np.arange(400) == 7, -np.inf, exact), inside)
    assert not missing.passed and "at 1 of 400 draws" in missing.words
    heavy = exact + 1e-4 * rng.normal(size=400)
    heavy[:3] -= 0.55 + np.arange(3) * 0.02
    tail = check_emulator(exact, heavy, inside, max_sd=0.2)
    assert not tail.passed and "Pareto k" in tail.words
    assert not check_emulator(exact[:1], exact[:1], inside[:1]).passed


def test_the_section_is_part_of_a_runs_identity_where_it_is_used() -> None:
    plain, used, other = make_config({}), settings(), settings(points=90)
    assert "emulator" not in plain.canonical()
    digests = {PIPELINE.digest("sample", config) for config in (plain, used, other)}
    assert len(digests) == 3
    assert len({PIPELINE.digest("mode", config) for config in (plain, used, other)}) == 1
