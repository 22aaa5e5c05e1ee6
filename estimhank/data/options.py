"""Settings that joined a table of the configuration after runs had been made with it."""

from __future__ import annotations

import dataclasses
from typing import Any

from estimhank.support.settings import option


def addition(default: Any, **checks: Any) -> Any:
    """Like :func:`estimhank.support.settings.option`, for a key that older runs did not know.

    While it stands at its default it is left out of a run's identity, which is therefore the same as before there was
    such a key.
    """
    return option(default, addition=True, **checks)


def set_additions(settings: Any) -> dict[str, bool]:
    """The later keys of a dataclass, and whether each is away from its default."""
    return {
        field.name: getattr(settings, field.name) != field.default
        for field in dataclasses.fields(settings)
        if field.metadata.get("addition")
    }
