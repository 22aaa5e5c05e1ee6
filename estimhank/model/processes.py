"""Exogenous processes: what an equation reads as ``shock.NAME``.

A process is written as in the paper. Those that are more than a first-order autoregression of their own become
equations of the model (:mod:`estimhank.model.canonical`), so that one written by hand and one declared are the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from estimhank.parameters.parameter_table import ModelError, Parameters, nearest

#: A coefficient: the name of a parameter, or a number.
Coefficient = str | float


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, truth values excluded."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _news_of(who: str, news: Any) -> tuple[int, ...]:
    given = (news,) if isinstance(news, int) and not isinstance(news, bool) else news
    ahead = tuple(given) if isinstance(given, tuple | list) else None
    if ahead is None or not all(isinstance(h, int) and not isinstance(h, bool) and h > 0 for h in ahead):
        raise ModelError(f"{who}: news are quarters ahead, such as news=(4, 8), not {news!r}")
    return tuple(sorted(set(ahead)))


@dataclass(frozen=True)
class ARMA:
    """An autoregressive moving average with Gaussian innovations::

        a_t = ar[0] a_{t-1} + ar[1] a_{t-2} + ... + e_t + ma[0] e_{t-1} + ma[1] e_{t-2} + ...

    Parameters
    ----------
    name : str
        Name under which the equations read it.
    ar, ma : tuple of str or float
        Names of the parameters that hold the coefficients, ``"-theta"`` for less that one, or numbers.
    sigma : str, optional
        Parameter that holds the innovations' standard deviation, ``sigma_<name>`` by default.
    scale : float
        Units of the standard deviation: 0.01 means that ``sigma`` is in percent.
    description : str
        A few words for tables and plots.
    news : tuple of int
        Quarters ahead at which further innovations are announced, each with a standard deviation of its own,
        ``sigma_<name>_news<quarters>``.
    """

    name: str
    ar: tuple[Coefficient, ...] = ()
    ma: tuple[Coefficient, ...] = ()
    sigma: str = ""
    scale: float = 0.01
    description: str = ""
    news: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check(self)
        for role in ("ar", "ma"):
            given = getattr(self, role)
            entries = (given,) if isinstance(given, str | int | float) else given
            if not isinstance(entries, tuple | list) or not all(isinstance(c, str) or is_number(c) for c in entries):
                raise ModelError(
                    f'{_who(self)}: {role} are names of parameters or numbers, such as {role}=("rho_1", "rho_2"), '
                    f"not {given!r}"
                )
            object.__setattr__(self, role, tuple(entries))


@dataclass(frozen=True)
class AR1:
    """A first-order autoregressive process with Gaussian innovations.

    Parameters
    ----------
    name : str
        Name under which the equations read it.
    rho, sigma : str, optional
        Parameters that hold the autocorrelation and the innovations' standard deviation; ``rho_<name>`` and
        ``sigma_<name>`` by default.
    scale, description, news
        As of :class:`ARMA`.
    """

    name: str
    rho: str = ""
    sigma: str = ""
    scale: float = 0.01
    description: str = ""
    news: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check(self)
        object.__setattr__(self, "rho", self.rho or f"rho_{self.name}")

    @property
    def ar(self) -> tuple[Coefficient, ...]:
        """The one coefficient."""
        return (self.rho,)

    @property
    def ma(self) -> tuple[Coefficient, ...]:
        """None."""
        return ()


@dataclass(frozen=True)
class IID:
    """A process without memory: it is its own innovation. Parameters as of :class:`ARMA`.

    A ``sigma`` of one, ``IID("e", sigma=1.0)``, is no parameter.
    """

    name: str
    sigma: Coefficient = ""
    scale: float = 0.01
    description: str = ""
    news: tuple[int, ...] = ()
    rho: str = field(default="", init=False)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def ar(self) -> tuple[Coefficient, ...]:
        """None."""
        return ()

    ma = ar


@dataclass(frozen=True)
class RandomWalk:
    """A process that adds up its innovations, a_t = a_{t-1} + e_t, for models of which only changes are observed.
    Parameters as of :class:`ARMA`."""

    name: str
    sigma: str = ""
    scale: float = 0.01
    description: str = ""
    news: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check(self)

    @property
    def ar(self) -> tuple[Coefficient, ...]:
        """The root of one."""
        return (1.0,)

    @property
    def ma(self) -> tuple[Coefficient, ...]:
        """None."""
        return ()


Process = AR1 | ARMA | IID | RandomWalk
PROCESSES = (AR1, ARMA, IID, RandomWalk)


@dataclass(frozen=True)
class Correlation:
    """The correlation of two processes' innovations.

    Responses are then those to orthogonal innovations, in the order in which the processes are declared (Cholesky): the
    first one's moves the second, not the other way round.

    Parameters
    ----------
    first, second : str
        Names of processes.
    parameter : str, optional
        Parameter that holds the correlation, ``corr_<first>_<second>`` by default.
    """

    first: str
    second: str
    parameter: str = ""

    def __post_init__(self) -> None:
        if not all(isinstance(getattr(self, role), str) for role in ("first", "second", "parameter")):
            raise ModelError('a correlation is given by names, Correlation("a", "b", "corr_ab")')
        if self.first == self.second:
            raise ModelError(f"a correlation of '{self.first}' with itself")
        object.__setattr__(self, "parameter", self.parameter or f"corr_{self.first}_{self.second}")


def sigma_of_news(process: Process, ahead: int) -> str:
    """Parameter that holds the standard deviation of a process's news."""
    return f"sigma_{process.name}_news{ahead}"


def parameters_of(process: Process) -> tuple[str, ...]:
    """Names of the parameters that a process reads."""
    own = (*process.ar, *process.ma, process.sigma, *(sigma_of_news(process, h) for h in process.news))
    return tuple(dict.fromkeys(name.removeprefix("-") for name in own if isinstance(name, str)))


def is_off(process: Process, table: Parameters) -> bool:
    """Whether all standard deviations of a process are fixed at zero."""
    names = [process.sigma, *(sigma_of_news(process, h) for h in process.news)]
    return all(isinstance(n, str) and table[n].prior is None and table[n].value == 0 for n in names)


def check_processes(shocks: Sequence[Process], correlations: Sequence[Correlation], table: Parameters) -> list[str]:
    """What processes and correlations lack, in words: entries of the parameter table, and processes."""
    problems, names = [], [shock.name for shock in shocks]
    for shock in shocks:
        for name in parameters_of(shock):
            if name not in table:
                problems.append(f"shock '{shock.name}' needs the parameter '{name}'{nearest(name, table)}")
    for shock in shocks:
        for name in (f"{shock.name}_news{ahead}" for ahead in shock.news):
            if name in names:
                problems.append(f"the shock '{name}' has the name of the news of '{shock.name}'; give it another one")
    for c in correlations:
        for name in (c.first, c.second):
            if name not in names:
                problems.append(f"a correlation of '{name}', which is not a shock{nearest(name, names)}")
        if c.parameter not in table:
            problems.append(f"the correlation of {c.first} and {c.second} needs the parameter '{c.parameter}'")
    return problems


def _who(process: Process) -> str:
    return f"{type(process).__name__}('{process.name}')"


def _check(process: Process) -> None:
    if not isinstance(process.name, str) or not process.name.isidentifier():
        raise ModelError(f"a shock is read as shock.NAME: {process.name!r} is no such name")
    who = _who(process)
    for role in ("rho", "sigma"):
        given = getattr(process, role, "")
        if not isinstance(given, str) and not (role == "sigma" and isinstance(process, IID) and given == 1.0):
            raise ModelError(
                f"{who}: {role} is the name of a parameter, not {given!r}; leave it out and give the "
                f"parameter {role}_{process.name} the value in the parameter table"
            )
    if not is_number(process.scale) or not process.scale > 0:
        raise ModelError(f"{who}: scale is a positive number, not {process.scale!r}")
    object.__setattr__(process, "sigma", process.sigma or f"sigma_{process.name}")
    object.__setattr__(process, "description", process.description or process.name)
    object.__setattr__(process, "news", _news_of(who, process.news))
