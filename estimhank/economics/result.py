"""What every result is: draws with named dimensions, bands, a long table, words, and a check of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
import xarray as xr

from estimhank.economics.bands import (
    KINDS,
    PROBABILITIES,
    bands,
    kind_of,
    levels,
    mixture_quantiles,
    shortest_of_mixtures,
)
from estimhank.economics.reporting import About
from estimhank.support.errors import ConfigError, EstimhankError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: By how much, as a share of what is added up, an identity may fail by rounding.
IDENTITY = 1e-10

#: What the variance of a normal component is called beside its mean.
_VARIANCE = "_variance"


class IdentityError(EstimhankError):
    """A result that is not what it says: a fault of the package."""


@dataclass(frozen=True, eq=False)
class Result(ABC):
    """A result at the draws that it was computed from.

    Attributes
    ----------
    about : About
    draws : xarray.Dataset
        Arrays whose first dimension is ``draw``. An array ``x`` beside an ``x_variance`` holds means of normal
        distributions: what is not known even where the parameters are.
    kind : str
        Of the bands that tables, figures and files show, a key of :data:`estimhank.economics.bands.KINDS`.
    """

    about: About
    draws: xr.Dataset
    kind: str = "equal_tailed"

    #: Name of the result: of its files, and of its place in ``results.nc``.
    name: ClassVar[str] = ""
    #: Arrays that tables and ``results.nc`` show.
    shown: ClassVar[tuple[str, ...]] = ()
    #: Dimension along which simultaneous bands hold.
    along: ClassVar[str] = "horizon"
    probabilities: ClassVar[tuple[float, ...]] = PROBABILITIES
    #: By how much an identity may fail.
    tolerance: ClassVar[float] = IDENTITY

    def __post_init__(self) -> None:
        self.check()

    # -- the check ---------------------------------------------------------------------------------------------
    @abstractmethod
    def identities(self) -> dict[str, float]:
        """What must hold, in words, and by how much it fails at worst, as a share of what is compared."""

    def check(self) -> dict[str, float]:
        """The identities, which hold.

        Raises
        ------
        IdentityError
            If one fails by more than :attr:`tolerance`: the numbers are not what they are called.
        """
        found = self.identities()
        for words, gap in found.items():
            if not gap <= self.tolerance:
                raise IdentityError(
                    f"{self.name.replace('_', ' ')} of {self.about.model}: {words} fails by {gap:.1e}; this is a fault "
                    "of the package, report it with the model and the parameters"
                )
        return found

    # -- bands -------------------------------------------------------------------------------------------------
    def with_bands(self, kind: str) -> Self:
        """The same with bands of another kind in tables, figures and files.

        Parameters
        ----------
        kind : str
            ``"equal"``: equal-tailed; ``"hdi"``: the shortest; ``"simultaneous"``: over all horizons or dates.

        Raises
        ------
        ConfigError
            No such bands, or none of that kind of this result.
        """
        found = replace(self, kind=kind_of(kind))
        found._refuse(found.kind)
        return found

    def _refuse(self, kind: str) -> None:
        if kind == "simultaneous" and self._mixed:
            raise ConfigError(
                f"there are no simultaneous bands of {self.name.replace('_', ' ')}, which are distributions date by "
                "date at each draw: ask for equal or hdi"
            )

    def bands(self, probabilities: Sequence[float] | None = None, kind: str | None = None) -> xr.Dataset:
        """Median and ends of bands, with a dimension ``quantile`` in place of ``draw``.

        Parameters
        ----------
        probabilities : sequence of float, optional
            68 and 90 percent by default.
        kind : str, optional
            ``"equal_tailed"``, ``"shortest"`` or ``"simultaneous"``, in place of the result's own: with the last two
            the ends of a band stand where the quantiles of the same probability would.

        Raises
        ------
        ConfigError
        """
        wanted = self.probabilities if probabilities is None else tuple(probabilities)
        kind = self.kind if kind is None else kind_of(kind)
        self._refuse(kind)
        found = {}
        at = levels(wanted) if len(self.draws.draw) > 1 or self._mixed else [0.5]
        for name in self.shown:
            array = self.draws[name]
            dims = ("quantile", *array.dims[1:])
            if name + _VARIANCE in self.draws:
                spread = self.draws[name + _VARIANCE].values
                if kind == "shortest":
                    values = shortest_of_mixtures(array.values, spread, wanted)
                else:
                    values = mixture_quantiles(array.values, spread, at)
            elif len(at) == 1:
                values = array.values
            else:
                axis = array.dims.index(self.along) if self.along in array.dims else 1
                values = bands(array.values, wanted, kind, axis)
            found[name] = xr.DataArray(values, dims=dims)
        coords = {k: v for k, v in self.draws.coords.items() if k != "draw"}
        attributes = {**self.draws.attrs, "bands": KINDS[kind], "of": self.about.words}
        return xr.Dataset(found, {**coords, "quantile": at}, attributes)

    @property
    def _mixed(self) -> bool:
        return any(name + _VARIANCE in self.draws for name in self.shown)

    @cached_property
    def dataset(self) -> xr.Dataset:
        """Medians and bands: what goes into files."""
        return self.bands()

    @property
    def median(self) -> xr.Dataset:
        """The medians alone."""
        return self.dataset.sel(quantile=0.5, drop=True)

    # -- for people --------------------------------------------------------------------------------------------
    def table(self) -> pd.DataFrame:
        """A long table: the dimensions, ``quantile`` and ``value``; ``quantity`` where there are several."""
        parts, names = [], list(self.dataset.data_vars)
        for name in names:
            long = self.dataset[name].to_series().rename("value").reset_index()
            if len(names) > 1:
                long.insert(0, "quantity", name)
            parts.append(long)
        whole = pd.concat(parts, ignore_index=True).dropna(subset=["value"])
        if self.kind != "equal_tailed" and self.banded:  # where `quantile` is the end of a band, and no quantile
            whole["bands"] = self.kind
        columns = [c for c in whole.columns if c not in ("quantile", "value")]
        return whole[[*columns, "quantile", "value"]].reset_index(drop=True)

    @property
    def banded(self) -> bool:
        """Whether there are bands: not of what is certain at one point."""
        return self.dataset.sizes["quantile"] > 1

    @property
    def heading(self) -> str:
        """Of what parameters it is, and what stands in brackets: the first words of a summary."""
        if not self.banded:
            return self.about.words
        kind = "" if self.kind == "equal_tailed" else f", {self.dataset.attrs['bands']}"
        return f"{self.about.words}; 68% in brackets{kind}"

    @abstractmethod
    def summary(self) -> str:
        """What it says, in words."""

    def plot(self, **options: Any) -> Figure:
        """A figure in the style of the report (:mod:`estimhank.report.figures_economics`)."""
        from estimhank.report.figures_economics import plot_result  # the one door up

        return plot_result(self, **options)

    def _interval(self, array: xr.DataArray, digits: int = 2) -> str:
        """A number with its 68 percent band, of an array that has only ``quantile`` left; more digits of small ones."""
        middle = float(array.sel(quantile=0.5))
        ends = [] if array.sizes["quantile"] == 1 else [float(array.sel(quantile=q)) for q in (0.16, 0.84)]
        size = max(abs(x) for x in (middle, *ends))
        if digits and 0 < size < 0.1:
            digits += int(-np.floor(np.log10(size))) - 1
        middle, *ends = (round(x, digits) + 0.0 for x in (middle, *ends))  # no minus before zero
        words = f"{middle:.{digits}f}"
        return words if not ends else f"{words} ({ends[0]:.{digits}f} to {ends[1]:.{digits}f})"


def gap(found: np.ndarray, wanted: np.ndarray | float) -> float:
    """Largest difference, as a share of the largest number in either; entries that are ``nan`` in both are equal."""
    found, wanted = np.broadcast_arrays(np.asarray(found, float), np.asarray(wanted, float))
    both = np.isnan(found) & np.isnan(wanted)
    if both.all():
        return 0.0
    difference = np.abs(np.where(both, 0.0, found - wanted)).max()
    size = max(np.abs(found[~both]).max(), np.abs(wanted[~both]).max(), 1e-300)
    return float(difference / size)
