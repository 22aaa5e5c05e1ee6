"""What code a model is made of, for fingerprints."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from pathlib import Path
from typing import Any


def source_of(cls: type) -> str:
    """Code that a class is made of, without comments and formatting.

    The whole file for a class from a user's file (its helper functions matter as much), else the class and those that
    it is derived from.
    """
    file = inspect.getsourcefile(cls) if cls.__module__ in sys.modules and cls.__module__ != "__main__" else None
    if file is not None and not cls.__module__.startswith("estimhank."):
        return _normalised(Path(file).read_text(encoding="utf-8"))
    parts = []
    for base in cls.__mro__[:-1]:
        try:
            parts.append(_normalised(inspect.getsource(base)))
        except (OSError, TypeError):
            parts.append(base.__qualname__)
    return "\n".join(parts)


def _normalised(source: str) -> str:
    # unparsed, not dumped: the text of a dump depends on the version of Python
    return ast.unparse(ast.parse(textwrap.dedent(source)))


def describe_block(block: Any) -> list[Any]:
    """What a household block is: its code, and its settings by name."""
    if block is None:
        return []
    return [source_of(type(block)), sorted((name, repr(value)) for name, value in vars(block).items())]
