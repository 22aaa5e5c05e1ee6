"""Models of the sequence-jacobian toolkit as declared models (``docs/from_sequence_jacobian.md``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from estimhank.adapters.toolkit_graph import number, take_apart
from estimhank.adapters.toolkit_household import SteadyStates
from estimhank.adapters.toolkit_model import Problem, ToolkitModel
from estimhank.model.declaration import Model
from estimhank.model.observed import Observation
from estimhank.model.processes import PROCESSES, Correlation, Process
from estimhank.parameters.parameter_table import TIERS, ModelError, Parameter, Parameters, Touches, nearest
from estimhank.parameters.priors import Prior
from estimhank.support.errors import ConfigError
from estimhank.support.extras import TOOLKIT
from estimhank.support.runtime import configure


def from_sequence_jacobian(
    model: Any,
    ss: Any,
    unknowns: Sequence[str],
    targets: Sequence[str],
    shocks: Sequence[Process],
    observables: Sequence[Observation | str],
    parameters: Mapping[str, Parameter | Prior],
    touches: Mapping[str, Touches] | None = None,
    correlations: Sequence[Correlation] = (),
    variables: Sequence[str] = (),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    version: str = "",
) -> Model:
    """A model of the sequence-jacobian toolkit as one that is estimated here.

    Its simple blocks become equations, those inside combined and solved blocks too; its household blocks stay the
    toolkit's, which computes their Jacobians once, and again only where an estimated parameter moves the steady state.

    Parameters
    ----------
    model : CombinedBlock
        The graph of the dynamics, as ``solve_jacobian`` takes it.
    ss : SteadyStateDict, or callable
        Its steady state, from another graph perhaps. A function from ``{parameter: value}`` to one where estimated
        parameters move it; it is called with those that do.
    unknowns, targets : sequence of str
        As of ``solve_jacobian``.
    shocks : sequence of AR1, ARMA, IID, RandomWalk
        Each named like the input of the model that it moves: the input is its steady state plus the process, whose
        ``scale`` is in the input's units.
    observables : sequence of observables, or str
        Functions of outputs, unknowns and shocked inputs; a name alone is its ``Level``.
    parameters : mapping of str to Parameter or Prior
        Of the processes, and those inputs of the model that are estimated; the value of an input is that of the steady
        state where none is given (a prior alone). All other inputs stay where the steady state has them.
    touches : mapping of str, optional
        What a parameter touches (:class:`estimhank.parameters.parameter_table.Parameter`), where that is not what it
        looks like: inputs of household blocks move the steady state, other inputs the equilibrium, what is no input
        the shocks. Checked: a parameter that moves the steady state and is not said to is refused.
    correlations : sequence of Correlation, optional
        Of the processes' innovations.
    variables : sequence of str, optional
        Outputs to solve for beside those that targets and observables depend on, for the sake of their responses.
    options : mapping, optional
        Of the toolkit's ``jacobian`` by block, ``{"hh": {"h": 1e-6, "twosided": True}}``.
    version : str
        As of :class:`estimhank.model.declaration.Model`.

    Returns
    -------
    Model
        For :class:`estimhank.posterior.posterior.Posterior`, with data; or by name in a configuration.

    Raises
    ------
    ModelError
        Names that are not in the model; a steady state that is none; blocks that cannot be equations.
    ConfigError
        The toolkit is not installed.
    """
    if TOOLKIT.missing:
        raise ConfigError(TOOLKIT.sentence)
    configure()
    graph = take_apart(model)
    words = str(getattr(model, "name", "")) or "toolkit model"
    own_options = {block: dict(given) for block, given in (options or {}).items()}
    problem = Problem(graph, tuple(unknowns), tuple(targets), _named(shocks), own_options, version)
    tiers = _tiers(parameters, touches or {}, problem)
    moving = tuple(name for name, tier in tiers.items() if tier == "steady_state") if callable(ss) else ()
    for name, tier in tiers.items():
        if tier == "steady_state" and not callable(ss) and _prior_of(parameters[name]) is not None:
            raise ModelError(
                f"'{name}' moves the steady state, and ss is but one: give a function from {{'{name}': value, ...}} to "
                "the toolkit's steady state"
            )
    steady = SteadyStates(ss, moving, {name: _value_of(name, parameters[name], None) for name in moving})
    table = Parameters(
        {
            name: _entry(name, parameters[name], tier, None if name in moving else steady.reference)
            for name, tier in tiers.items()
        }
    )
    return ToolkitModel(
        words, problem, steady, tuple(shocks), tuple(observables), table, tuple(correlations), tuple(variables)
    )


def _named(shocks: Sequence[Process]) -> tuple[str, ...]:
    if isinstance(shocks, Mapping) or not all(isinstance(shock, PROCESSES) for shock in shocks):
        raise ModelError('shocks are processes named like the inputs that they move, (AR1("Z", scale=0.01),)')
    return tuple(shock.name for shock in shocks)


def _prior_of(given: Parameter | Prior) -> Prior | None:
    return given.prior if isinstance(given, Parameter) else given


def _tiers(
    parameters: Mapping[str, Parameter | Prior], touches: Mapping[str, Touches], problem: Problem
) -> dict[str, Touches]:
    """What each parameter touches."""
    graph = problem.graph
    in_households = {name for leaf in graph.households for name in leaf.inputs.values()}
    for name in touches:
        if name not in parameters:
            raise ModelError(f"touches speaks of '{name}', which is no parameter{nearest(name, parameters)}")
        if touches[name] not in TIERS:
            raise ModelError(f"'{name}' touches one of {', '.join(TIERS)}, not {touches[name]!r}")
    found: dict[str, Touches] = {}
    for name, given in parameters.items():
        if not isinstance(given, Parameter | Prior):
            raise ModelError(f"the parameter '{name}' is a Parameter or a prior, not {given!r}")
        if name in (*problem.unknowns, *problem.shocks, *graph.outputs):
            raise ModelError(f"'{name}' is a variable of the toolkit model, and no parameter")
        own: Touches = "shocks"
        if name in in_households:
            own = "steady_state"
        elif name in graph.inputs:
            own = "equilibrium"
        if isinstance(given, Parameter) and given.touches == "steady_state":
            own = "steady_state"
        found[name] = touches.get(name, own)
        if name in in_households and found[name] != "steady_state":
            raise ModelError(f"a household block reads '{name}', which therefore touches the steady state")
    return found


def _value_of(name: str, given: Parameter | Prior, ss: Any) -> float:
    """The reference value: the one given, else that of the steady state, else the prior's median."""
    if isinstance(given, Parameter) and given.value is not None:
        return float(given.value)
    if ss is not None and name in ss:
        return number(name, ss[name])
    prior = _prior_of(given)
    if prior is None:
        raise ModelError(f"the parameter '{name}' has neither a value nor a prior")
    return float(prior.ppf(0.5))


def _entry(name: str, given: Parameter | Prior, tier: Touches, ss: Any) -> Parameter:
    value = _value_of(name, given, ss)
    if isinstance(given, Parameter):
        return replace(given, value=value, touches=tier)
    low, high = given.support
    value = value if low < value < high else float(given.ppf(0.5))
    return Parameter(value, name.replace("_", r"\_"), name, given, tier)
