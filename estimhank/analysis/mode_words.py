"""What kind of maximum a mode search found, in sentences."""

from __future__ import annotations

from estimhank.analysis.wording import fixed, joined, plural, significant
from estimhank.mode.mode_result import ModeResult, Supremum
from estimhank.surrogate.edge_words import at_the_edge, place

_MOST_NAMED = 3


def mode_words(search: ModeResult) -> list[str]:
    """Sentences on a mode that is not an ordinary one, and on places where the density rises to an edge; may be empty.

    A mode inside, a supremum on a bound of the prior, one at the edge of the feasible region and a plateau are told
    apart.
    """
    sentences = []
    if search.kind == "edge":
        sentences.append(
            f"No start ended at a mode: the log posterior rises to the edge of the feasible region. {_edges(search)} "
            "What is reported as the mode is the last feasible point there; the curvature says nothing about the "
            "posterior's width, and a prior that stays away from the edge is needed if a mode is wanted."
        )
    elif search.suprema:
        sentences.append(
            f"The log posterior also rises to the edge of the feasible region. {_edges(search)} That is a supremum, "
            "not a mode; the mode reported here is one inside."
        )
    if search.bounds:
        values = [search.theta[search.names.index(name)] for name in search.bounds]
        sentences.append(
            f"The log posterior rises up to a bound of the prior's support, at {place(search.bounds, values)}: the "
            "mode is a supremum on that bound, and no curvature says how wide the posterior is there."
        )
    if search.kind == "flat":
        sentences.append(
            "The log posterior is flat around the mode: it is one of many points with the same value, and has no "
            "normal approximation."
        )
    return sentences


def _edges(search: ModeResult) -> str:
    return " ".join(_edge(search, supremum) for supremum in search.suprema[:_MOST_NAMED])


def _edge(search: ModeResult, supremum: Supremum) -> str:
    values = [supremum.theta[search.names.index(name)] for name in supremum.parameters]
    few = supremum.parameters if len(supremum.parameters) <= _MOST_NAMED else ()
    gain = supremum.log_density - search.log_density
    against = ""
    if search.kind != "edge":
        against = f", {significant(abs(gain), 3)} {'above' if gain > 0 else 'below'} the mode"
    return (
        f"{plural(supremum.starts, 'start')} ended at {place(few, values if few else ())}, where "
        f"{at_the_edge(supremum.reason)}, with a log posterior of {fixed(supremum.log_density, 3)}{against}."
    )


def kind_words(search: ModeResult) -> str:
    """The kind of the reported mode in a few words, for tables."""
    return {
        "interior": "inside the feasible region",
        "bound": f"on the bound of {joined(search.bounds)}",
        "edge": "at the edge of the feasible region",
        "flat": "on a plateau",
    }[search.kind]
