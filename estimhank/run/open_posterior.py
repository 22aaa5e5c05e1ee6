"""The posterior that a configuration describes."""

from __future__ import annotations

from pathlib import Path

from estimhank.data import Dataset, load_dataset
from estimhank.model.registry import configure_model, find_model
from estimhank.parameters.parameter_table import ModelError
from estimhank.posterior.posterior import Posterior
from estimhank.run.config import Config, load_config
from estimhank.support.errors import ConfigError
from estimhank.support.runtime import configure
from estimhank.target.batching import vectorize
from estimhank.target.protocol import Target


def open_posterior(config: Config | Path | str, profile: str = "default") -> Posterior:
    """The posterior of a configuration's model on its data.

    Parameters
    ----------
    config : Config or path
    profile : str
        Of a configuration file that is yet to be read.

    Raises
    ------
    ConfigError, DataError, ModelError
        A configuration, data or a model that do not fit each other.
    SteadyStateError
        No steady state at the reference values: the message names the equation that does not hold there.
    """
    configure()  # before the model's file is imported
    if not isinstance(config, Config):
        config = load_config(config, profile)
    posterior = _posterior(config, load_dataset(config.data, config.folder))
    _ = posterior.steady_state  # raises where there is none
    return posterior


def build_target(config: Config, dataset: Dataset) -> Target:
    """The posterior of the configured model given the data, as the configured backend evaluates it.

    Raises
    ------
    ConfigError
        If the model does not take the configuration's parameters, calibration, grid or data.
    """
    posterior = build_posterior(config, dataset)
    return vectorize(posterior, config.run.batch) if config.run.backend == "vectorized" else posterior


def build_posterior(config: Config, dataset: Dataset) -> Posterior:
    """The same, point by point and on the processor.

    Raises
    ------
    ConfigError
    """
    try:
        return _posterior(config, dataset)
    except ModelError as error:
        raise ConfigError(f"{config.path}: {error}" if config.path else str(error)) from error


def _posterior(config: Config, dataset: Dataset) -> Posterior:
    declared = find_model(config.model.name, config.folder)
    model = configure_model(declared, config.model.calibration, config.model.grid, config.parameters)
    return Posterior(model, dataset, config.model.horizon, config.model.tail_start)
