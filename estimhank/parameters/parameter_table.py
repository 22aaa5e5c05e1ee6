"""The parameter table: the single source for priors, transforms, tables, plots and what is recomputed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from estimhank.parameters.priors import Prior
from estimhank.support.errors import EstimhankError

Touches = Literal["shocks", "equilibrium", "steady_state"]

#: From the cheapest recomputation to the dearest.
TIERS: tuple[Touches, ...] = ("shocks", "equilibrium", "steady_state")


class ModelError(EstimhankError):
    """A model declaration, or a change to it, that cannot work."""


def nearest(name: str, known: Any) -> str:
    """A hint such as ``"; did you mean 'phi_pi'?"``, empty if nothing is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _balanced(latex: str) -> bool:
    depth = 0
    for brace in re.findall(r"\\.|[{}]", latex):
        depth += {"{": 1, "}": -1}.get(brace, 0)
        if depth < 0:
            return False
    return depth == 0


@dataclass(frozen=True)
class Parameter:
    """One entry of the parameter table.

    Parameters
    ----------
    value : float or None
        Calibrated value, or reference value of an estimated parameter; ``None`` if the steady state determines it.
    latex : str
        LaTeX name without dollar signs.
    description : str
        A few words for tables.
    prior : Prior, optional
        Estimated if given, fixed at ``value`` otherwise.
    touches : {"equilibrium", "shocks", "steady_state"}
        The most expensive part of the solution that depends on it.
    prior_relative_to : str
        Name of a fixed parameter; the prior is then that of the difference to it.
    """

    value: float | None
    latex: str
    description: str
    prior: Prior | None = None
    touches: Touches = "equilibrium"
    prior_relative_to: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.latex, str) or not isinstance(self.description, str):
            raise ModelError(f"parameter {self.latex}: latex and description are text")
        if len(self.latex) > 1 and self.latex[0] == self.latex[-1] == "$":
            object.__setattr__(self, "latex", self.latex.strip("$"))
        if not _balanced(self.latex):
            raise ModelError(f"parameter {self.latex}: the braces of its LaTeX name do not match")
        if self.touches not in TIERS:
            raise ModelError(f"parameter {self.latex}: touches must be one of {', '.join(TIERS)}, got '{self.touches}'")
        if self.prior is not None and self.value is not None and not self.prior_relative_to:
            low, high = self.prior.support
            if not low < self.value < high:
                raise ModelError(
                    f"parameter {self.latex}: the value {self.value:g} is outside the support ({low:g}, {high:g}) "
                    "of its prior"
                )


class Parameters(Mapping[str, Parameter]):
    """Ordered, immutable mapping from parameter names to :class:`Parameter`."""

    def __init__(self, entries: Mapping[str, Parameter] | None = None, /, **named: Parameter) -> None:
        self._entries = {**(entries or {}), **named}

    def __getitem__(self, name: str) -> Parameter:
        if name not in self._entries:
            raise ModelError(f"unknown parameter '{name}'{nearest(name, self._entries)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    @property
    def estimated(self) -> tuple[str, ...]:
        """Names of the parameters that have a prior, in order."""
        return tuple(name for name, entry in self._entries.items() if entry.prior is not None)

    def priors(self) -> dict[str, Prior]:
        """Priors of the estimated parameters in their own units: those relative to another parameter are shifted."""
        found: dict[str, Prior] = {}
        for name in self.estimated:
            entry = self[name]
            prior = entry.prior
            assert prior is not None
            if entry.prior_relative_to:
                base = self[entry.prior_relative_to]
                if base.prior is not None or base.value is None:
                    raise ModelError(
                        f"the prior of {name} is relative to {entry.prior_relative_to}, "
                        f"which must then be fixed at a value; to estimate both, give {name} a prior of its own "
                        "(family, mean, sd, and shift where its distribution begins above zero)"
                    )
                prior = replace(prior, shift=base.value)
            found[name] = prior
        return found

    def changed(self, name: str, **fields: Any) -> Parameters:
        """A table in which some fields of one entry are replaced."""
        return Parameters({**self._entries, name: replace(self[name], **fields)})

    def values_with(self, changes: Mapping[str, Any]) -> Values:
        """All values as attributes, some replaced; entries left to the steady state are absent unless replaced."""
        known = {name: entry.value for name, entry in self._entries.items() if entry.value is not None}
        return Values({**known, **changes})


class Values:
    """Named numbers with attribute access, as ``p`` in a model's equations; unknown names raise with a hint."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_values", dict(values))

    def __getattr__(self, name: str) -> Any:
        values = object.__getattribute__(self, "_values")
        if name.startswith("__"):
            raise AttributeError(name)
        if name in values:
            return values[name]
        prefix = f"{name}."  # of a group, such as the outputs of one type of households
        group = {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
        if not group:
            raise ModelError(f"unknown name '{name}'{nearest(name, values)}")
        return Values(group)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("values are read-only")

    def as_dict(self) -> dict[str, Any]:
        """A copy as a dictionary."""
        return dict(self._values)
