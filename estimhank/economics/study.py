"""Results of a posterior at some draws, one after another or several at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import jax
import numpy as np
from numpy.typing import NDArray

from estimhank.economics.draws import Kernel, ReducedDraws
from estimhank.economics.forecast import Forecast, ForecastOutput
from estimhank.economics.history import HistoricalDecomposition, HistoryOutput
from estimhank.economics.linear_form import AHEAD, LinearForms
from estimhank.economics.output import Output, Scene
from estimhank.economics.reporting import Reporting, describe, reported_series
from estimhank.economics.responses import ResponseOutput, Responses
from estimhank.economics.result import Result
from estimhank.economics.smoothing import (
    OneStep,
    OneStepOutput,
    SeriesOutput,
    ShockOutput,
    SmoothedSeries,
    SmoothedShocks,
)
from estimhank.economics.stacked_sample import StackedSample
from estimhank.economics.variance import VarianceDecomposition, VarianceOutput
from estimhank.parameters.parameter_table import ModelError
from estimhank.support.errors import ConfigError

Array = NDArray[np.float64]


class Study:
    """What is to be said of a posterior at some draws, in the reporting conventions of a run.

    Parameters
    ----------
    draws : ReducedDraws
    reporting : Reporting
    ahead : int
        Quarters beyond the sample that forecasts may reach.

    Raises
    ------
    ModelError
        Conventions that speak of what the model does not have.
    """

    def __init__(self, draws: ReducedDraws, reporting: Reporting | None = None, ahead: int = AHEAD) -> None:
        self.draws, self.reporting = draws, reporting or Reporting()
        posterior = draws.posterior
        self.series = reported_series(posterior, self.reporting)
        self.about = describe(draws, self.series, self.reporting)
        plain = LinearForms(posterior).observed
        self.forms = LinearForms(posterior, [s for s in self.series if s not in plain], ahead)
        self.sample = StackedSample(posterior.data)

    @cached_property
    def scene(self) -> Scene:
        """What outputs have in common."""
        columns = [s.name for s in self.forms.observed]
        return Scene(
            self.about,
            self.sample,
            np.array([self.forms.series.index(s) for s in self.series]),
            np.array([columns.index(s.observable) if s.observable else -1 for s in self.series]),
        )

    def run(self, outputs: Mapping[str, Output]) -> dict[str, Result]:
        """Several results; each draw is solved once for all of them.

        Raises
        ------
        EstimhankError
            There is no density at a draw, or what was computed is not what it says.
        """
        kernels: dict[str, Kernel] = {name: output.kernel for name, output in outputs.items()}
        if any(output.reads_data for output in outputs.values()):
            kernels[""] = lambda form, stacked: {"log_likelihood": self.sample.log_likelihood(stacked)}
        arrays = self.draws.map(self.forms, kernels)
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
        self._refuse_unit_roots()
        return self._one(SeriesOutput(self.scene), SmoothedSeries)

    def one_step(self) -> OneStep:
        """Forecast errors and log scores by date."""
        return self._one(OneStepOutput(self.scene), OneStep)

    def historical_decomposition(self) -> HistoricalDecomposition:
        """Contributions of shocks to the reported series."""
        self._refuse_unit_roots()
        return self._one(HistoryOutput(self.scene), HistoricalDecomposition)

    def forecast(self, quarters: int = 12) -> Forecast:
        """Density forecasts of the reported series."""
        self._refuse_unit_roots()
        if quarters > self.forms.ahead:
            raise ConfigError(f"forecasts reach {self.forms.ahead} quarters, not {quarters}")
        return self._one(ForecastOutput(self.scene, quarters), Forecast)

    def basics(self) -> dict[str, Result]:
        """Responses, variance decomposition, smoothed shocks, historical decomposition and forecast, in one pass."""
        self._refuse_unit_roots()
        return self.run(self.outputs())

    def outputs(self) -> dict[str, Output]:
        """What :meth:`basics` computes, by name."""
        scene = self.scene
        return {
            Responses.name: ResponseOutput(scene),
            VarianceDecomposition.name: VarianceOutput(scene),
            SmoothedShocks.name: ShockOutput(scene),
            HistoricalDecomposition.name: HistoryOutput(scene),
            Forecast.name: ForecastOutput(scene),
        }

    def _one[R: Result](self, output: Output, kind: type[R]) -> R:
        found = self.run({kind.name: output})[kind.name]
        assert isinstance(found, kind)
        return found

    def _refuse_unit_roots(self) -> None:
        """Levels of what has a unit root are nowhere on average: neither smoothed nor forecast."""
        alive = ~np.asarray(self.forms.at(self.draws.theta[0]).dies_out)[self.scene.positions]
        names = [s.name for s, bad in zip(self.series, alive, strict=True) if bad]
        if names:
            raise ModelError(
                f"responses of {', '.join(names)} do not die out: of a variable with a unit root, or with a root that "
                f'the horizon is too short for, show the change, "growth {self._variable(names[0])}", or give a longer '
                "horizon"
            )

    def _variable(self, name: str) -> str:
        return next(s.variable.variable for s in self.series if s.name == name)

    def weights_of_data(self, name: str, date: str) -> Array:
        """dE[series at a date | data] / d data at the first draw, shape (n, n_o); ``nan`` where values are missing.

        Raises
        ------
        ConfigError
            No such series or date.
        """
        names, dates = self.about.names, list(self.about.dates)
        if name not in names or date not in dates:
            raise ConfigError(
                f"weights of data are of one of {', '.join(names)}, at a date from {dates[0]} to {dates[-1]}"
            )
        sample, position = self.sample, int(self.scene.positions[names.index(name)])
        form = self.forms.at(self.draws.theta[0])
        factor = sample.stack(form).factor
        with_data = sample.with_dates(form.covariances.sum(0), np.array([dates.index(date)]))[0, position]
        found = np.full(sample.values.shape, np.nan)
        found[sample.date, sample.column] = np.asarray(jax.scipy.linalg.cho_solve((factor, True), with_data))
        return found


def _positive(horizon: int) -> int:
    if horizon < 1:
        raise ConfigError(f"a horizon is one quarter or more, not {horizon}")
    return horizon
