"""How a model is written down: a household problem, aggregate equilibrium conditions, shocks, observables, parameters.

A user subclasses :class:`Model` and writes the conditions as they stand in the paper; which variables are solved for in
which order is found automatically (:mod:`estimhank.sequence_space.elimination`).
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from estimhank.households.given import GivenHousehold
from estimhank.households.named import NamedBlock
from estimhank.households.one_asset import HouseholdBlock, HouseholdTarget
from estimhank.model.observed import REACH, STEADY_STATE, Observation, Observe, ObservedVariable
from estimhank.model.processes import AR1, IID, PROCESSES, Correlation, Process, check_processes
from estimhank.parameters.parameter_table import ModelError, Parameters, Values, nearest
from estimhank.support.names import TAKEN_OF_OBSERVABLES, TAKEN_OF_PARAMETERS, why_not_a_name

#: Names that attribute access to variables and parameters has for itself.
RESERVED = ("as_dict", "shock")


class Model:
    """Base class of declared models.

    Class attributes
    ----------------
    name, title : str
        In files and fingerprints; on reports (the name in words where there is none).
    household : HouseholdBlock, mapping of str to HouseholdBlock, GivenHousehold, or None
        Several types of households by name, ``{"poor": ..., "rich": ...}``: their outputs are ``household.poor.C``, and
        a block reads the variable ``Z_poor`` and the parameter ``beta_poor`` where there are any, else ``Z`` and
        ``beta``. One that somebody else has solved comes from :func:`estimhank.adapters.from_jacobians`. ``None`` for a
        model whose equations are all aggregate.
    variables : tuple of str
        Aggregate variables, one equation each.
    shocks : tuple of AR1, ARMA, IID, RandomWalk
        Exogenous processes, :mod:`estimhank.model.processes`.
    correlations : tuple of Correlation
        Of the processes' innovations, which are independent where nothing is said.
    observables : tuple of ObservedVariable or Observe
        :mod:`estimhank.model.observed`.
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
    household: HouseholdBlock | Mapping[str, HouseholdBlock] | GivenHousehold | None = None
    variables: tuple[str, ...] = ()
    shocks: tuple[Process, ...] = ()
    correlations: tuple[Correlation, ...] = ()
    observables: tuple[Observation, ...] = ()
    parameters: Parameters = Parameters()
    dense: tuple[str, ...] = ()

    def __init__(
        self,
        parameters: Parameters | None = None,
        household: HouseholdBlock | Mapping[str, HouseholdBlock] | GivenHousehold | None = None,
    ) -> None:
        if parameters is not None:
            self.parameters = parameters
        if household is not None:
            self.household = household
        self.title = self.title or self.name.replace("_", " ")
        self._settle()

    @abstractmethod
    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """Yield ``(name, residual)`` of each equilibrium condition at one date, zero in equilibrium.

        Parameters
        ----------
        lag, now, lead : attribute access to the variables at t-1, t, t+1
            ``lag(4).Y`` and ``lead(2).Y`` are those of other dates; ``lag.C`` of a household output C, and
            ``lag.shock.a`` of a process, are there too.
        household : attribute access to the household outputs at t
        shock : attribute access to the processes at t
        p : attribute access to the parameters
        """
        raise NotImplementedError

    def household_target(self, p: Values) -> HouseholdTarget:
        """Steady-state inputs of the household blocks and what they are solved for."""
        raise NotImplementedError

    @abstractmethod
    def steady_state(self, p: Values, household: Any) -> Mapping[str, Any]:
        """Steady-state values of all variables, and of parameters that the steady state determines.

        ``household`` gives the household's aggregate outputs by attribute.
        """
        raise NotImplementedError

    def changed(self, parameters: Parameters, household: Any = None) -> Model:
        """The same model with another parameter table, and other households where some are given."""
        other = copy.copy(self)
        other.parameters, other.household = parameters, household or self.household
        other._settle()
        return other

    def _settle(self) -> None:
        self._check()
        if "steady_state" in {self.parameters[name].touches for name in self.parameters.estimated}:
            self.household = _with_estimated_steady_state(self.household)

    # -- what the rest of the package reads ---------------------------------------------------------------------
    @property
    def blocks(self) -> tuple[HouseholdBlock | GivenHousehold, ...]:
        """Household blocks, with inputs, outputs and parameters under the model's names."""
        return self.problems if self.given is None else (self.given,)

    @property
    def given(self) -> GivenHousehold | None:
        """Households that somebody else has solved."""
        return self.household if isinstance(self.household, GivenHousehold) else None

    @property
    def problems(self) -> tuple[HouseholdBlock, ...]:
        """Blocks whose problem is solved here."""
        if self.household is None or isinstance(self.household, GivenHousehold):
            return ()
        if isinstance(self.household, HouseholdBlock):
            return (self.household,)
        return tuple(
            NamedBlock.of(block, name, self.variables, self.parameters) for name, block in self.household.items()
        )

    @property
    def household_outputs(self) -> tuple[str, ...]:
        """Outputs of the household blocks."""
        return tuple(name for block in self.blocks for name in block.outputs)

    @property
    def innovations(self) -> tuple[AR1 | IID, ...]:
        """The processes that a solution follows by itself: all of them, of a canonical form."""
        return tuple(shock for shock in self.shocks if isinstance(shock, AR1 | IID))

    @property
    def observed_variables(self) -> tuple[ObservedVariable, ...]:
        """Observables that are functions of one variable: all of them, of a canonical form."""
        return tuple(o for o in self.observables if isinstance(o, ObservedVariable))

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
        given = self.household
        several = (
            isinstance(given, Mapping)
            and given
            and all(
                isinstance(name, str) and name.isidentifier() and isinstance(block, HouseholdBlock)
                for name, block in given.items()
            )
        )
        if given is not None and not isinstance(given, HouseholdBlock | GivenHousehold) and not several:
            problems.append(
                f'household is one household block, several by name ({{"poor": ..., "rich": ...}}), or None, not '
                f"a {type(given).__name__}"
            )
        kinds: tuple[tuple[str, type | tuple[type, ...]], ...] = (
            ("variables", str),
            ("shocks", PROCESSES),
            ("correlations", Correlation),
            ("observables", (ObservedVariable, Observe)),
        )
        for what, kind in kinds:
            given = getattr(self, what)
            if not isinstance(given, tuple | list) or not all(isinstance(entry, kind) for entry in given):
                example = {
                    "variables": '("Y", "pi")',
                    "shocks": '(AR1("e"),)',
                    "correlations": '(Correlation("a", "b"),)',
                    "observables": '(Level("Y"),)',
                }[what]
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
        problems += check_processes(self.shocks, self.correlations, self.parameters)
        for name in (*names, *self.parameters):
            if name in RESERVED or name.startswith("_"):
                problems.append(f"the name '{name}' is taken; call the variable or parameter something else")
        for observable in self.observables:
            if isinstance(observable.mean, str) and observable.mean not in ("", STEADY_STATE, *self.parameters):
                problems.append(
                    f"the mean of the observable '{observable.name}' is '{observable.mean}', which is not a parameter"
                    f"{nearest(observable.mean, self.parameters)}"
                )
            if isinstance(observable, Observe):
                continue
            if observable.variable not in names:
                problems.append(
                    f"observable '{observable.name}' reads '{observable.variable}', which is not a variable"
                )
            if observable.kind not in REACH:
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
        for block in self.blocks:
            for name in block.inputs:
                if name not in self.variables:
                    problems.append(f"household input '{name}' is not a variable")
            for name in block.parameters:
                if name not in self.parameters:
                    problems.append(f"the household needs the parameter '{name}'")
        for name in self.parameters.estimated:
            if self.given and not self.given.moves and self.parameters[name].touches == "steady_state":
                problems.append(
                    f"'{name}' moves the steady state, and the household's Jacobians belong to one steady state: fix "
                    "it, or declare the household's problem as a block"
                )
        if not self.shocks or not self.observables:
            problems.append("it needs at least one shock and one observable")
        if problems:
            raise ModelError(f"model {self.name or type(self).__name__}: " + "; ".join(problems))


def _with_estimated_steady_state(
    household: HouseholdBlock | Mapping[str, HouseholdBlock] | GivenHousehold | None,
) -> HouseholdBlock | dict[str, HouseholdBlock] | GivenHousehold | None:
    if isinstance(household, Mapping):
        return {name: block.with_estimated_steady_state() for name, block in household.items()}
    return household.with_estimated_steady_state() if isinstance(household, HouseholdBlock) else household
