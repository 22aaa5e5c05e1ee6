"""How a result is computed: a kernel at each draw, and what is made of its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.economics.linear_form import LinearForm
from estimhank.economics.reporting import About
from estimhank.economics.result import Result
from estimhank.economics.series import Series
from estimhank.economics.stacked_sample import Stacked, StackedSample

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """What outputs have in common: which series of a linear form are reported, and the sample.

    Attributes
    ----------
    about : About
    sample : StackedSample
    positions : array of int, shape (n_x,)
        Of the reported series in the linear form.
    columns : array of int, shape (n_x,)
        Column of the data that each is made of; -1 for variables.
    """

    about: About
    sample: StackedSample
    positions: NDArray[np.int_]
    columns: NDArray[np.int_]

    @property
    def series(self) -> tuple[Series, ...]:
        """Reported."""
        return self.about.series

    @property
    def cumulated(self) -> NDArray[np.bool_]:
        """Which of them are shown as sums over dates, (n_x,)."""
        return np.array([s.cumulated for s in self.series])

    def add_up(self, array: jax.Array, axis: int, series_axis: int) -> jax.Array:
        """Sums over dates, of the series that are shown so."""
        shape = [1] * array.ndim
        shape[series_axis] = len(self.series)
        return jnp.where(self.cumulated.reshape(shape), jnp.cumsum(array, axis), array)

    def mean(self, form: LinearForm) -> jax.Array:
        """Means of the reported series, (n_x,), with what the data had taken off."""
        return form.mean[self.positions] + np.array([s.constant for s in self.series])

    def error_variances(self, form: LinearForm) -> jax.Array:
        """Of the measurement errors of the observables that the series are made of, (n_x,); zero of variables."""
        found: jax.Array = jnp.where(self.columns >= 0, form.errors[self.columns], 0.0)
        return found

    @property
    def filters(self) -> Array:
        """Weights on the observables that the series are made of, (n_x, length)."""
        length = max(len(s.filter) for s in self.series)
        return np.array([np.pad(s.filter, (0, length - len(s.filter))) for s in self.series], float)

    def filtered_errors(self, form: LinearForm, stacked: Stacked) -> jax.Array:
        """E[measurement error | data] of the series, (n, n_x): that of an entry is its variance times its weight."""
        each = jnp.where(self.columns >= 0, stacked.weights[:, self.columns] * self.error_variances(form), 0.0)
        n, found = self.sample.dates, jnp.zeros_like(each)
        for lag, weight in enumerate(self.filters.T):
            found = found.at[lag:].add(weight * each[: n - lag])
        return found

    def data(self) -> Array:
        """The data as the series show them, (n, n_x), ``nan`` where they are not known, and of variables."""
        values, n = self.sample.values, self.sample.dates
        found = np.full((n, len(self.series)), np.nan)
        for j, s in enumerate(self.series):
            if self.columns[j] < 0:
                continue
            column = values[:, self.columns[j]]
            total = sum(w * np.r_[np.full(lag, np.nan), column[: n - lag]] for lag, w in enumerate(s.filter) if w)
            shown = total + s.constant
            found[:, j] = np.cumsum(shown) if s.cumulated else shown
        return found


class Output(Protocol):
    """One kind of result; ``reads_data``: whether it is of the model given data, or of the model alone."""

    reads_data: ClassVar[bool]

    def kernel(self, form: LinearForm, stacked: Stacked) -> Mapping[str, jax.Array]:
        """Its arrays at one draw (:class:`estimhank.economics.draws.Kernel`)."""
        ...

    def result(self, arrays: Mapping[str, Array]) -> Result:
        """The result, of arrays with a first axis of draws."""
        ...
