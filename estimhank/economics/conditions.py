"""What a scenario assumes: values of series at future dates, and the shocks that are to bring them about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from estimhank.data.quarters import format_quarter, parse_quarter
from estimhank.economics.reporting import About
from estimhank.parameters.parameter_table import nearest
from estimhank.support.errors import ConfigError
from estimhank.support.settings import build, check_numbers, option, read_toml

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Condition:
    """Values of one series, in the units in which it is reported.

    Attributes
    ----------
    series : str
    date : str
        Of the first value.
    values : tuple of float
        Of this date and those after it; a list of one for one date.
    sd : float
        Standard deviation around the values; zero: they hold exactly.
    """

    series: str
    date: str
    values: tuple[float, ...]
    sd: float = option(0.0, least=0.0)

    def __post_init__(self) -> None:
        if not self.values or not np.isfinite(self.values).all():
            raise ValueError(f"the condition on {self.series} needs values, which are numbers")


@dataclass(frozen=True)
class ScenarioPlan:
    """A scenario, as a small file says it.

    Attributes
    ----------
    title : str
    quarters : int
        Of the forecast.
    shocks : tuple of str
        Those that bring the conditions about; none: whatever shocks are most likely to, and all that is not known yet
        of the past.
    announced : bool
        Whether all of these shocks are known at the first date, as an announced path of policy is. Otherwise each is a
        surprise at its date.
    condition : tuple of Condition
    """

    title: str = "Scenario"
    quarters: int = option(12, least=1)
    shocks: tuple[str, ...] = ()
    announced: bool = False
    condition: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        if not self.condition:
            raise ValueError("a scenario has at least one [[condition]]")
        if self.announced and not self.shocks:
            raise ValueError('announced = true needs the shocks that are announced, such as shocks = ["m"]')


def read_plan[T](path: Path | str, kind: type[T]) -> T:
    """A scenario or a counterfactual from a TOML file.

    Raises
    ------
    ConfigError
        If it says what is not known, or not what is needed.
    StorageError
        If it cannot be read.
    """
    table = read_toml(path)
    check_numbers(table, str(path))
    return build(kind, table, str(path))


class Placed(NamedTuple):
    """Conditions on a stacked future (quarters, n_x), in the order of time.

    Attributes
    ----------
    rows : ndarray of int, shape (k,)
        Quarter times n_x plus series.
    values, variances : ndarray of shape (k,)
    words : list of str
        ``"rate in 2020Q1"``.
    """

    rows: NDArray[np.int_]
    values: Array
    variances: Array
    words: list[str]


def place(plan: ScenarioPlan, about: About) -> Placed:
    """Where the conditions of a scenario stand.

    Raises
    ------
    ConfigError
        Series or shocks that there are not, dates in the sample or beyond the scenario, a date conditioned on twice.
    """
    names, first = about.names, parse_quarter(about.dates[-1]) + 1
    found: dict[int, tuple[float, float, str]] = {}
    for name in plan.shocks:
        if name not in about.shocks:
            raise ConfigError(f"there is no shock '{name}'{nearest(name, about.shocks)}")
    for condition in plan.condition:
        if condition.series not in names:
            raise ConfigError(
                f"a condition on '{condition.series}', which is not reported{nearest(condition.series, names)}: there "
                f"are {', '.join(names)}"
            )
        try:
            begin = parse_quarter(condition.date) - first
        except ValueError as error:
            raise ConfigError(f"the condition on {condition.series}: {error}") from None
        last = begin + len(condition.values) - 1
        if begin < 0 or last >= plan.quarters:
            raise ConfigError(
                f"the condition on {condition.series} is of {_span(first + begin, first + last)}; the scenario is of "
                f"{_span(first, first + plan.quarters - 1)}: change its quarters or the dates"
            )
        for i, value in enumerate(condition.values):
            row = (begin + i) * len(names) + names.index(condition.series)
            words = f"{condition.series} in {format_quarter(first + begin + i)}"
            if row in found:
                raise ConfigError(f"there are two conditions on {words}")
            found[row] = value, condition.sd**2, words
    rows = sorted(found)
    values, variances = (np.array([found[row][i] for row in rows], float) for i in (0, 1))
    return Placed(np.array(rows), values, variances, [found[row][2] for row in rows])


def _span(first: int, last: int) -> str:
    return format_quarter(first) if first == last else f"{format_quarter(first)} to {format_quarter(last)}"


#: Share of the largest effect below which a shock has none.
_NOTHING = 1e-8
#: Least singular value of effects of unit length, as a share of the largest, with which they are independent.
_DEPENDENT = 1e-4


def why_impossible(placed: Placed, effects: Array, shocks: Sequence[str], announced: bool) -> str:
    """Why some shocks cannot bring conditions about; empty if they can.

    Parameters
    ----------
    placed : Placed
    effects : ndarray of shape (k, number of shocks in the future)
        Of each such shock on what is conditioned on.
    shocks : sequence of str
    announced : bool

    Returns
    -------
    str
        Names the first condition, in the order of time, that the shocks cannot meet beside those before it, or only by
        shocks ten thousand times as large.
    """
    who = ("announced " if announced else "") + (" and ".join(shocks) or "no shock")
    size, length = np.abs(effects).max(initial=0.0), np.linalg.norm(effects, axis=1, keepdims=True)
    for k, words in enumerate(placed.words):
        if np.abs(effects[k]).max(initial=0.0) <= _NOTHING * size:
            return f"{who} cannot move {words}: leave the condition out, or name other shocks"
        independent = np.linalg.svd(effects[: k + 1] / length[: k + 1], compute_uv=False)
        if k >= effects.shape[1] or independent[-1] <= _DEPENDENT * independent[0]:
            return f"{who} cannot move {words} apart from the conditions before it: leave one out, or name more shocks"
    return ""
