"""Types of the numerical rooms are checked as their functions are called: classes, and shapes by the names of axes.

``Float[Array, "T n_o n_z"]`` says which axes an array has. In one call the same name stands for the same length, so
that a transposed argument is found out where it is handed over. Outside the tests nothing is checked: annotations are
text there, which nobody reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

_PACKAGE = Path(__file__).parents[2] / "estimhank"
_ROOMS = ("economics", "households", "likelihood", "networks", "posterior", "sequence_space")
#: Doors for users, who are told in a sentence of ours what is wrong; and what tests hand the parts it reads, no more.
_UNCHECKED = (
    *("posterior.posterior", "households.cliffs"),
    # of protocols, and of what is imported for types alone
    *("economics.draws", "economics.output", "economics.result", "economics.study"),
)

#: A number without a decimal point is a number.
_CONFIGURED = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function: Any) -> Any:
    """What the import hook puts around each function and dataclass."""
    return _CONFIGURED(function)


def check_types() -> None:
    """Check from now on; call it before anything of these rooms is imported."""
    modules = [f"{room}.{path.stem}" for room in _ROOMS for path in (_PACKAGE / room).glob("[!_]*.py")]
    names = [f"estimhank.{module}" for module in modules if module not in _UNCHECKED]
    jaxtyping.install_import_hook(names, f"{__name__}.{checked.__name__}")
