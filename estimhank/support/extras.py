"""Features that need packages beyond those of a plain run, and what to install for them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True)
class Extra:
    """A feature: words for it, the module to look for, and the extra of the package that brings it."""

    feature: str
    module: str
    name: str

    @property
    def missing(self) -> bool:
        """Whether it is not installed."""
        return importlib.util.find_spec(self.module) is None

    @property
    def sentence(self) -> str:
        """What is needed and how to install it."""
        return f'{self.feature}: pip install "estimhank[{self.name}]", or `make install-test` in a clone'


DASK = Extra("the dask backend needs dask and distributed", "distributed", "cluster")
NUTS = Extra("[sample] nuts needs blackjax", "blackjax", "nuts")
OPENPYXL = Extra("Excel files need openpyxl", "openpyxl", "excel")
TOOLKIT = Extra("models of the sequence-jacobian toolkit need sequence-jacobian", "sequence_jacobian", "toolkit")
