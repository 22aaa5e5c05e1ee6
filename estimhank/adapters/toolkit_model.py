"""The equations and the steady state of a toolkit model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from estimhank.adapters.toolkit_expressions import Expression
from estimhank.adapters.toolkit_graph import Graph, SimpleLeaf, fingerprint_of, number
from estimhank.adapters.toolkit_household import SOLVED, SteadyStates, ToolkitHousehold
from estimhank.households.stationary import SteadyStateError
from estimhank.model.declaration import Model
from estimhank.model.observed import Level, Observation, Observe
from estimhank.model.processes import Correlation, Process
from estimhank.parameters.parameter_table import ModelError, Parameters, Values, nearest


@dataclass(frozen=True)
class Problem:
    """What is solved: a graph, and what of its inputs and outputs is unknown, aimed at, or shocked.

    Attributes
    ----------
    graph : Graph
    unknowns, targets, shocks : tuple of str
        Those of the whole; a graph has those of its solved blocks.
    options : dict of str to dict
        Of the toolkit's ``jacobian``, by block.
    version : str
    """

    graph: Graph
    unknowns: tuple[str, ...]
    targets: tuple[str, ...]
    shocks: tuple[str, ...]
    options: dict[str, dict[str, Any]]
    version: str

    def __post_init__(self) -> None:
        graph = self.graph
        for what, names in (("unknown", self.unknowns), ("shock", self.shocks)):
            for name in names:
                if name not in graph.inputs:
                    reason = "is returned by one of its blocks" if name in graph.outputs else "is no input"
                    raise ModelError(f"the {what} '{name}' {reason} of the toolkit model{nearest(name, graph.inputs)}")
        for name in self.targets:
            if name not in graph.outputs:
                raise ModelError(f"the target '{name}' is no output of the toolkit model{nearest(name, graph.outputs)}")
        unknowns, targets = self.all_unknowns, self.all_targets
        if len(unknowns) != len(targets):
            raise ModelError(
                f"{len(unknowns)} unknowns ({', '.join(unknowns)}) for {len(targets)} targets ({', '.join(targets)})"
            )
        for name in (*unknowns, *self.shocks):
            if (*unknowns, *self.shocks).count(name) > 1:
                raise ModelError(f"'{name}' is an unknown, or a shock, twice")

    @property
    def all_unknowns(self) -> tuple[str, ...]:
        """Those of solved blocks too."""
        return (*self.unknowns, *self.graph.unknowns)

    @property
    def all_targets(self) -> tuple[str, ...]:
        """Those of solved blocks too."""
        return (*self.targets, *self.graph.targets)

    @property
    def variables(self) -> tuple[str, ...]:
        """Everything that moves over time."""
        return (*self.all_unknowns, *self.shocks, *self.graph.outputs)

    @property
    def constants(self) -> tuple[str, ...]:
        """Inputs that do not, of simple blocks."""
        read = dict.fromkeys(name for leaf in self.graph.simple for name in leaf.inputs.values())
        return tuple(name for name in read if name not in self.variables)

    @property
    def fingerprint(self) -> dict[str, str]:
        """What the problem is, by its content."""
        own = (self.unknowns, self.targets, self.shocks, self.options, metadata.version("sequence-jacobian"))
        return fingerprint_of({"graph": self.graph.content(), "problem": own}, self.version)


def at_rest(name: str) -> str:
    """Name of the parameter that holds a variable's steady state."""
    return f"{name} at rest"


class ToolkitModel(Model):
    """A declared model that reads its equations from a toolkit model.

    Parameters
    ----------
    words : str
        The toolkit model's name.
    problem : Problem
    steady : SteadyStates
    shocks, observables, table, correlations
        As of :func:`estimhank.adapters.from_sequence_jacobian`.
    kept : tuple of str
        Variables beside those that targets and observables depend on.
    """

    def __init__(
        self,
        words: str,
        problem: Problem,
        steady: SteadyStates,
        shocks: tuple[Process, ...],
        observables: tuple[Observation | str, ...],
        table: Parameters,
        correlations: tuple[Correlation, ...] = (),
        kept: tuple[str, ...] = (),
    ) -> None:
        self.name = re.sub(r"\W+", "_", words).strip("_").lower() or "toolkit_model"  # type: ignore[misc]
        self.title, self.version = words, problem.version
        self.problem, self.steady = problem, steady
        self.shocks, self.correlations = shocks, correlations
        self.observables = tuple(Level(o) if isinstance(o, str) else o for o in observables)
        self.parameters = table
        used: set[str] = set()
        given = table.values_with({}).as_dict()
        reader = self._reader(steady.reference, given, {}, used)
        reads = {
            name: tuple(expression.reads) for leaf in problem.graph.simple for name, expression in leaf(reader).items()
        }
        observed = self._observed()
        for name in (*observed, *kept):
            if name not in problem.variables:
                raise ModelError(
                    f"'{name}' is observed, and is no variable of the toolkit model{nearest(name, problem.variables)}"
                )
        needed = self._needed((*problem.all_targets, *observed, *kept), reads)
        outputs = tuple(n for leaf in problem.graph.households for n in leaf.outputs.values() if n in needed)
        inputs = tuple(dict.fromkeys(name for n in outputs for name in self._inputs_of(n) if name in problem.variables))
        if outputs:
            leaves = problem.graph.households
            self.household = ToolkitHousehold(leaves, inputs, outputs, steady, problem.options, problem.version)
        by_others = {n for name in needed if name in reads for n in reads[name]} | {*inputs, *observed, *kept}
        self.variables = (
            *problem.all_unknowns,
            *problem.shocks,
            *(n for n in reads if n in needed and (n not in problem.all_targets or n in by_others)),
        )
        #: outputs of simple blocks that are computed, and variables whose steady state equations read
        self.computed = tuple(name for name in reads if name in needed)
        self._values(steady.reference, given, used)
        self.rest = tuple(dict.fromkeys((*problem.shocks, *problem.all_targets, *sorted(used))))
        super().__init__()

    # -- what a declared model says ----------------------------------------------------------------------------
    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """Those of the simple blocks by the names of their outputs, the targets, and the shocked inputs."""
        outputs, own = set(self.household_outputs), set(self.variables)

        def value(name: str, date: int) -> Any:
            if date == 0:
                return getattr(household if name in outputs else now, name)
            side = lag if date < 0 else lead
            return getattr(side if abs(date) == 1 else side(abs(date)), name)

        def read(name: str) -> Expression:
            if name in self.problem.variables:
                return Expression(lambda d: value(name, d), lambda: getattr(p, at_rest(name)), {name: 0}, dated=True)
            return Expression.of(getattr(p, name))

        for name in self.problem.shocks:
            yield name, value(name, 0) - getattr(p, at_rest(name)) - getattr(shock, name)
        for leaf in self._leaves:
            found = leaf(read)
            for name in leaf.outputs.values():
                if name in self.computed:
                    residual = leaf.today(found[name]) - (value(name, 0) if name in own else getattr(p, at_rest(name)))
                    yield name, residual
        for name in self.problem.all_targets:
            if name in own or name in outputs:
                yield f"target {name}", value(name, 0) - getattr(p, at_rest(name))

    def steady_state(self, p: Values, household: Any) -> Mapping[str, Any]:
        """The toolkit's own, with outputs as their blocks return them.

        Raises
        ------
        SteadyStateError
            If it is none: a target is missed, or a block returns something else.
        """
        given = p.as_dict()
        ss = self.steady.at(given)
        for name, entry in self.parameters.items():
            if entry.touches == "steady_state" and name not in self.steady.moving and name in ss:
                own = number(name, ss[name])
                if given[name] != own:
                    raise ModelError(
                        f"'{name}' moves the steady state, which was solved at {own:g}, not at {given[name]:g}: give "
                        "ss as a function of it"
                    )
        found = self._values(ss, given, set())
        for name, value in found.items():
            if name in self.problem.all_targets and not abs(value) <= SOLVED:
                raise SteadyStateError(
                    "not_a_solution", f"the target '{name}' is {value:.3g} in the steady state, and has to be zero"
                )
            own = number(name, ss[name]) if name in ss else value
            if not abs(value - own) <= SOLVED * (1 + abs(own)):
                raise SteadyStateError(
                    "not_a_solution",
                    f"the steady state has {name} = {own:.8g}, and the block that returns it {value:.8g}",
                )
        constants = {n: number(n, ss[n]) for n in self.problem.constants if n not in given and n in ss}
        rest = {at_rest(name): found[name] for name in self.rest}
        return {**{name: found[name] for name in self.variables}, **constants, **rest}

    # -- how ---------------------------------------------------------------------------------------------------
    @property
    def _leaves(self) -> tuple[SimpleLeaf, ...]:
        """Simple blocks of which something is computed."""
        computed = set(self.computed)
        return tuple(leaf for leaf in self.problem.graph.simple if computed & set(leaf.outputs.values()))

    def _reader(
        self, ss: Any, given: Mapping[str, Any], values: Mapping[str, float], used: set[str]
    ) -> Callable[[str], Expression]:
        """What simple blocks read in the steady state; ``used`` gathers variables whose ``.ss`` is asked for."""

        def constant(name: str) -> Any:
            if name not in given and name not in ss:
                raise ModelError(f"the steady state has no value of '{name}'")
            return given[name] if name in given else number(name, ss[name])

        def read(name: str) -> Expression:
            if name not in self.problem.variables:
                return Expression(lambda _: constant(name), lambda: constant(name))

            def rest() -> float:
                used.add(name)
                return values[name]

            return Expression(lambda _: values[name], rest, {name: 0}, dated=True)

        return read

    def _values(self, ss: Any, given: Mapping[str, Any], used: set[str]) -> dict[str, float]:
        """Steady-state values of all that is solved for, and of the targets."""
        values: dict[str, float] = {}
        for name in (*self.problem.all_unknowns, *self.problem.shocks, *self.household_outputs):
            if name not in ss:
                raise ModelError(f"the steady state has no value of '{name}'")
            values[name] = number(name, ss[name])
        for leaf in self._leaves:
            found = leaf(self._reader(ss, given, values, used))
            for name in leaf.outputs.values():
                if name in self.computed:
                    values[name] = number(name, leaf.today(found[name]))
        return values

    def _inputs_of(self, output: str) -> tuple[str, ...]:
        """What a household block reads, by one of its outputs; nothing of another output."""
        for leaf in self.problem.graph.households:
            if output in leaf.outputs.values():
                return tuple(leaf.inputs.values())
        return ()

    def _needed(self, roots: Sequence[str], reads: Mapping[str, tuple[str, ...]]) -> set[str]:
        """Variables on which some others depend, with these."""
        found: set[str] = set()
        waiting = [*roots]
        while waiting:
            name = waiting.pop()
            if name in self.problem.variables and name not in found:
                found.add(name)
                waiting += [*reads.get(name, ()), *self._inputs_of(name)]
        return found

    def _observed(self) -> tuple[str, ...]:
        """Variables that observables read."""
        found: dict[str, None] = {}

        class Recorder:
            def __getattr__(self, name: str) -> Any:
                if name.startswith("__"):
                    raise AttributeError(name)
                found[name] = None
                return 1.0

            def __call__(self, order: int = 1) -> Recorder:
                return self

        record = Recorder()
        given = self.parameters.values_with(dict.fromkeys(set(self.problem.constants) - set(self.parameters), 1.0))
        for observable in self.observables:
            if isinstance(observable, Observe):
                observable.function(record, record, record, given)
            else:
                found[observable.variable] = None
        return tuple(found)
