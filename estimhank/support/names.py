"""Names that parameters and observables may have: those that a results file can hold."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

#: What ``posterior.nc`` itself calls its dimensions, and the variables beside the parameters.
TAKEN_OF_PARAMETERS = ("chain", "draw", "point", "lp", "surrogate_lp")
#: What ``data.csv`` and ``posterior.nc`` call the column of dates.
TAKEN_OF_OBSERVABLES = ("date", "quarter")


def why_not_a_name(name: object, taken: Iterable[str] = ()) -> str:
    """Why a results file cannot hold a variable of this name, with what to do, as the end of a sentence; else empty.

    Parameters
    ----------
    name : object
    taken : iterable of str
        Names that the file uses itself.
    """
    if not isinstance(name, str):
        return f"must be text, not {name!r}"
    if not name.strip():
        return "is blank: give it letters"
    if name != name.strip() or any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name):
        return "begins or ends with a blank, or has a line break or another control character in it: leave them out"
    if "/" in name:
        return f"has a '/' in it, which separates folders in a results file: write '{name.replace('/', '_')}'"
    if name in (".", ".."):
        return "stands for a folder in a results file: give it letters"
    if name in taken:
        return f"is what the results file calls a part of its own: write '{name}_' or another name"
    return ""
