"""Posteriors of a model that another posterior has solved already."""

from __future__ import annotations

from estimhank.data.dataset import Dataset
from estimhank.posterior.posterior import Posterior

_OF_THE_MODEL = ("steady", "structure", "solve")  # and of the horizon


def on_other_data(posterior: Posterior, data: Dataset) -> Posterior:
    """The same model at the same horizon on other data, with steady state and solution as they are: neither depends on
    the data, and each takes seconds to trace again."""
    other = Posterior(posterior.model, data, posterior.horizon, posterior.tail_start)
    for name in _OF_THE_MODEL:
        setattr(other.solver, name, getattr(posterior.solver, name))
    return other
