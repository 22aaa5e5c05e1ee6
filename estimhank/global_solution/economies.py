"""Economies by name: those that ship, and a user's own from a file."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from estimhank.global_solution.economy import Chain, GlobalEconomy, KrusellSmithEconomy, chain_of
from estimhank.support.errors import ConfigError
from estimhank.support.files import expand_user
from estimhank.support.settings import unknown_key

#: Economies that ship.
BUILT_IN: Mapping[str, type[GlobalEconomy]] = {"krusell_smith": KrusellSmithEconomy}


def find_economy(reference: str, folder: Path | str = ".") -> type[GlobalEconomy]:
    """The class that a reference names: a shipped economy's name, or ``"path/to/file.py:Class"``.

    Raises
    ------
    ConfigError
        If there is no such economy.
    """
    if reference in BUILT_IN:
        return BUILT_IN[reference]
    path_text, colon, name = reference.rpartition(":")
    if not colon or not path_text.endswith(".py"):
        raise ConfigError(
            f"unknown economy '{reference}': there are {', '.join(BUILT_IN)}, and one of your own is written "
            f"'file.py:Class'"
        )
    path = (Path(folder) / expand_user(path_text)).resolve()
    if not path.is_file():
        raise ConfigError(f"the economy's file {path} does not exist")
    spec = importlib.util.spec_from_file_location(f"estimhank_economy_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"the economy's file {path} cannot be read: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, GlobalEconomy)):
        raise ConfigError(f"{path} has no class '{name}' that is a GlobalEconomy")
    return found


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


def make_economy(kind: type[GlobalEconomy], parameters: Mapping[str, Any] | None = None) -> GlobalEconomy:
    """An economy with some of its numbers changed, checked.

    Raises
    ------
    ConfigError
        Where a name is unknown, or the economy is none: no Markov chain, prices that are no numbers, a limit above the
        grid.
    """
    if not dataclasses.is_dataclass(kind):
        raise ConfigError(
            f"the economy {kind.__name__} must be a frozen dataclass: write @dataclass(frozen=True) above it"
        )
    known = {field.name: field for field in dataclasses.fields(kind)}
    given = dict(parameters or {})
    for name, value in given.items():
        if name not in known:
            raise unknown_key(name, known, "[economy.parameters]")
        if isinstance(known[name].default, float) and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ConfigError(f"[economy.parameters] {name}: expected a number, got {value!r}")
    economy = kind(**{name: _frozen(value) for name, value in given.items()})
    check_economy(economy)
    return economy


def check_economy(economy: GlobalEconomy) -> None:
    """Refuse what cannot be solved, in a sentence that says what to change.

    Raises
    ------
    ConfigError
    """
    name = type(economy).__name__
    try:
        hash(economy)
    except TypeError:
        raise ConfigError(f"{name}: write its numbers as tuples, not as lists or arrays: it must be hashable") from None
    for field, low, high in (("beta", 0.0, 1.0), ("risk_aversion", 0.0, math.inf)):
        value = getattr(economy, field)
        if not low < value < high:
            raise ConfigError(f"{name}: {field} must lie between {low:g} and {high:g}, it is {value}")
    if not economy.largest_assets > economy.borrowing_limit:
        raise ConfigError(f"{name}: largest_assets must be above the borrowing limit")
    chain = chain_of(economy)
    if not isinstance(chain, Chain) or chain.idiosyncratic.shape[:2] != chain.aggregate.shape:
        raise ConfigError(f"{name}: chain() must return a Chain; Chain.from_joint and Chain.independent make one")
    if np.abs(chain.idiosyncratic.sum(-1) - 1).max() > 1e-8 or np.abs(chain.aggregate.sum(-1) - 1).max() > 1e-8:
        raise ConfigError(f"{name}: rows of its Markov chain must sum to one")
    low, high = economy.capital_range()
    if not 0 < low < high:
        raise ConfigError(
            f"{name}: capital_range() must be two positive numbers, the smaller one first, it is {low}, {high}"
        )
    for capital in (low, high):
        for z in range(economy.n_z):
            prices = economy.prices(jnp.asarray(z), jnp.asarray(capital))
            income, gross = np.asarray(prices.income), np.asarray(prices.gross_return)
            if income.shape != (economy.n_e,) or gross.shape != ():
                raise ConfigError(
                    f"{name}: prices() must give one return and {economy.n_e} incomes, one for each idiosyncratic state"
                )
            if not (np.isfinite(income).all() and np.isfinite(gross) and (income >= 0).all() and gross > 0):
                raise ConfigError(
                    f"{name}: prices() gives a return or an income that is negative or no number with capital "
                    f"{capital:.4g} in state {z}"
                )
            least = gross * economy.borrowing_limit + income.min() - economy.borrowing_limit
            if not least > 0:
                raise ConfigError(
                    f"{name}: with capital {capital:.4g} in state {z} a household at the borrowing limit could not "
                    f"eat: raise the limit"
                )
