"""How results are shown: which series, in which units, which shocks together, in which colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from estimhank.data.quarters import format_quarter, parse_quarter
from estimhank.data.units import period_of
from estimhank.economics.draws import ReducedDraws
from estimhank.economics.series import Series, observed_series, variable_series
from estimhank.parameters.parameter_table import ModelError, nearest
from estimhank.posterior.posterior import Posterior

#: Units that an observable may be shown in, beside those of the data.
UNITS = ("quarterly", "annualised", "four_quarter", "level")

_FOUR = (1.0,) * 4


@dataclass(frozen=True)
class Reporting:
    """Conventions of all figures and tables of a run.

    Attributes
    ----------
    units : mapping of str to str
        Of observables, one of :data:`UNITS`; those of the data where nothing is said.
    variables : tuple of str
        Variables shown beside the observables: ``"Y"``, ``"log Y"``, ``"growth Y"``
        (:func:`estimhank.economics.series.variable_series`).
    groups : mapping of str to tuple of str
        Shocks that decompositions show as one, by the group's name.
    colors : mapping of str to str
        Colours of shocks and groups, ``"#0072B2"``; a palette's by default, in the order of the shocks.
    quarters : int
        Of forecasts.
    """

    units: Mapping[str, str] = field(default_factory=dict)
    variables: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    colors: Mapping[str, str] = field(default_factory=dict)
    quarters: int = 12


def in_units(series: Series, wanted: str) -> Series:
    """An observable in other units than the data's.

    Raises
    ------
    ModelError
        Where the data's units do not say what that would be.
    """
    period = period_of(series.units)
    per_quarter = {"quarter": 1.0, "year": 0.25}.get(period)
    if wanted not in UNITS:
        raise ModelError(f"units of {series.name}: '{wanted}' is none of {', '.join(UNITS)}")
    if series.weights != (1.0,) or series.variable.kind == "year_on_year":
        raise ModelError(f"{series.name} speaks of several quarters and is shown as the data hold it, not '{wanted}'")
    words = series.units.replace("per quarter", "").replace("per year", "").strip() or "sum"
    if per_quarter is None:
        if wanted == "level":
            return series
        raise ModelError(
            f"units of {series.name}: '{wanted}' is of rates per quarter or per year, and its unit is '{series.units}'"
        )
    if wanted == "quarterly":
        return series.filtered((per_quarter,), f"{words} per quarter")
    if wanted == "annualised":
        return series.filtered((4 * per_quarter,), f"{words} per year")
    if wanted == "four_quarter":
        return series.filtered([per_quarter * w for w in _FOUR], f"{words} over four quarters")
    return series.filtered((per_quarter,), f"{words}, cumulated", cumulated=True)


def reported_series(posterior: Posterior, reporting: Reporting) -> tuple[Series, ...]:
    """Observables in their units, then variables.

    Raises
    ------
    ModelError
        No such observable, variable or unit.
    """
    observed = observed_series(posterior)
    names = [s.name for s in observed]
    for name in reporting.units:
        if name not in names:
            raise ModelError(f"units of '{name}', which is not an observable{nearest(name, names)}")
    shown = [in_units(s, reporting.units[s.name]) if s.name in reporting.units else s for s in observed]
    return (*shown, *variable_series(posterior, reporting.variables))


@dataclass(frozen=True)
class About:
    """What results are about, for tables, figures and words.

    Attributes
    ----------
    model : str
    origin : str
        ``"posterior"``, ``"prior"``, ``"mode"`` or ``"point"``.
    draws : int
    series : tuple of Series
    shocks, shock_labels : tuple of str
    groups : dict of str to tuple of str
        Of all shocks, those that stand alone as groups of one.
    colors : dict of str to str
    dates : tuple of str
        Of the sample.
    """

    model: str
    origin: str
    draws: int
    series: tuple[Series, ...]
    shocks: tuple[str, ...]
    shock_labels: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    colors: dict[str, str]
    dates: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Of the series."""
        return [s.name for s in self.series]

    def label(self, name: str) -> str:
        """Words for a series or a shock."""
        words = {s.name: s.label for s in self.series} | dict(zip(self.shocks, self.shock_labels, strict=True))
        return words.get(name, name)

    def units(self, name: str) -> str:
        """Of a series."""
        return {s.name: s.units for s in self.series}[name]

    def quarters(self, first: int, last: int) -> list[str]:
        """Dates from one to before another, 0 the sample's first."""
        begin = parse_quarter(self.dates[0])
        return [format_quarter(begin + i) for i in range(first, last)]

    @property
    def words(self) -> str:
        """Of what parameters the results are, for captions."""
        if self.origin == "posterior":
            return f"{self.draws:,} draws from the posterior"
        if self.origin == "prior":
            return f"{self.draws:,} draws from the prior, those of them with a solution"
        return "at the posterior mode" if self.origin == "mode" else "at one parameter vector"


def describe(draws: ReducedDraws, series: Sequence[Series], reporting: Reporting) -> About:
    """What results of some draws are about.

    Raises
    ------
    ModelError
        Groups or colours of shocks that there are not; a shock in two groups.
    """
    posterior = draws.posterior
    innovations = posterior.solver.setting.model.innovations
    shocks = tuple(s.name for s in innovations)
    groups: dict[str, tuple[str, ...]] = {}
    for group, members in reporting.groups.items():
        for name in members:
            if name not in shocks:
                raise ModelError(f"the group '{group}' has the shock '{name}'{nearest(name, shocks)}: there is none")
            if any(name in other for other in groups.values()):
                raise ModelError(f"the shock '{name}' is in two groups")
        groups[group] = tuple(members)
    grouped = {name for members in groups.values() for name in members}
    groups |= {name: (name,) for name in shocks if name not in grouped}
    for name in reporting.colors:
        if name not in (*shocks, *groups):
            raise ModelError(f"a colour of '{name}', which is neither a shock nor a group{nearest(name, shocks)}")
    return About(
        posterior.model.title or posterior.model.name,
        draws.origin,
        len(draws),
        tuple(series),
        shocks,
        tuple(s.description or s.name for s in innovations),
        groups,
        dict(reporting.colors),
        tuple(posterior.data.dates),
    )
