"""The canonical form of a declared model: one lag, one lead, innovations that know nothing of each other.

A declaration may read variables, household outputs and processes at any date (``lag(4).Y``, ``lag.C``,
``lead(2).pi``, ``lag.shock.a``), have processes of any order, correlated innovations and news, and observe functions.
All of that is the same model with more variables and equations, which are added here; the solution finds out by itself
which of them need to be solved for together (:mod:`estimhank.sequence_space.elimination`). A declaration that needs
nothing of it is its own canonical form.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from estimhank.model.declaration import Model
from estimhank.model.mistakes import told_with_line
from estimhank.model.observed import Observation, Observe, ObservedVariable
from estimhank.model.processes import AR1, IID, Correlation, Process, sigma_of_news
from estimhank.parameters.parameter_table import ModelError, Values, nearest

Get = Callable[[str, int], Any]


class Dated:
    """Variables at one date, read by attribute; ``lag(4)`` and ``lead(2)`` are those of other dates.

    ``shock`` gives the processes of the same date.
    """

    __slots__ = ("_date", "_get", "_processes")

    def __init__(self, get: Get, processes: Get, date: int) -> None:
        self._get, self._processes, self._date = get, processes, date

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "shock":
            return Dated(self._processes, self._processes, self._date)
        return self._get(name, self._date)

    def __call__(self, order: int = 1) -> Dated:
        if not isinstance(order, int) or isinstance(order, bool) or order < 1 or not self._date:
            raise ModelError(f"lag(2) and lead(2) take the number of quarters, 1 or more, not {order!r}")
        return Dated(self._get, self._processes, order if self._date > 0 else -order)


def dated(name: str, date: int) -> str:
    """Name of the variable that holds another one of another date: ``Y(-1)``, ``pi(+2)``; a copy is ``C(0)``."""
    return f"{name}({date:+d})" if date else f"{name}(0)"


def process_variable(name: str) -> str:
    """Name of the variable that is a process."""
    return f"shock.{name}"


def innovation_variable(name: str) -> str:
    """Name of the variable that is the innovation of a process."""
    return f"innovation.{name}"


def observation_variable(name: str) -> str:
    """Name of the variable that is an observed function."""
    return f"observed.{name}"


def canonical_form(model: Model) -> Model:
    """The model with one lag, one lead and independent innovations: itself where it is so declared.

    Raises
    ------
    ModelError
        Names that the equations, or a function that is observed, read and the model does not have.
    """
    read = _reads(model)
    correlated = {name for c in model.correlations for name in (c.first, c.second)}
    own = [s for s in model.shocks if not isinstance(s, AR1 | IID) or s.news or s.name in correlated]
    functions = any(isinstance(o, Observe) for o in model.observables)
    further = {(n, k) for n, k in read.variables if abs(k) > 1 or (k and n in model.household_outputs)}
    return CanonicalModel(model, read) if own or functions or further or read.processes or read.shock_now else model


def parameters_read(model: Model) -> set[str]:
    """Parameters that the equations, the observed functions and their means read."""
    return _reads(model).parameters


class _Reads:
    """What equations read: (variable, date), (process, date) of other dates than now, ``now.shock``, and parameters."""

    def __init__(self) -> None:
        self.variables: set[tuple[str, int]] = set()
        self.processes: set[tuple[str, int]] = set()
        self.shock_now = False
        self.parameters: set[str] = set()


def _reads(model: Model) -> _Reads:
    """Trace the equations and the observed functions with numbers that are not known yet."""
    found = _Reads()
    outputs = set(model.household_outputs)
    shocks = [shock.name for shock in model.shocks]

    def trace(number: jax.Array) -> jax.Array:
        def get(name: str, date: int) -> Any:
            known = model.unknowns if date else model.variables
            if name not in known:
                hint = f"; household.{name} is the household's" if name in outputs else nearest(name, known)
                raise ModelError(f"unknown name '{name}'{hint}")
            found.variables.add((name, date))
            return number

        def process(name: str, date: int) -> Any:
            if name not in shocks:
                raise ModelError(f"unknown shock '{name}'{nearest(name, shocks)}")
            if date:
                found.processes.add((name, date))
            return number

        def process_now(name: str, date: int) -> Any:
            found.shock_now = True
            return process(name, date)

        lag, now, lead = Dated(get, process, -1), Dated(get, process_now, 0), Dated(get, process, 1)
        household = Values(dict.fromkeys(outputs, number))
        parameters = _Anything(number, found.parameters)
        pairs = model.residuals(lag, now, lead, household, Dated(process, process, 0), parameters)
        everything = Dated(lambda name, date: get(name, date) if name not in outputs or date else number, process, 0)
        for observable in model.observables:
            if isinstance(observable, Observe):
                pairs.append((observable.name, _value_of(model, observable, everything, lag, lead, parameters)))
            if callable(observable.mean):
                pairs.append((observable.name, observable.mean(parameters)))
        return jnp.stack([jnp.asarray(value, float) for _, value in pairs])

    # an if on a variable is refused, in words, when kinks are looked for
    with told_with_line(model, "equations"), contextlib.suppress(jax.errors.ConcretizationTypeError):
        jax.eval_shape(trace, jax.ShapeDtypeStruct((), float))
    return found


def _value_of(model: Model, observable: Observe, now: Any, lag: Any, lead: Any, p: Any) -> Any:
    value = observable.function(now, lag, lead, p)
    if not jnp.isscalar(value) and jnp.shape(value) != ():
        raise ModelError(f"model {model.name}: the observable '{observable.name}' is a number, not {value!r}")
    return value


class _Anything:
    """Parameters while equations are traced: the steady state may give any that the table does not have."""

    def __init__(self, number: Any, read: set[str]) -> None:
        self._number, self._read = number, read

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._read.add(name)
        return self._number


class CanonicalModel(Model):
    """A declared model with the variables and equations that its declaration stands for.

    Attributes
    ----------
    declared : Model
    """

    def __init__(self, declared: Model, read: _Reads) -> None:
        self.declared = declared
        self.name, self.title, self.version = declared.name, declared.title, declared.version  # type: ignore[misc]
        self.household, self.dense = declared.household, declared.dense
        correlated = groups_of(declared.shocks, declared.correlations)
        self._correlated = {name: group for group in correlated for name in group}
        # processes that are variables: all but those whose innovations the engine follows itself
        as_variable = {
            s.name for s in declared.shocks if not isinstance(s, AR1 | IID) or s.news or s.name in self._correlated
        }
        self._lowered = tuple(s for s in declared.shocks if s.name in as_variable)
        needs: dict[str, set[int]] = {}
        for name, date in read.variables:
            if date:
                needs.setdefault(name, set()).add(date)
        for name, date in read.processes:
            needs.setdefault(process_variable(name), set()).add(date)
        for process in self._lowered:
            needs.setdefault(process_variable(process.name), set()).update(-k for k in range(1, len(process.ar) + 1))
            needs.setdefault(innovation_variable(process.name), set()).update(-k for k in range(1, len(process.ma) + 1))
            for ahead in process.news:
                needs.setdefault(innovation_variable(f"{process.name}_news{ahead}"), set()).add(-ahead)
        read_late = {name for name, _ in read.processes} | as_variable
        self._processes = tuple(s for s in declared.shocks if s.name in read_late)
        own = [process_variable(s.name) for s in self._processes]
        own += [v for v in needs if v.startswith("innovation.") and needs[v]]
        self._copies = tuple(n for n in declared.household_outputs if needs.get(n))
        self._chains: tuple[tuple[str, int], ...] = tuple(
            (name, date) for name, dates in sorted(needs.items()) for date in _between(dates)
        )
        self._observed = tuple(o for o in declared.observables if isinstance(o, Observe))
        self._innovations = tuple(v for v in own if v.startswith("innovation."))
        self.variables = (
            *declared.variables,
            *own,
            *(dated(name, 0) for name in self._copies),
            *(dated(name, date) for name, date in self._chains),
            *(observation_variable(o.name) for o in self._observed),
        )
        self.shocks = tuple(self._canonical_shocks())
        self.correlations = ()
        self.observables = tuple(map(_canonical_observable, declared.observables))
        # what an engine takes for a shock's own, and stands in an equation here
        moved = {n.removeprefix("-") for s in self._lowered for n in (*s.ar, *s.ma) if isinstance(n, str)}
        moved |= {s.sigma for s in self._lowered if s.name in self._correlated and isinstance(s.sigma, str)}
        moved |= {c.parameter for c in declared.correlations}
        table = declared.parameters
        for name in moved:
            if table[name].touches == "shocks":
                table = table.changed(name, touches="equilibrium")
        self.parameters = table

    def _canonical_shocks(self) -> Iterator[Process]:
        for process in self.declared.shocks:
            if process not in self._lowered:
                yield process
                continue
            unit = process.name in self._correlated
            sigma, scale = (1.0, 1.0) if unit else (process.sigma, process.scale)
            yield IID(process.name, sigma, scale, process.description)
            for ahead in process.news:
                words = f"{process.description}, news {ahead} quarters ahead"
                yield IID(f"{process.name}_news{ahead}", sigma_of_news(process, ahead), process.scale, words)

    # -- equations ---------------------------------------------------------------------------------------------
    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """The declared equations, then what the further variables are."""
        own = {s.name for s in self._processes}
        outputs = set(self.declared.household_outputs)

        def at(name: str, date: int) -> Any:
            """A variable of the canonical model at any date."""
            if date == 0:
                return getattr(household, name) if name in outputs else getattr(now, name)
            base = dated(name, 0) if name in outputs else name
            if abs(date) > 1:
                base = dated(name, date + 1 if date < 0 else date - 1)
            return getattr(lag if date < 0 else lead, base)

        def process(name: str, date: int) -> Any:
            return at(process_variable(name), date) if name in own else getattr(shock, name)

        early, today, late = (Dated(at, process, date) for date in (-1, 0, 1))
        read = Values({s.name: process(s.name, 0) for s in self.declared.shocks})
        yield from self.declared.residuals(early, today, late, household, read, p)
        for entry in self._processes:
            name = process_variable(entry.name)
            yield f"process {entry.name}", at(name, 0) - self._process(entry, at, shock, p)
        for variable in self._innovations:
            yield variable, at(variable, 0) - self._innovation(variable.removeprefix("innovation."), shock, p)
        for name in self._copies:
            yield dated(name, 0), getattr(now, dated(name, 0)) - getattr(household, name)
        for name, date in self._chains:
            yield dated(name, date), getattr(now, dated(name, date)) - at(name, date)
        for observable in self._observed:
            value = observable.function(today, early, late, p)
            name = observation_variable(observable.name)
            yield name, at(name, 0) - value

    def _process(self, process: Process, at: Get, shock: Any, p: Any) -> Any:
        """The right-hand side of a process's equation."""
        if process not in self._lowered:
            return getattr(shock, process.name)
        value: Any = self._innovation(process.name, shock, p)
        for order, coefficient in enumerate(process.ar, 1):
            value = value + coefficient_of(coefficient, p) * at(process_variable(process.name), -order)
        for order, coefficient in enumerate(process.ma, 1):
            value = value + coefficient_of(coefficient, p) * at(innovation_variable(process.name), -order)
        for ahead in process.news:
            value = value + at(innovation_variable(f"{process.name}_news{ahead}"), -ahead)
        return value

    def _innovation(self, name: str, shock: Any, p: Any) -> Any:
        """The innovation of a process, or one of its news, in the equations' units."""
        group = self._correlated.get(name)
        if group is None:
            return getattr(shock, name)
        process = next(s for s in self.declared.shocks if s.name == name)
        row = correlation_factor(group, self.declared.correlations, p)[group.index(name)]
        size = process.scale * (getattr(p, process.sigma) if isinstance(process.sigma, str) else process.sigma)
        return size * sum(row[j] * getattr(shock, other) for j, other in enumerate(group[: group.index(name) + 1]))

    # -- steady state ------------------------------------------------------------------------------------------
    def household_target(self, p: Values) -> Any:
        """That of the declared model."""
        return self.declared.household_target(p)

    def steady_state(self, p: Values, household: Any) -> Mapping[str, Any]:
        """That of the declared model, at rest at all dates."""
        found = dict(self.declared.steady_state(p, household))
        still = {v: 0.0 for v in self.variables if v.startswith(("shock.", "innovation."))}
        values = {**found, **{n: getattr(household, n) for n in self.declared.household_outputs}, **still}
        missing = [name for name in self.declared.variables if name not in found]
        if missing:
            return found  # said elsewhere, by name
        rest = {dated(name, 0): values[name] for name in self._copies}
        rest |= {dated(name, date): values[name] for name, date in self._chains}
        at = Dated(lambda name, _: values[name], lambda *_: 0.0, 0)
        early, late = (Dated(lambda name, _: values[name], lambda *_: 0.0, date) for date in (-1, 1))
        parameters = Values({**p.as_dict(), **{k: v for k, v in found.items() if k not in self.declared.variables}})
        for observable in self._observed:
            value = observable.function(at, early, late, parameters)
            rest[observation_variable(observable.name)] = value
        return {**found, **still, **rest}


def coefficient_of(given: str | float, p: Any) -> Any:
    """The value of a process's coefficient: of a parameter, of less a parameter, or the number itself."""
    if not isinstance(given, str):
        return given
    return -getattr(p, given[1:]) if given.startswith("-") else getattr(p, given)


def _between(dates: set[int]) -> list[int]:
    """Dates at which a variable of its own holds another one, in the order in which they follow from each other."""
    back, ahead = -min(dates, default=0), max(dates, default=0)
    return [*(-k for k in range(1, back)), *range(1, ahead)]


def groups_of(shocks: tuple[Process, ...], correlations: tuple[Correlation, ...]) -> list[tuple[str, ...]]:
    """Processes that are correlated with each other, each group in the order of declaration."""
    group_of = {s.name: {s.name} for s in shocks}
    for c in correlations:
        joined = group_of[c.first] | group_of[c.second]
        for name in joined:
            group_of[name] = joined
    groups: list[tuple[str, ...]] = []
    for shock in shocks:
        group = tuple(s.name for s in shocks if s.name in group_of[shock.name])
        if len(group) > 1 and group not in groups:
            groups.append(group)
    return groups


def correlation_factor(group: tuple[str, ...], correlations: tuple[Correlation, ...], p: Any) -> Any:
    """Cholesky factor of the correlation matrix of a group, nan where it is not positive definite."""
    matrix = jnp.eye(len(group))
    for c in correlations:
        if c.first in group:
            i, j, value = group.index(c.first), group.index(c.second), getattr(p, c.parameter)
            matrix = matrix.at[i, j].set(value).at[j, i].set(value)
    return jnp.linalg.cholesky(matrix)


def _canonical_observable(observable: Observation) -> ObservedVariable:
    if isinstance(observable, ObservedVariable):
        return observable
    return ObservedVariable(
        observation_variable(observable.name),
        "level",
        observable.name,
        1.0,
        observable.units,
        observable.measurement_error,
        observable.mean,
    )
