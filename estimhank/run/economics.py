"""Results for economists from a run: which draws, in which conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.economics.draws import ReducedDraws
from estimhank.economics.household_paths import consumption_names, output_names
from estimhank.economics.reporting import Reporting, describe, reported_series
from estimhank.economics.study import Study
from estimhank.parameters.parameter_table import ModelError
from estimhank.posterior.posterior import Posterior
from estimhank.run.config_sections import EconomicsConfig
from estimhank.support.errors import ConfigError
from estimhank.target.protocol import Target

Array = NDArray[np.float64]


def reporting_of(settings: EconomicsConfig, variables: Sequence[str] | None = None) -> Reporting:
    """Conventions of a configuration; ``variables`` in place of its own."""
    chosen = settings.variables if variables is None else tuple(variables)
    return Reporting(settings.units, chosen, settings.groups, settings.colors, settings.quarters)


def check_conventions(target: Target, settings: EconomicsConfig) -> None:
    """Refuse conventions that speak of what the model does not have, before anything is sampled.

    Raises
    ------
    ConfigError
    """
    if not isinstance(target, Posterior):
        return
    reporting = reporting_of(settings)
    try:
        if settings.households:
            check_households(target)
        series = reported_series(target, reporting)
        describe(ReducedDraws(target, target.reference()[None]), series, reporting)
    except (ModelError, ConfigError) as error:
        raise ConfigError(f"[economics] {error}") from error


def check_households(posterior: Posterior) -> None:
    """Refuse ``households = true`` of a model without them, or of which it is not known what they consume.

    Raises
    ------
    ConfigError
    """
    names = consumption_names if posterior.solver.setting.model.given is None else output_names
    _ = names(posterior)


def study_of(
    posterior: Posterior,
    settings: EconomicsConfig,
    draws: Array | None = None,
    at: Mapping[str, float] | ArrayLike | None = None,
    variables: Sequence[str] | None = None,
    origin: str = "",
) -> Study:
    """Results of a posterior at draws, or at one point.

    Parameters
    ----------
    posterior : Posterior
    settings : EconomicsConfig
    draws : array of shape (..., d), optional
        Of the posterior.
    at : mapping or array of shape (d,), optional
        One point in place of draws; a mapping may leave parameters out. Without draws the table's values.
    variables : sequence of str, optional
        Shown beside the observables, in place of the settings'.
    origin : str
        What they are: ``"point"`` or ``"mode"``, of draws ``"posterior"`` or ``"prior"``.

    Raises
    ------
    ConfigError
        Conventions that do not fit the model.
    ModelError
        Parameters that the model does not have.
    """
    if at is not None or draws is None:
        chosen = ReducedDraws.at(posterior, {} if at is None else at, origin or "point")
    else:
        chosen = replace(ReducedDraws.thinned(posterior, draws, settings.draws), origin=origin or "posterior")
    try:
        return Study(chosen, reporting_of(settings, variables))
    except ModelError as error:
        raise ConfigError(f"[economics] {error}") from error
