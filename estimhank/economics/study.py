"""Results of a posterior at some draws, one after another or several at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from estimhank.economics.direct_effects import DirectAndIndirect, direct_and_indirect
from estimhank.economics.draws import Kernel, ReducedDraws
from estimhank.economics.forecast import Forecast, ForecastOutput
from estimhank.economics.history import HistoricalDecomposition, HistoryOutput
from estimhank.economics.household_responses import HouseholdResponses, household_responses
from estimhank.economics.linear_form import AHEAD, LinearForm, LinearForms
from estimhank.economics.output import Output, Scene
from estimhank.economics.reporting import Reporting, describe, reported_series
from estimhank.economics.responses import ResponseOutput, Responses
from estimhank.economics.result import Result
from estimhank.economics.series import Series
from estimhank.economics.simulation import draw_paths
from estimhank.economics.smoothing import (
    OneStep,
    OneStepOutput,
    SeriesOutput,
    ShockOutput,
    SmoothedSeries,
    SmoothedShocks,
)
from estimhank.economics.stacked_sample import StackedSample
from estimhank.economics.updates import in_real_time, weights_of_data
from estimhank.economics.variance import VarianceDecomposition, VarianceOutput
from estimhank.support.errors import ConfigError, EstimhankError
from estimhank.support.progress_event import Progress

Array = NDArray[np.float64]


class Study:
    """What is to be said of a posterior at some draws, in the reporting conventions of a run.

    Parameters
    ----------
    draws : ReducedDraws
    reporting : Reporting
    ahead : int
        Quarters beyond the sample that forecasts may reach.
    progress : callable, optional
        Receives reports as draws are done.

    Raises
    ------
    ModelError
        Conventions that speak of what the model does not have.
    """

    def __init__(
        self,
        draws: ReducedDraws,
        reporting: Reporting | None = None,
        ahead: int = AHEAD,
        progress: Progress | None = None,
    ) -> None:
        self.progress = progress
        self.draws, self.reporting = draws, reporting or Reporting()
        posterior = draws.posterior
        self.series = reported_series(posterior, self.reporting)
        self.about = describe(draws, self.series, self.reporting)
        plain = LinearForms(posterior).observed
        self.forms = LinearForms(posterior, [s for s in self.series if s not in plain], ahead)
        self.sample = StackedSample(posterior.data)

    @cached_property
    def scene(self) -> Scene:
        """What outputs have in common, of all reported series."""
        return self._scene_of(self.series)

    @cached_property
    def lasting(self) -> Scene:
        """The same of the series whose responses die out: others are nowhere on average, and are neither smoothed,
        decomposed by date nor forecast; :attr:`left_out` has their names."""
        left_out = set(self.left_out)
        return self._scene_of(tuple(s for s in self.series if s.name not in left_out))

    @cached_property
    def left_out(self) -> tuple[str, ...]:
        """Series with a unit root, or with a root that the horizon is too short for, at the first draw."""
        lasts = np.asarray(self.forms.at(self.draws.theta[0]).dies_out)[self.scene.positions]
        return tuple(s.name for s, there in zip(self.series, lasts, strict=True) if not there)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of series that are left out of some results."""
        names = self.left_out
        if not names:
            return ()
        first = next(s.variable.variable for s in self.series if s.name == names[0])
        return (
            f"{', '.join(names)}: responses do not die out within the horizon (a unit root, or nearly), so that only "
            f'responses and finite horizons are shown; show the change in place of the level, "growth {first}", or '
            "give a longer horizon",
        )

    def _scene_of(self, series: tuple[Series, ...]) -> Scene:
        columns = [s.name for s in self.forms.observed]
        return Scene(
            replace(self.about, series=series),
            self.sample,
            np.array([self.forms.series.index(s) for s in series]),
            np.array([columns.index(s.observable) if s.observable else -1 for s in series]),
        )

    def run(self, outputs: Mapping[str, Output]) -> dict[str, Result]:
        """Several results; each draw is solved once for all of them.

        Raises
        ------
        EstimhankError
            There is no density at a draw, or what was computed is not what it says.
        """
        kernels: dict[str, Kernel] = {name: output.kernel for name, output in outputs.items()}
        kernels[""] = lambda form, stacked: {"dies_out": form.dies_out}
        if any(output.reads_data for output in outputs.values()):
            kernels[""] = lambda form, stacked: {
                "dies_out": form.dies_out,
                "log_likelihood": self.sample.log_likelihood(stacked),
            }
        arrays = self.draws.map(self.forms, kernels, self.progress)
        lasts = arrays[""]["dies_out"][:, self.lasting.positions].mean(0)
        if (lasts < 1).any():
            at = int(lasts.argmin())
            raise EstimhankError(
                f"responses of {self.lasting.series[at].name} do not die out within the horizon at "
                f"{1 - lasts[at]:.1%} of the draws: show its growth, or leave it out"
            )
        return {name: output.result(arrays[name]) for name, output in outputs.items()}

    # -- one by one --------------------------------------------------------------------------------------------
    def responses(self, horizon: int = 40, size: float | None = None, unit_of: str | None = None) -> Responses:
        """Responses of the reported series to shocks (:class:`estimhank.economics.responses.ResponseOutput`)."""
        return self._one(ResponseOutput(self.scene, _positive(horizon), size, unit_of), Responses)

    def variance_decomposition(self) -> VarianceDecomposition:
        """Variance decompositions of the reported series."""
        return self._one(VarianceOutput(self.scene), VarianceDecomposition)

    def smooth(self) -> SmoothedShocks:
        """Shocks given all data, in the sample and before it."""
        return self._one(ShockOutput(self.scene), SmoothedShocks)

    def smooth_series(self) -> SmoothedSeries:
        """The reported series given all data."""
        return self._one(SeriesOutput(self.lasting), SmoothedSeries)

    def one_step(self) -> OneStep:
        """Forecast errors and log scores by date."""
        return self._one(OneStepOutput(self.scene), OneStep)

    def historical_decomposition(self) -> HistoricalDecomposition:
        """Contributions of shocks to the reported series."""
        return self._one(HistoryOutput(self.lasting), HistoricalDecomposition)

    def forecast(self, quarters: int | None = None) -> Forecast:
        """Density forecasts of the reported series; of as many quarters as the conventions say by default."""
        quarters = self.reporting.quarters if quarters is None else quarters
        if quarters > self.forms.ahead:
            raise ConfigError(f"forecasts reach {self.forms.ahead} quarters, not {quarters}")
        return self._one(ForecastOutput(self.lasting, quarters), Forecast)

    def direct_and_indirect(self, horizon: int = 40, outputs: Sequence[str] | None = None) -> DirectAndIndirect:
        """Responses of household outputs by the input that they are to
        (:func:`estimhank.economics.direct_effects.direct_and_indirect`)."""
        return direct_and_indirect(self.draws, self.about, _positive(horizon), outputs)

    def household_responses(self, horizon: int = 40, outputs: Sequence[str] | None = None) -> HouseholdResponses:
        """Responses of consumption by group of households, and of inequality
        (:func:`estimhank.economics.household_responses.household_responses`)."""
        return household_responses(self.draws, self.about, _positive(horizon), outputs)

    def basics(self) -> dict[str, Result]:
        """Responses, variance decomposition, smoothed shocks, historical decomposition and forecast, in one pass."""
        return self.run(self.outputs())

    def households(self) -> dict[str, Result]:
        """Responses of groups of households, where there is a distribution of them, and direct and indirect effects.

        Raises
        ------
        ConfigError
            The model has no households, or it is not known which of their outputs is consumption.
        """
        found: list[Result] = []
        if self.draws.posterior.solver.setting.model.given is None:
            found.append(self.household_responses())
        found.append(self.direct_and_indirect())
        return {result.name: result for result in found}

    def outputs(self) -> dict[str, Output]:
        """What :meth:`basics` computes, by name."""
        return {
            Responses.name: ResponseOutput(self.scene),
            VarianceDecomposition.name: VarianceOutput(self.scene),
            SmoothedShocks.name: ShockOutput(self.scene),
            HistoricalDecomposition.name: HistoryOutput(self.lasting),
            Forecast.name: ForecastOutput(self.lasting, self.reporting.quarters),
        }

    def _one[R: Result](self, output: Output, kind: type[R]) -> R:
        found = self.run({kind.name: output})[kind.name]
        assert isinstance(found, kind)
        return found

    # -- at the first draw, or the one point -------------------------------------------------------------------
    def weights_of_data(self, name: str, date: str) -> Array:
        """dE[series at a date | data] / d data at the first draw, shape (n, n_o); ``nan`` where values are missing.

        Raises
        ------
        ConfigError
            No such series or date.
        """
        dates = list(self.about.dates)
        if date not in dates:
            raise ConfigError(f"weights of data are of a date from {dates[0]} to {dates[-1]}, not '{date}'")
        return weights_of_data(self._first, self.sample, self._position(name), dates.index(date))

    def in_real_time(self, name: str) -> Array:
        """E[series at t | data up to T'] less the mean at the first draw, shape (n, n), [T', t].

        Raises
        ------
        ConfigError
            No such series.
        """
        return in_real_time(self._first, self.sample, self._position(name))

    def draw_paths(self, draws: int = 1, seed: int = 0) -> dict[str, Array]:
        """Paths given the data (Durbin and Koopman 2002), so many at each parameter vector: ``"shocks"``
        (n_draws draws, n, n_z) and ``"series"`` (n_draws draws, n, n_x), the latter with their means and without
        measurement errors; series that do not die out are left out."""
        rng, found = np.random.default_rng(seed), []
        for theta in self.draws.theta:
            form = self.forms.at(theta)
            paths = draw_paths(form, self.sample, rng, draws, self.lasting.positions)
            found.append((paths.shocks, paths.series + np.asarray(self.lasting.mean(form))))
        return {"shocks": np.concatenate([f[0] for f in found]), "series": np.concatenate([f[1] for f in found])}

    @property
    def _first(self) -> LinearForm:
        return self.forms.at(self.draws.theta[0])

    def _position(self, name: str) -> int:
        names = self.lasting.about.names
        if name not in names:
            raise ConfigError(f"no series '{name}' that dies out is shown: there are {', '.join(names)}")
        return int(self.lasting.positions[names.index(name)])


def _positive(horizon: int) -> int:
    if horizon < 1:
        raise ConfigError(f"a horizon is one quarter or more, not {horizon}")
    return horizon
