"""Scenarios, counterfactuals, news and predictive checks of a finished run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from estimhank.analysis.inference_data import arrays_of
from estimhank.data import Dataset, read_dataset
from estimhank.economics.conditions import ScenarioPlan, read_plan
from estimhank.economics.counterfactual import Counterfactual, CounterfactualPlan, counterfactual
from estimhank.economics.future import Futures
from estimhank.economics.linear_form import LinearForms
from estimhank.economics.news import News, news
from estimhank.economics.predictive import PredictiveCheck, predictive_check
from estimhank.economics.scenario import Scenario, scenario
from estimhank.economics.study import Study
from estimhank.model.declaration import Model
from estimhank.model.registry import configure_model, find_model
from estimhank.parameters.parameter_table import nearest
from estimhank.posterior.posterior import Posterior
from estimhank.run.config import Config
from estimhank.run.prior_solutions import prior_reasons
from estimhank.support.errors import ConfigError, ResultsError
from estimhank.support.files import expand_user

if TYPE_CHECKING:
    from estimhank.run.results import At, Run

Array = NDArray[np.float64]


Open = Callable[[Sequence[str] | None], Study]


def with_named(open_study: Open, variables: Sequence[str] | None, named: Iterable[str]) -> Study:
    """A study that shows the variables that a plan speaks of too, beside those asked for, or the configuration's."""
    study = open_study(variables)
    more = [name for name in dict.fromkeys(named) if name not in study.about.names]
    known = study.draws.posterior.solver.setting.model.unknowns
    for name in more:
        if name.rpartition(" ")[2] not in known:
            raise ConfigError(
                f"'{name}' is neither reported nor a variable of the model{nearest(name, [*study.about.names, *known])}"
            )
    return open_study([*study.reporting.variables, *more]) if more else study


def run_scenario(plan: ScenarioPlan, open_study: Open, variables: Sequence[str] | None = None) -> Scenario:
    """A scenario of what ``open_study`` opens.

    Raises
    ------
    ConfigError, ModelError
    """
    study = with_named(open_study, variables, (c.series for c in plan.condition))
    return scenario(Futures(study, plan.quarters), plan)


def run_counterfactual(
    plan: CounterfactualPlan,
    config: Config,
    open_study: Open,
    variables: Sequence[str] | None = None,
    model: Model | None = None,
) -> Counterfactual:
    """A counterfactual of what ``open_study`` opens, whose model is that of a configuration.

    Raises
    ------
    ConfigError, ModelError
    """
    study = with_named(open_study, variables, (term.series for term in plan.rule))
    return counterfactual(study, plan, _other_forms(config, study, plan, model))


def scenario_of(
    run: Run, plan: ScenarioPlan | Path | str, at: At = None, variables: Sequence[str] | None = None
) -> Scenario:
    """A scenario; see :func:`estimhank.economics.scenario.scenario`.

    Raises
    ------
    ConfigError, ModelError, StorageError
    """
    if not isinstance(plan, ScenarioPlan):
        plan = read_plan(plan, ScenarioPlan)
    return run_scenario(plan, lambda names: run.study(at, names), variables)


def counterfactual_of(
    run: Run,
    plan: CounterfactualPlan | Path | str,
    at: At = None,
    variables: Sequence[str] | None = None,
    model: Model | None = None,
) -> Counterfactual:
    """A counterfactual; see :func:`estimhank.economics.counterfactual.counterfactual`.

    Parameters
    ----------
    run : Run
    plan : CounterfactualPlan, or path of its file
    at, variables
        As of :meth:`estimhank.run.results.Run.study`.
    model : Model, optional
        With another rule, and the shocks and parameters of the run's.

    Raises
    ------
    ConfigError, ModelError, StorageError
    EstimhankError
        There is no solution under the other policy.
    """
    if not isinstance(plan, CounterfactualPlan):
        plan = read_plan(plan, CounterfactualPlan)
    return run_counterfactual(plan, run.config, lambda names: run.study(at, names), variables, model)


def _other_forms(config: Config, study: Study, plan: CounterfactualPlan, model: Model | None) -> LinearForms | None:
    """Linear forms of the model with other calibrated parameters, or of another model; None where the run's serve."""
    posterior = study.draws.posterior
    table = posterior.model.parameters
    for name in plan.parameters:
        if name not in table:
            raise ConfigError(f"the model has no parameter '{name}'{nearest(name, list(table))}")
    calibrated = {name: value for name, value in plan.parameters.items() if name not in posterior.names}
    if model is None and not calibrated:
        return None
    declared = model or find_model(config.model.name, config.folder)
    # a parameter that the configuration holds at a value is held at another one
    held = {
        name: replace(config.parameters[name], fixed=calibrated.pop(name))
        for name in set(calibrated) & set(config.parameters)
    }
    calibration = {**config.model.calibration, **calibrated}
    changed = configure_model(declared, calibration, config.model.grid, {**config.parameters, **held})
    other = Posterior(changed, posterior.data, posterior.horizon, posterior.solver.setting.tail_start)
    known = len(study.forms.observed)
    return LinearForms(other, study.forms.series[known:], study.forms.ahead)


def news_of(
    run: Run,
    other_data: Dataset | Path | str | Run,
    quarters: int = 8,
    at: At = None,
    variables: Sequence[str] | None = None,
) -> News:
    """News between two vintages; see :func:`estimhank.economics.news.news`.

    Parameters
    ----------
    run : Run
        On the old data.
    other_data : Dataset, path or Run
        The new data, their ``data.csv`` (or a folder that holds it), or a run on them: then the part of re-estimation
        is there too.
    quarters : int
        Beyond the new data.
    at, variables
        As of :meth:`estimhank.run.results.Run.study`.

    Raises
    ------
    DataError, ConfigError, ResultsError
    """
    study = run.study(at, variables)
    if isinstance(other_data, Dataset):
        return news(study, other_data, quarters)
    if isinstance(other_data, Path | str):
        path = expand_user(other_data)
        return news(study, read_dataset(path / "data.csv" if path.is_dir() else path), quarters)
    if other_data.posterior.names != study.draws.posterior.names:
        raise ResultsError(f"{other_data.folder} is of another model than {run.folder}: news are of one model")
    again = other_data.study(at, study.reporting.variables)
    return news(study, other_data.data, quarters, again)


def predictive_check_of(run: Run, prior_draws: int = 500, at: At = None) -> PredictiveCheck:
    """Moments of the data against those of samples; see :func:`estimhank.economics.predictive.predictive_check`.

    Parameters
    ----------
    run : Run
    prior_draws : int
        Of those that the run has kept; 0 for none.
    at
        As of :meth:`estimhank.run.results.Run.study`.

    Raises
    ------
    ResultsError
        If the folder has no prior draws.
    """
    prior = arrays_of(run.draws).prior
    if prior is None and prior_draws:
        raise ResultsError(f"{run.folder / 'posterior.nc'} has no prior draws: pass prior_draws=0")
    study = run.study(at)
    if prior is None or not prior_draws:
        return predictive_check(study)
    prior = prior[:prior_draws]
    reasons = prior_reasons(run, len(prior), lambda points: [run.posterior.evaluate(theta).reason for theta in points])
    return predictive_check(study, prior, reasons)
