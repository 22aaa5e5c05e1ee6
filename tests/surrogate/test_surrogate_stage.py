"""Rounds evaluate where the surrogate lives, stop when it is good, and repeat themselves."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.known_targets import KnownTarget, banana, skewed
from estimhank.networks.training import TrainingError
from estimhank.support.progress_event import ProgressEvent
from estimhank.surrogate import surrogate_stage
from estimhank.surrogate.candidates import RoundErrors
from estimhank.surrogate.fitting import Whitening
from estimhank.surrogate.points import plausible, points_from
from estimhank.surrogate.stage_config import PAPER_POSTERIOR, PAPER_SURROGATE, PosteriorConfig, SurrogateConfig
from estimhank.surrogate.surrogate_stage import (
    StageState,
    Step,
    SurrogateStageResult,
    _modes_with_mass,
    decide,
    run_surrogate,
)
from tests.helpers.in_memory import Memory, candidates, mode_of
from tests.helpers.stages import TRAINING, D

TARGET = banana(D)


def train(
    seed: int = 1, n: int = 400, target: KnownTarget = TARGET, **changes: Any
) -> tuple[SurrogateStageResult, Memory]:
    memory = Memory(target)
    config = replace(TRAINING, **changes)
    return run_surrogate(memory, target, candidates(target, n), mode_of(target), config, seed), memory


@cache
def default_run() -> tuple[SurrogateStageResult, Memory]:
    return train()


def check_rounds(result: SurrogateStageResult, memory: Memory, config: SurrogateConfig, candidates: int) -> list[float]:
    """What every run keeps to, whatever its training finds: a run's path hangs on the last bit of its arithmetic.

    Returns the errors of the looks at the last fits.
    """
    counts = [report.evaluations for report in result.rounds]
    errors = [float(np.hypot(report.fresh_s_e, report.pool_error)) for report in result.rounds]
    first = next((i + 1 for i, error in enumerate(errors) if error < config.stop_s_e), config.rounds)
    rounds = min(first, config.rounds)
    assert counts == [300] * rounds + [118] * (len(counts) - rounds) and sum(counts) == memory.count("surrogate")
    used = [report.fit.points + report.fit.held_out + report.fit.dropped_low for report in result.rounds]
    np.testing.assert_array_equal(used, candidates + np.cumsum([0, *counts[:-1]]))
    looks = errors[rounds:]
    assert 1 <= len(looks) <= 5 and min(looks[:-1], default=1.0) >= 0.05
    assert looks[-1] < 0.05 or len(looks) == 5, "until the error is small, or four times more"
    epochs = [report.epochs for report in result.rounds]
    fifth = max(1, config.epochs // 5)
    assert epochs[:rounds] == [config.round_epochs] * rounds
    assert epochs[rounds:] == [config.epochs, *(fifth if error < 0.5 else config.epochs for error in looks[:-1])]
    return looks


def test_rounds_add_evaluations_with_gradients_and_the_error_falls() -> None:
    changes: dict[str, Any] = {"rounds": 2, "round_epochs": 100}
    result, memory = train(n=150, **changes)
    check_rounds(result, memory, replace(TRAINING, **changes), 150)
    assert result.rounds[1].fresh_s_e < result.rounds[0].fresh_s_e
    assert result.surrogate.training_evaluations == 150 + memory.count("surrogate")
    assert all(np.isfinite(batch.gradient).all() for _, _, batch in memory.batches)
    assert [number for _, number, _ in memory.batches] == list(range(len(memory.batches)))


def test_a_last_fit_is_looked_at_and_ends_once_it_is_good() -> None:
    good, memory = train(n=1600)
    assert check_rounds(good, memory, TRAINING, 1600)[-1] < 0.05
    # a fit of two epochs never gets there: it learns from its own draws, and gives up after the fourth time
    changes: dict[str, Any] = {"round_epochs": 2, "epochs": 2}
    poor, memory = train(n=40, **changes)
    looks = check_rounds(poor, memory, replace(TRAINING, **changes), 40)
    assert len(looks) == 5 and min(looks) > 0.05
    assert memory.count("surrogate") <= 300 + len(looks) * 150, "a look is half a round at most"


@pytest.mark.parametrize(
    ("step", "number", "repeats", "error", "follows"),
    [
        (Step.ROUND, 0, 0, 0.3, Step.ROUND),
        (Step.ROUND, 0, 0, 0.05, Step.LAST_FIT),  # good enough for what a longer fit adds
        (Step.ROUND, 2, 0, 0.3, Step.LAST_FIT),  # the rounds are used up
        (Step.ROUND, 0, 0, np.inf, Step.ROUND),
        (Step.LAST_FIT, 3, 0, 0.02, Step.STOP),
        (Step.LAST_FIT, 3, 0, 0.04, Step.GO_ON),
        (Step.LAST_FIT, 3, 0, 0.6, Step.ANEW),
        (Step.LAST_FIT, 3, 0, np.inf, Step.ANEW),
        (Step.ANEW, 4, 1, 0.04, Step.GO_ON),
        (Step.GO_ON, 5, 2, 0.7, Step.ANEW),
        (Step.GO_ON, 6, 3, 0.02, Step.STOP),
        (Step.GO_ON, 7, 4, 0.7, Step.STOP),  # often enough
    ],
)
def test_an_error_decides_what_follows(step: Step, number: int, repeats: int, error: float, follows: Step) -> None:
    points = points_from(candidates(TARGET, 20), TARGET.transform)
    state = StageState(step, number, points, Whitening(np.zeros(D), np.eye(D)), 20, repeats=repeats)
    assert decide(state, error, replace(TRAINING, rounds=3, stop_s_e=0.06, final_s_e=0.03)) is follows


@pytest.mark.parametrize(
    ("found", "epochs"),
    [
        ([0.4, 0.01], [2, 10]),
        ([0.4, 0.2, 0.01], [2, 10, 2]),  # a fifth more where the fit is right but for little
        ([0.4, 0.7, 0.06, 0.04], [2, 10, 10, 2]),  # anew where it is wrong
        ([0.02, 0.01], [2, 10]),
        ([0.4, 0.1, 0.2, 0.1, 0.1, 0.1], [2, 10, 2, 2, 2, 2]),
    ],
)
def test_errors_decide_how_a_last_fit_goes_on(
    monkeypatch: pytest.MonkeyPatch, found: list[float], epochs: list[int]
) -> None:
    """Errors that are given, half of them where points were acquired, which a fit's own draws do not show."""
    left = iter(found)
    monkeypatch.setattr(surrogate_stage, "measure_errors", lambda *_: RoundErrors(0.6 * (e := next(left)), 0.8 * e))
    changes: dict[str, Any] = {"round_epochs": 2, "epochs": 10}
    result, memory = train(**changes)
    assert [report.epochs for report in result.rounds] == epochs and next(left, None) is None
    check_rounds(result, memory, replace(TRAINING, **changes), 400)


def test_fresh_points_are_draws_of_the_surrogate_a_third_at_each_temperature() -> None:
    _, memory = default_run()
    theta = memory.batches[0][2].theta
    assert len(theta) == 300
    widths = [group[:, 2].std() for group in np.split(theta, [100, 200])]
    np.testing.assert_allclose(widths, np.sqrt(TRAINING.temperatures), rtol=0.35)  # five errors of 1 / sqrt(2 n)


def test_rounds_end_once_the_fresh_error_is_small() -> None:
    changes: dict[str, Any] = {"rounds": 5, "stop_s_e": 1e9}
    result, memory = train(**changes)
    check_rounds(result, memory, replace(TRAINING, **changes), 400)
    first, second = (report.evaluations for report in result.rounds[:2])
    assert first == 300 and 100 < second <= 150, "a last fit is looked at with cold draws and some acquired"
    assert result.rounds[1].fit.points > result.rounds[0].fit.points, "the last fit has the round's points"


def test_the_stage_repeats_itself_to_the_bit() -> None:
    (one, evaluated), (same, again) = default_run(), train()
    jax.tree.map(np.testing.assert_array_equal, one.surrogate.parameters, same.surrogate.parameters)
    np.testing.assert_array_equal(evaluated.batches[0][2].theta, again.batches[0][2].theta)


def test_without_gradients_values_are_enough() -> None:
    class ValuesOnly(KnownTarget):
        has_gradient = False

    target = ValuesOnly(TARGET.label, TARGET.log_pdf, TARGET.sample, TARGET.transform)
    result, memory = train(target=target)
    assert np.isnan(memory.batches[0][2].gradient).all()
    assert result.rounds[-1].fit.with_gradient > 0, "those of the candidates are still used"


def test_local_modes_near_the_best_become_modes_of_the_surrogate() -> None:
    mode = mode_of(TARGET, anchors=(np.zeros(D), np.ones(D)))
    mode.modes[1].log_density = -5.0
    far = mode_of(TARGET, anchors=(np.zeros(D), np.ones(D)))
    far.modes[1].log_density = -50.0
    evaluated = candidates(TARGET, 100)
    result = run_surrogate(Memory(TARGET), TARGET, evaluated, mode, replace(TRAINING, rounds=0))
    assert len(result.surrogate.modes) == 2
    assert len(_modes_with_mass(TARGET, far, points_from(evaluated, TARGET.transform))) == 1


def test_progress_is_reported_and_ends_at_its_total() -> None:
    events: list[ProgressEvent] = []
    memory = Memory(TARGET)
    run_surrogate(memory, TARGET, candidates(TARGET, 100), mode_of(TARGET), TRAINING, 1, events.append)
    assert {event.stage for event in events} == {"surrogate"}
    assert all(0 <= event.done <= event.total for event in events) and events[-1].done > 0.95 * events[-1].total
    assert events[-1].evaluations == 100 + memory.count("surrogate")
    assert any("error of fresh draws" in event.message for event in events)


def test_no_usable_evaluation_is_refused_in_a_sentence() -> None:
    nothing = candidates(TARGET, 30)
    nothing = replace(nothing, reason=np.ones(30, np.uint8))
    with pytest.raises(TrainingError, match="finite density, there are 0"):
        run_surrogate(Memory(TARGET), TARGET, nothing, mode_of(TARGET), TRAINING)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: SurrogateConfig(hidden=()), "hidden"),
        (lambda: SurrogateConfig(activation="relu"), "activation must be one of"),
        (lambda: SurrogateConfig(epochs=0), "epochs must be at least 1"),
        (lambda: SurrogateConfig(learning_rate=0.0), "learning_rate must be positive"),
        (lambda: SurrogateConfig(holdout=1.0), "holdout"),
        (lambda: SurrogateConfig(temperatures=(2.0,)), "the first temperature must be 1"),
        (lambda: PosteriorConfig(chains=1), "chains must be at least 2"),
        (lambda: PosteriorConfig(dispersed=99), "dispersed must not exceed chains"),
        (lambda: PosteriorConfig(plain_share=1.0), "plain_share"),
        (lambda: PosteriorConfig(max_r_hat=1.0), "max_r_hat"),
        (lambda: PosteriorConfig(min_subchain=500, max_subchain=10), "max_subchain"),
    ],
)
def test_impossible_settings_are_refused(make, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


def test_the_settings_of_the_paper_are_settings() -> None:
    paper = SurrogateConfig(**PAPER_SURROGATE)
    assert (paper.hidden, paper.activation, paper.epochs, paper.batch_size) == ((128, 128, 128), "celu", 1_000, 100)
    assert paper.drop_lowest == 0.2 and paper.gradient_weight == 0.0 and paper.rounds == 0 and paper.ensemble == 1
    assert PosteriorConfig(**PAPER_POSTERIOR).surrogate_draws == 200_000


def test_places_that_were_found_far_too_low_are_not_believed_again() -> None:
    """A wall that candidates have not seen: draws beyond it are worth nothing as values, and must be learned all the
    same."""

    def log_pdf(x: jax.Array) -> jax.Array:
        return TARGET.log_pdf(x) - 1e4 * jnp.maximum(x[0] - 0.7, 0.0) ** 2

    target = KnownTarget("wall", log_pdf, TARGET.sample, TARGET.transform)
    seen = candidates(target, 600, where=lambda x: x[:, 0] < 0.6)
    result = run_surrogate(Memory(target), target, seen, mode_of(TARGET), replace(TRAINING, rounds=3), 1)
    assert sum(report.fit.far_below for report in result.rounds) > 20
    x = np.zeros((1, D))
    assert result.surrogate.log_density(np.array([[1.2, 0.0, 0.0]])) < result.surrogate.log_density(x) - 5


def test_coordinates_follow_the_posterior_not_what_a_bad_fit_drew() -> None:
    exact = np.array([-1.0, -3.0, -40.0, -np.inf])
    points = points_from(candidates(TARGET, 50), TARGET.transform)
    np.testing.assert_array_equal(plausible(exact + points.log_density.max(), points), [True, True, False, False])
    assert Whitening.from_draws(np.zeros((3, D))) is None, "too few"
    assert Whitening.from_draws(np.zeros((30, D))) is None, "all at one place"


def test_modes_of_the_surrogate_are_judged_by_the_density_of_the_coordinates() -> None:
    """At a bound where the natural density grows without limit there is a mode of it, and no mass."""
    target = skewed(D)
    points = points_from(candidates(target, 200), target.transform)
    best, bound = np.array([0.7, 1.0, 1.0]), np.array([-300.0, 0.0, 0.0])
    modes = [SimpleNamespace(x=bound, log_density=200.0), SimpleNamespace(x=best, log_density=-1.5)]
    np.testing.assert_array_equal(_modes_with_mass(target, SimpleNamespace(modes=modes), points), best[None])  # type: ignore[arg-type]
