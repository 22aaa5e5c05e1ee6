"""What a model is, for fingerprints: its code with all that it refers to, and what is set on the instance."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from estimhank.model.declaration import Model
from estimhank.model.measurement_error import error_parameters
from estimhank.model.observed import Observation, Observe
from estimhank.model.processes import AR1, Process
from estimhank.support.identity import identify, part_of_fingerprint

#: Methods through which the package calls a model and its household.
_CALLED = (
    *("equations", "household_target", "steady_state"),
    *("grids", "initial_marginal_value", "backward", "identities", "derived"),
)
#: Attributes of a model that are parts of a fingerprint of their own, or words for people.
_ELSEWHERE = frozenset({"parameters", "household", "shocks", "correlations", "observables", "title"})


def _process(process: Process) -> tuple[Any, ...]:
    if isinstance(process, AR1) and not process.news:
        return process.name, process.rho, process.sigma, process.scale
    return process.name, process.ar, process.ma, process.sigma, process.scale, process.news


def _observation(observable: Observation) -> tuple[Any, ...]:
    mean = (observable.mean,) if observable.mean != "" else ()
    if isinstance(observable, Observe):
        return observable.name, observable.function, *mean
    return observable.variable, observable.kind, observable.name, observable.scale, *mean


def describe_model(model: Model) -> str:
    """The part ``model`` of a fingerprint.

    In it are the classes of the model and of its household with their bases, wherever these are written, all functions,
    constants, arrays and modules that they refer to, the whole text of the user's files that the classes stand in, and
    what the instances hold. Values, priors and measurement error are parts of their own; descriptions and LaTeX names
    are in none.
    """
    blocks = model.household.values() if isinstance(model.household, Mapping) else (model.household,)
    classes = [*type(model).__mro__, *(cls for b in blocks if b is not None for cls in type(b).__mro__)]
    modules = {cls.__module__: sys.modules.get(cls.__module__) for cls in classes if cls.__module__ != "__main__"}
    errors = set(error_parameters(model).values())
    content: dict[str, Any] = {
        "class": type(model),
        "name": model.name,
        "version": model.version,
        "files": [module for module in modules.values() if module is not None],
        "shocks": [_process(s) for s in model.shocks],
        "observables": [_observation(o) for o in model.observables],
        **({"correlations": model.correlations} if model.correlations else {}),
        "touches": {name: entry.touches for name, entry in model.parameters.items() if name not in errors},
        "set on the instance": {name: value for name, value in vars(model).items() if name not in _ELSEWHERE},
        "household": model.household,
    }
    return part_of_fingerprint(identify(content, _CALLED), model.version)
