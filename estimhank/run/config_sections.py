"""The tables of a configuration file as frozen dataclasses: keys, types, defaults, limits.

``[mode]`` is :class:`estimhank.mode.search.ModeConfig`; ``[surrogate]`` and ``[posterior]`` are the classes of
:mod:`estimhank.surrogate.stage_config`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from estimhank.data.fred import check_vintage
from estimhank.data.observables import US_OBSERVABLES, Observable
from estimhank.data.options import addition
from estimhank.data.quarters import parse_quarters
from estimhank.evaluation.executors import BACKENDS
from estimhank.sampling.multi_proposal import MultiProposalConfig
from estimhank.support.errors import ConfigError, DataError
from estimhank.support.settings import option


@dataclass(frozen=True)
class ModelConfig:
    """``[model]``: which model, and the numbers that are not estimated.

    Attributes
    ----------
    name : str
        A built-in model, or ``"path/to/file.py:ClassName"`` relative to the configuration file.
    horizon : int
        Length T of the sequence space.
    tail_start : int
        Date t* from which responses are extrapolated: at the shocks' roots, or at all slow roots where that is not
        enough.
    calibration : mapping of str to float
        Values of entries of the model's parameter table that are not estimated.
    grid : mapping of str to float or str
        Options of the household block: ``n_e``, ``n_a``, ``a_max``, ``scheme``.
    """

    name: str = option("one_asset_hank")
    horizon: int = option(300, least=20)
    tail_start: int = option(200, least=10)
    calibration: Mapping[str, float] = option({})
    grid: Mapping[str, float | str] = option({})

    def __post_init__(self) -> None:
        if self.tail_start >= self.horizon:
            raise ConfigError(f"[model] tail_start ({self.tail_start}) must be below horizon ({self.horizon})")


@dataclass(frozen=True)
class DataConfig:
    """``[data]``: the source of the raw series, the sample, and how observables are made.

    Attributes
    ----------
    source : str
        ``"snapshot"``, ``"fred"``, ``"fred-csv"``, ``"fred-cache"``, or the path of a CSV or Excel file relative to the
        configuration file; see :func:`estimhank.data.load_series`.
    start, end : str
        First and last quarter of the sample, ``"1966Q1"``.
    observables : tuple of Observable
        From ``[data.observables.NAME]`` tables; those of the default model where there are none.
    vintage : str
        Day as of which FRED's figures are wanted, ``"2024-02-01"``; the latest where empty.
    sheet : str
        Sheet of an Excel file; the first where empty.
    presample : int
        Quarters at the sample's start that serve differences and are not in the likelihood.
    condition_on : int
        Quarters at the sample's start, after those, that the likelihood is conditioned on: they say where the economy
        was, and are not counted themselves.
    exclude : tuple of str
        Quarters and spans, ``"2020Q2"``, ``"2009Q1 to 2015Q4"``, that count as missing.
    """

    source: str = option("snapshot")
    start: str = option("1966Q1")
    end: str = option("2019Q4")
    observables: tuple[Observable, ...] = US_OBSERVABLES
    vintage: str = addition("")
    sheet: str = addition("")
    presample: int = addition(0, least=0)
    condition_on: int = addition(0, least=0)
    exclude: tuple[str, ...] = addition(())

    def __post_init__(self) -> None:
        try:
            check_vintage(self.vintage)
        except DataError as error:
            raise ConfigError(f"[data] {error}") from None
        for entry in self.exclude:
            try:
                parse_quarters(entry)
            except ValueError as error:
                raise ConfigError(f"[data] exclude: {error}") from None


@dataclass(frozen=True)
class ParameterConfig:
    """``[parameters.NAME]``: what is done with one entry of the model's parameter table.

    Attributes
    ----------
    prior : mapping, optional
        ``family`` and its numbers; replaces the model's prior and estimates the parameter.
    fixed : float, optional
        Holds the parameter at this value.
    """

    prior: Mapping[str, Any] | None = None
    fixed: float | None = None


@dataclass(frozen=True)
class EmulatorConfig:
    """``[emulator]``: households from an emulator, where parameters that move their steady state are estimated.

    The sample and surrogate stages then evaluate a density whose households are emulated; the certificate and the exact
    draws are of the exact density, as ever (``docs/emulator.md``).

    Attributes
    ----------
    points : int
        Exact solutions of households that the emulator is trained on; 0 for none, and exact evaluations everywhere.
    check_draws : int
        Draws of the sampling stage at which the emulated density is compared with the exact one.
    max_sd : float
        Largest standard deviation of the difference at these draws, in log points: where it is larger the emulator is
        not used, and the draws are made again with exact evaluations.
    """

    points: int = option(0, least=0)
    check_draws: int = option(100, least=40)
    max_sd: float = option(0.05, above=0.0)


#: Names of the algorithms; the keys of :data:`estimhank.sampling.algorithms.ALGORITHMS`.
SAMPLERS = ("multi_proposal", "random_walk", "dime", "smc", "nuts")


@dataclass(frozen=True)
class SampleConfig(MultiProposalConfig):
    """``[sample]``: exact evaluations for the surrogate to learn from; keys as in the class it extends, and

    Attributes
    ----------
    algorithm : str
        ``"multi_proposal"`` (Tjelmeland 2004; Calderhead 2014), ``"random_walk"``, ``"dime"`` (Boehl 2022), ``"smc"``
        (tempered) or ``"nuts"``; :mod:`estimhank.sampling.algorithms` says what the sizes mean for each.
    gradient : bool
        Whether proposals are evaluated with their gradients, where the model has them.
    """

    algorithm: str = option("multi_proposal", choices=SAMPLERS)
    gradient: bool = True


@dataclass(frozen=True)
class EconomicsConfig:
    """``[economics]``: conventions of responses, decompositions and forecasts, the same in every figure and table.

    Attributes
    ----------
    units : mapping of str to str
        Of observables: ``"quarterly"``, ``"annualised"``, ``"four_quarter"`` or ``"level"``; those of the data
        otherwise.
    variables : tuple of str
        Variables shown beside the observables: ``"Y"`` (deviation from the steady state in the model's units),
        ``"log Y"`` (in percent of it), ``"growth Y"`` (change in percent).
    groups : mapping of str to tuple of str
        Shocks that decompositions show as one.
    colors : mapping of str to str
        Colours of shocks and groups, ``"#0072B2"``.
    quarters : int
        Of forecasts.
    draws : int
        Of the posterior at most, evenly thinned, the same for every result.
    households : bool
        Responses of consumption by group of households and of inequality, direct and indirect effects too, of a model
        that has households: as dear as all other results together, or dearer.
    """

    units: Mapping[str, str] = option({})
    variables: tuple[str, ...] = option(())
    groups: Mapping[str, tuple[str, ...]] = option({})
    colors: Mapping[str, str] = option({})
    quarters: int = option(12, least=1, most=40)
    draws: int = option(1000, least=2)
    households: bool = addition(False)


@dataclass(frozen=True)
class ReportConfig:
    """``[report]``: the files beside ``report.html``.

    Attributes
    ----------
    svg : bool
        Every figure as SVG too, for print; PNG is always written.
    """

    svg: bool = option(False)


#: A slip of the pen rather than a cluster: no address has more ports, and every worker has one.
MOST_WORKERS = 65_535


@dataclass(frozen=True)
class RunConfig:
    """``[run]``: the seed, and where evaluations run.

    Attributes
    ----------
    seed : int
        Every random number of the run follows from it.
    workers : int
        Worker processes; 0 takes one for each core. With a scheduler's address: how many workers to wait for.
    backend : str
        ``"loky"`` (this machine), ``"dask"`` (a cluster), ``"serial"``, or ``"vectorized"`` (one call a batch, on the
        accelerator that JAX sees).
    scheduler : str
        Address of a running dask scheduler, ``"tcp://host:8786"``; empty starts a local one.
    wait : float
        Seconds to wait for the scheduler's workers; a run goes on with those that are there then.
    batch : int
        Points of a vectorised call; fewer are padded to as many.
    """

    seed: int = option(20240101, least=0)
    workers: int = option(0, least=0, most=MOST_WORKERS)
    backend: str = option("loky", choices=BACKENDS)
    scheduler: str = option("")
    wait: float = option(60.0, least=0.0)
    batch: int = option(64, least=1)
