"""A finished run, from Python: ``load("results/us_hank")``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimhank.data import Dataset, read_dataset
from estimhank.evaluation.evaluations import Evaluations
from estimhank.evaluation.store import FILE_NAME as STORE
from estimhank.evaluation.store import read_evaluations
from estimhank.model.declaration import Model
from estimhank.posterior.posterior import Posterior
from estimhank.run.config import Config, restore_config
from estimhank.run.manifest import Manifest, read_manifest
from estimhank.run.open_posterior import build_posterior
from estimhank.support.errors import ConfigError, ResultsError
from estimhank.support.files import expand_user, read_json
from estimhank.support.identity import why_unidentified
from estimhank.support.runtime import configure
from estimhank.target.protocol import DEVICE_PART

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import ArrayLike

    from estimhank.economics.conditions import ScenarioPlan
    from estimhank.economics.counterfactual import Counterfactual, CounterfactualPlan
    from estimhank.economics.direct_effects import DirectAndIndirect
    from estimhank.economics.forecast import Forecast
    from estimhank.economics.history import HistoricalDecomposition
    from estimhank.economics.household_responses import HouseholdResponses
    from estimhank.economics.identification import Identification
    from estimhank.economics.linearity import Linearity
    from estimhank.economics.news import News
    from estimhank.economics.predictive import PredictiveCheck
    from estimhank.economics.responses import Responses
    from estimhank.economics.scenario import Scenario
    from estimhank.economics.smoothing import OneStep, SmoothedSeries, SmoothedShocks
    from estimhank.economics.study import Study
    from estimhank.economics.variance import VarianceDecomposition
    from estimhank.evidence.estimates import Evidence
    from estimhank.run.comparison import Comparison
    from estimhank.run.retold import RetoldData
    from estimhank.sequence_space.steady_state import SteadyState
    from estimhank.transition.solve import TransitionPath

    At = Mapping[str, float] | ArrayLike | str | None


@dataclass(frozen=True)
class Run:
    """A results folder. Everything is read when it is first asked for.

    Attributes
    ----------
    folder : Path
        The folder.
    manifest : Manifest
        What was run, from what, how long, with how many evaluations.
    """

    folder: Path
    manifest: Manifest

    @cached_property
    def config(self) -> Config:
        """The configuration of the run."""
        return restore_config(self.manifest.configuration, self.manifest.config_file, self.manifest.profile)

    @cached_property
    def data(self) -> Dataset:
        """The observables."""
        return read_dataset(self.folder / "data.csv")

    @cached_property
    def posterior(self) -> Posterior:
        """The posterior that was estimated, ready to be evaluated.

        Raises
        ------
        ResultsError
            If this version of the package, or of the model's file, gives another log density than the run had.
        """
        target = build_posterior(self.config, self.data)
        stored = self.manifest.fingerprint
        mine = target.fingerprint
        # evaluated here, on the processor: what an accelerator evaluated agrees with it to 1e-8
        parts = [part for part in stored if part != DEVICE_PART and stored[part] != mine.get(part)]
        if parts:
            raise ResultsError(f"{self.folder} was estimated with another {' and '.join(parts)} than the one at hand")
        if why := why_unidentified(mine):
            raise ResultsError(f"{self.folder}: {why}")
        return target

    @property
    def model(self) -> Model:
        """The model that was estimated."""
        return self.posterior.model

    @cached_property
    def draws(self) -> xr.DataTree:
        """``posterior.nc``: exact posterior, surrogate posterior, prior, data, as an ArviZ DataTree."""
        from estimhank.analysis.inference_data import read_inference_data

        return read_inference_data(self.folder / "posterior.nc")

    @cached_property
    def mode(self) -> Mapping[str, Any]:
        """``mode.json``: the modes that were found."""
        return dict(read_json(self.folder / "mode.json"))

    @cached_property
    def certificate(self) -> Mapping[str, Any]:
        """``certificate.json``: the surrogate's certificate, plain numbers."""
        return dict(read_json(self.folder / "certificate.json"))

    # -- results for economists --------------------------------------------------------------------------------
    def study(self, at: At = None, variables: Sequence[str] | None = None) -> Study:
        """Results at the run's draws, the same for all of them, in the conventions of its configuration.

        Parameters
        ----------
        at : mapping, array of shape (d,), "mode" or "prior", optional
            One point in place of the draws: exact figures, no bands. A mapping may leave parameters out, which then
            have the values of the model's table. ``"prior"``: draws of the prior, those that have a solution.
        variables : sequence of str, optional
            Shown beside the observables: ``"Y"``, ``"log Y"``, ``"growth Y"``.

        Raises
        ------
        ConfigError, ModelError
        """
        from estimhank.run.economics import study_of  # what most who open a run do without

        if isinstance(at, str) and at not in ("mode", "prior"):
            raise ConfigError(f'at takes parameter values, "mode" or "prior", not \'{at}\'')
        if isinstance(at, str) and at == "mode":
            return study_of(
                self.posterior, self.config.economics, at=self.mode["theta"], variables=variables, origin="mode"
            )
        if at is not None and not isinstance(at, str):
            return study_of(self.posterior, self.config.economics, at=at, variables=variables)
        from estimhank.analysis.inference_data import draws_of

        group = "posterior" if at is None else "prior"
        draws = draws_of(self.draws, group, self.posterior.names)
        return study_of(self.posterior, self.config.economics, draws, variables=variables, origin=group)

    def responses(
        self,
        horizon: int = 40,
        size: float | None = None,
        unit_of: str | None = None,
        at: At = None,
        variables: Sequence[str] | None = None,
        prior: bool = False,
    ) -> Responses:
        """Responses to shocks of one standard deviation, or of a size, or by unit of a series on impact; with the
        prior's behind them in figures and beside them in files on request."""
        found = self.study(at, variables).responses(horizon, size, unit_of)
        if not prior:
            return found
        return found.with_prior(self.study("prior", variables).responses(horizon, size, unit_of))

    def variance_decomposition(self, at: At = None, variables: Sequence[str] | None = None) -> VarianceDecomposition:
        """Which shock accounts for how much of the variance, by horizon and at business cycles."""
        return self.study(at, variables).variance_decomposition()

    def smooth(self, at: At = None) -> SmoothedShocks:
        """Shocks given all data, in the sample and before it."""
        return self.study(at).smooth()

    def smooth_series(self, at: At = None, variables: Sequence[str] | None = None) -> SmoothedSeries:
        """Series given all data, observed or not."""
        return self.study(at, variables).smooth_series()

    def one_step(self, at: At = None) -> OneStep:
        """Forecast errors one quarter ahead, and log scores by date."""
        return self.study(at).one_step()

    def historical_decomposition(
        self, at: At = None, variables: Sequence[str] | None = None
    ) -> HistoricalDecomposition:
        """Contributions of shocks to series by date, those of shocks before the sample apart."""
        return self.study(at, variables).historical_decomposition()

    def forecast(self, quarters: int | None = None, at: At = None, variables: Sequence[str] | None = None) -> Forecast:
        """Density forecasts; the configuration's number of quarters by default."""
        return self.study(at, variables).forecast(quarters)

    # -- households --------------------------------------------------------------------------------------------
    def direct_and_indirect(
        self, horizon: int = 40, outputs: Sequence[str] | None = None, at: At = None
    ) -> DirectAndIndirect:
        """Responses of household outputs, all of them by default, by the input that they are to: the return, income."""
        return self.study(at).direct_and_indirect(horizon, outputs)

    def household_responses(
        self, horizon: int = 40, outputs: Sequence[str] | None = None, at: At = None
    ) -> HouseholdResponses:
        """Responses of consumption by wealth, constraint and productivity, and of measures of inequality; ``outputs``:
        another household output in place of consumption, one for each block."""
        return self.study(at).household_responses(horizon, outputs)

    # -- nonlinear paths ---------------------------------------------------------------------------------------
    def transition(
        self,
        shocks: Mapping[str, ArrayLike | str],
        at: Mapping[str, float] | None = None,
        horizon: int | None = None,
        start: Mapping[str, float] | SteadyState | None = None,
        surprises: Mapping[int, Mapping[str, ArrayLike | str]] | None = None,
        model: Model | str | None = None,
    ) -> TransitionPath:
        """The nonlinear path under perfect foresight after shocks known at date 0, at the mode or with values ``at`` in
        place of the mode's; as of :func:`estimhank.run.transition.transition`."""
        from estimhank.run.transition import transition

        return transition(str(self.folder), shocks, at, horizon, start, surprises, model)

    def retell(
        self,
        first: str,
        last: str,
        model: Model | str | None = None,
        without: Sequence[str] = (),
        without_from: str = "",
    ) -> RetoldData:
        """What the smoothed shocks make of a span of quarters in the nonlinear model, or in another one; as of
        :func:`estimhank.run.retold.retell_data`."""
        from estimhank.run.retold import retell_data

        return retell_data(self, first, last, model, without, without_from)

    def linearity(
        self, draws: int = 100, sizes: Sequence[float] = (1.0, 2.0, 5.0), histories: int = 1, workers: int = 0
    ) -> Linearity:
        """How far off the linear solution is; as of :func:`estimhank.run.linearity.linearity_of`."""
        from estimhank.run.linearity import linearity_of

        return linearity_of(self, draws, sizes, histories, workers)

    # -- scenarios, counterfactuals, news ----------------------------------------------------------------------
    def scenario(
        self, plan: ScenarioPlan | Path | str, at: At = None, variables: Sequence[str] | None = None
    ) -> Scenario:
        """A conditional forecast; the plan or its TOML file (:class:`estimhank.economics.conditions.ScenarioPlan`)."""
        from estimhank.run.policies import scenario_of

        return scenario_of(self, plan, at, variables)

    def counterfactual(
        self,
        plan: CounterfactualPlan | Path | str,
        at: At = None,
        variables: Sequence[str] | None = None,
        model: Model | None = None,
    ) -> Counterfactual:
        """The same shocks under another policy: the plan or its TOML file
        (:class:`estimhank.economics.counterfactual.CounterfactualPlan`); ``model``: one with another rule."""
        from estimhank.run.policies import counterfactual_of

        return counterfactual_of(self, plan, at, variables, model)

    def news(
        self,
        other_data: Dataset | Path | str | Run,
        quarters: int = 8,
        at: At = None,
        variables: Sequence[str] | None = None,
    ) -> News:
        """Why forecasts change with new data: a data set, its ``data.csv``, or a run on them, which adds what
        re-estimation does."""
        from estimhank.run.policies import news_of

        return news_of(self, other_data, quarters, at, variables)

    def predictive_check(self, prior_draws: int = 500, at: At = None) -> PredictiveCheck:
        """Moments of the data against those of samples that posterior and prior make."""
        from estimhank.run.policies import predictive_check_of

        return predictive_check_of(self, prior_draws, at)

    # -- evidence and identification ---------------------------------------------------------------------------
    def evidence(self, prior_draws: int = 2_000, evaluations: int = 0) -> Evidence:
        """The log marginal likelihood; arguments and errors as of :func:`estimhank.run.evidence.evidence_of`."""
        from estimhank.run.evidence import evidence_of

        return evidence_of(self, prior_draws, evaluations)

    def identification(self, at: Mapping[str, float] | None = None) -> Identification:
        """What the data tell about the parameters; as of :func:`estimhank.run.identification.identification_of`."""
        from estimhank.run.identification import identification_of

        return identification_of(self, at)

    def compare(self, *others: Run, prior_draws: int = 2_000) -> Comparison:
        """This model and others of the same data, by their evidence."""
        from estimhank.run.comparison import compare_runs

        return compare_runs((self, *others), prior_draws)

    def evaluations(self, *stages: str) -> Evaluations:
        """Evaluations of the named stages (all, if none is named).

        Raises
        ------
        ResultsError
            If the folder has no evaluation store (it is left out of version control).
        """
        if not (self.folder / STORE).exists():
            raise ResultsError(f"{self.folder} has no evaluation store: run it again with --overwrite to have one")
        return read_evaluations(self.folder / STORE, *stages)


def load(folder: Path | str) -> Run:
    """Open the results folder of a finished run.

    Raises
    ------
    ResultsError
        If there is no run in the folder, or it is not finished.
    """
    configure()
    folder = expand_user(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        raise ResultsError(f"{folder} holds no run (it has no manifest.json)")
    if manifest.status != "finished":
        raise ResultsError(f"the run in {folder} is not finished; go on with `estimhank estimate --resume`")
    return Run(folder, manifest)
