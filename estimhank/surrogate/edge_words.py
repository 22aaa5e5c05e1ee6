"""Words for the edge of the feasible region: why there is no density beyond, and where that is."""

from __future__ import annotations

from collections.abc import Sequence

#: What happens at the edge, by the reason that evaluations beyond it give; to follow "where ".
AT_THE_EDGE: dict[str, str] = {
    "outside_support": "the prior's support ends",
    "steady_state": "the steady state stops existing",
    "indeterminate": "the equilibrium stops being determinate",
    "no_stable_solution": "the equilibrium stops being determinate (beyond, there is no stable solution)",
    "not_stationary": "an observable stops being stationary",
    "horizon": "the horizon becomes too short for the likelihood",
    "not_positive_definite": "the covariance of the data stops being positive definite",
    "non_finite": "the density stops being finite",
}


def at_the_edge(reason: str) -> str:
    """What happens at an edge beyond which evaluations give this reason; reasons of later kinds by their own name."""
    if reason in AT_THE_EDGE:
        return AT_THE_EDGE[reason]
    general = reason.split(":")[0]
    return AT_THE_EDGE.get(general, f"evaluations begin to fail ({reason.replace('_', ' ')})")


def place(names: Sequence[str], values: Sequence[float]) -> str:
    """``phi_T = 0.0100``, or the parameters of which a combination leads across, with their values."""
    parts = [f"{name} = {_number(value)}" for name, value in zip(names, values, strict=True)]
    if not parts:
        return "an edge that several parameters lead across together"
    if len(parts) == 1:
        return parts[0]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) >= 1 or value == 0 else f"{value:#.3g}"
