"""How a model is written down: a household problem, aggregate equilibrium conditions, shocks, observables, parameters.

A user subclasses :class:`Model` and writes the conditions as they stand in the paper; which variables are solved for in
which order is found automatically (:mod:`estimhank.sequence_space.elimination`).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from estimhank.households.one_asset import HouseholdBlock, HouseholdTarget
from estimhank.parameters.parameter_table import ModelError, Parameters, Values
from estimhank.support.names import TAKEN_OF_OBSERVABLES, TAKEN_OF_PARAMETERS, why_not_a_name


@dataclass(frozen=True)
class AR1:
    """A first-order autoregressive shock process with Gaussian innovations.

    Parameters
    ----------
    name : str
        Name under which the equations read it.
    rho, sigma : str, optional
        Parameters that hold the autocorrelation and the innovations' standard deviation; ``rho_<name>`` and
        ``sigma_<name>`` by default.
    scale : float
        Units of the standard deviation: 0.01 means that ``sigma`` is in percent.
    description : str
        A few words for tables and plots.
    """

    name: str
    rho: str = ""
    sigma: str = ""
    scale: float = 0.01
    description: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise ModelError(f"a shock is read as shock.NAME: {self.name!r} is no such name")
        for role in ("rho", "sigma"):
            given = getattr(self, role)
            if not isinstance(given, str):
                raise ModelError(
                    f"AR1('{self.name}'): {role} is the name of a parameter, not {given!r}; leave it out and give the "
                    f"parameter {role}_{self.name} the value in the parameter table"
                )
        if not _is_number(self.scale) or not self.scale > 0:
            raise ModelError(f"AR1('{self.name}'): scale is a positive number, not {self.scale!r}")
        object.__setattr__(self, "rho", self.rho or f"rho_{self.name}")
        object.__setattr__(self, "sigma", self.sigma or f"sigma_{self.name}")
        object.__setattr__(self, "description", self.description or self.name)


#: A steady state that is smaller is zero, and has no growth rate: its equations hold to 1e-9 and no better.
NO_LEVEL = 1e-8


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class ObservedVariable:
    """An observed series as a function of one model variable; see :func:`Growth` and :func:`Level`.

    ``kind`` is ``"growth"``: scale (x_t - x_{t-1}) / x, the change of the log, or ``"level"``: scale (x_t - x), with x
    the steady state. ``measurement_error`` names the parameter that holds the standard deviation of the series'
    measurement error, in ``units``; empty: there is none (:mod:`estimhank.model.measurement_error`).
    """

    variable: str
    kind: str
    name: str
    scale: float = 100.0
    units: str = "percent per quarter"
    measurement_error: str = ""

    def __post_init__(self) -> None:
        for role in ("variable", "kind", "name", "units", "measurement_error"):
            if not isinstance(getattr(self, role), str):
                hint = "; a size is given to the data or the posterior" if role == "measurement_error" else ""
                raise ModelError(f"observable of {self.variable}: {role} is text, not {getattr(self, role)!r}{hint}")
        if not _is_number(self.scale) or self.scale == 0:
            raise ModelError(f"observable '{self.name}': scale is a number other than zero, not {self.scale!r}")


def Growth(
    variable: str,
    name: str = "",
    scale: float = 100.0,
    units: str = "percent per quarter",
    measurement_error: str = "",
) -> ObservedVariable:
    """The growth rate of a variable, 100 (x_t - x_{t-1}) / x by default."""
    return ObservedVariable(variable, "growth", name or f"{variable}_growth", scale, units, measurement_error)


def Level(
    variable: str,
    name: str = "",
    scale: float = 100.0,
    units: str = "percent per quarter",
    measurement_error: str = "",
) -> ObservedVariable:
    """The deviation of a variable from its steady state, 100 (x_t - x) by default."""
    return ObservedVariable(variable, "level", name or variable, scale, units, measurement_error)


class Model:
    """Base class of declared models.

    Class attributes
    ----------------
    name, title : str
        In files and fingerprints; on reports (the name in words where there is none).
    household : HouseholdBlock or None
        ``None`` for a model whose equations are all aggregate.
    variables : tuple of str
        Aggregate variables, one equation each.
    shocks : tuple of AR1
    observables : tuple of ObservedVariable
    parameters : Parameters
    dense : tuple of str
        Variables to solve for densely; chosen automatically where empty.
    version : str
        Needed for going on with a run where the model's content cannot be seen, say an open file; to be changed when
        what cannot be seen does.
    """

    name: ClassVar[str] = ""
    title: str = ""
    version: str = ""
    household: HouseholdBlock | None = None
    variables: tuple[str, ...] = ()
    shocks: tuple[AR1, ...] = ()
    observables: tuple[ObservedVariable, ...] = ()
    parameters: Parameters = Parameters()
    dense: tuple[str, ...] = ()

    def __init__(self, parameters: Parameters | None = None, household: HouseholdBlock | None = None) -> None:
        if parameters is not None:
            self.parameters = parameters
        if household is not None:
            self.household = household
        self.title = self.title or self.name.replace("_", " ")
        self._check()

    @abstractmethod
    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """Yield ``(name, residual)`` of each equilibrium condition at one date, zero in equilibrium.

        Parameters
        ----------
        lag, now, lead : attribute access to the variables at t-1, t, t+1
        household : attribute access to the household outputs at t
        shock : attribute access to the shock processes at t
        p : attribute access to the parameters
        """
        raise NotImplementedError

    def household_target(self, p: Values) -> HouseholdTarget:
        """Steady-state inputs of the household block and what it is solved for."""
        raise NotImplementedError

    @abstractmethod
    def steady_state(self, p: Values, household: Any) -> Mapping[str, Any]:
        """Steady-state values of all variables, and of parameters that the steady state determines.

        ``household`` gives the household's aggregate outputs by attribute.
        """
        raise NotImplementedError

    # -- what the rest of the package reads ---------------------------------------------------------------------
    @property
    def household_outputs(self) -> tuple[str, ...]:
        """Outputs of the household block, empty without one."""
        return self.household.outputs if self.household else ()

    @property
    def unknowns(self) -> tuple[str, ...]:
        """All variables of the linear system at one date: aggregate variables, then household outputs."""
        return self.variables + self.household_outputs

    def residuals(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> list[tuple[str, Any]]:
        """The equations as a list, checked to be as many as there are variables."""
        given = self.equations(lag, now, lead, household, shock, p)
        pairs = list(given) if isinstance(given, Iterable) else []
        if not all(isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs) or not (
            isinstance(given, Iterable)
        ):
            raise ModelError(
                f'model {self.name}: equations must yield pairs of a name and a residual, such as yield "Euler", '
                "now.C - lead.C"
            )
        if len(pairs) != len(self.variables):
            raise ModelError(
                f"model {self.name}: {len(pairs)} equations ({', '.join(n for n, _ in pairs)}) "
                f"for {len(self.variables)} variables ({', '.join(self.variables)})"
            )
        return pairs

    def _wrong_types(self) -> list[str]:
        problems = []
        if self.household is not None and not isinstance(self.household, HouseholdBlock):
            problems.append(
                f"household is one household block or None, not a {type(self.household).__name__}: several types of "
                "households are states of one block"
            )
        kinds: tuple[tuple[str, type], ...] = (("variables", str), ("shocks", AR1), ("observables", ObservedVariable))
        for what, kind in kinds:
            given = getattr(self, what)
            if not isinstance(given, tuple | list) or not all(isinstance(entry, kind) for entry in given):
                example = {"variables": '("Y", "pi")', "shocks": '(AR1("e"),)', "observables": '(Level("Y"),)'}[what]
                problems.append(f"{what} are a tuple such as {example}, with the comma also where there is but one")
        if not isinstance(self.parameters, Parameters):
            problems.append("parameters are a table, Parameters(rho_e=Parameter(...), ...)")
        return problems

    def _check(self) -> None:
        problems = self._wrong_types()
        if problems:
            raise ModelError(f"model {self.name or type(self).__name__}: " + "; ".join(problems))
        names = self.unknowns
        for name in {n for n in names if names.count(n) > 1}:
            problems.append(f"'{name}' is declared twice among variables and household outputs")
        listed = [shock.name for shock in self.shocks]
        for name in sorted({n for n in listed if listed.count(n) > 1}):
            problems.append(f"two shocks have the name '{name}', and an equation reads but one")
        for shock in self.shocks:
            for role in (shock.rho, shock.sigma):
                if role not in self.parameters:
                    problems.append(f"shock '{shock.name}' needs the parameter '{role}'")
        for observable in self.observables:
            if observable.variable not in names:
                problems.append(
                    f"observable '{observable.name}' reads '{observable.variable}', which is not a variable"
                )
            if observable.kind not in ("growth", "level"):
                problems.append(f"observable '{observable.name}' is of unknown kind '{observable.kind}'")
        listed = [o.name for o in self.observables]
        for name in sorted({n for n in listed if listed.count(n) > 1}):
            problems.append(f"two observables have the name '{name}'")
        for what, given, taken in (
            ("observable", dict.fromkeys(listed), TAKEN_OF_OBSERVABLES),
            ("parameter", self.parameters.estimated, TAKEN_OF_PARAMETERS),
        ):
            for name in given:
                if why := why_not_a_name(name, taken):
                    problems.append(f"the name of the {what} '{name}' {why}")
        if self.household:
            for name in self.household.inputs:
                if name not in self.variables:
                    problems.append(f"household input '{name}' is not a variable")
            for name in self.household.parameters:
                if name not in self.parameters:
                    problems.append(f"the household needs the parameter '{name}'")
        if not self.shocks or not self.observables:
            problems.append("it needs at least one shock and one observable")
        if problems:
            raise ModelError(f"model {self.name or type(self).__name__}: " + "; ".join(problems))
