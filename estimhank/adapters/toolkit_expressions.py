"""The arguments of the toolkit's simple blocks: ``x(-1)``, ``x(+1)``, ``x.apply(np.log)``, ``x.ss``.

A simple block is a Python function of objects that understand these words. The toolkit calls it with objects of its own
that differentiate; here it is called with expressions, functions of the date, so that its equations become those of a
declared model.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from estimhank.parameters.parameter_table import ModelError


class Expression:
    """A function of the date relative to today, with the syntax of the toolkit's simple blocks.

    Parameters
    ----------
    at : callable
        From a date (0 today, -1 yesterday) to a number.
    rest : callable
        Without arguments, to the steady state.
    reads : mapping of str to int, optional
        The names that it reads, each with the latest date.
    dated : bool
        Whether any of them is a variable.
    """

    __slots__ = ("_at", "_rest", "dated", "reads")

    def __init__(
        self,
        at: Callable[[int], Any],
        rest: Callable[[], Any],
        reads: Mapping[str, int] | None = None,
        dated: bool = False,
    ) -> None:
        self._at, self._rest, self.reads, self.dated = at, rest, dict(reads or {}), dated

    @classmethod
    def of(cls, number: Any) -> Expression:
        """A number that is the same at all dates."""
        return cls(lambda _: number, lambda: number)

    @property
    def today(self) -> Any:
        """Its number today."""
        return self._at(0)

    @property
    def ss(self) -> Expression:
        """Its steady state."""
        return Expression(lambda _: self._rest(), self._rest, self.reads)

    def __call__(self, dates: int) -> Expression:
        dates = operator.index(dates)
        if not self.dated:
            return self
        if dates < 0 < max(self.reads.values(), default=0):
            raise ModelError(
                "a lag of something that reads a lead, (x(+1))(-1), is what was expected of x a date before: make the "
                "inner one an output of a block of its own, and lag that"
            )
        reads = {name: date + dates for name, date in self.reads.items()}
        return Expression(lambda date: self._at(date + dates), self._rest, reads, True)

    def apply(self, function: Callable[..., Any], **options: Any) -> Expression:
        """A function of the expression."""
        if isinstance(function, np.ufunc):
            return _joined(getattr(jnp, function.__name__), self)

        def of(number: Any) -> Any:  # a function of numbers, with NumPy in it perhaps
            found = function(Expression.of(number), **options)
            return found.today if isinstance(found, Expression) else found

        return _joined(of, self)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *given: Any, **options: Any) -> Any:
        if method != "__call__" or options or not hasattr(jnp, ufunc.__name__):
            return NotImplemented
        return _joined(getattr(jnp, ufunc.__name__), *given)

    def __bool__(self) -> bool:
        raise ModelError("it asks whether a variable or a parameter is large or small, which equations cannot")

    def __pos__(self) -> Expression:
        return self

    def __neg__(self) -> Expression:
        return _joined(operator.neg, self)

    def __abs__(self) -> Expression:
        return _joined(jnp.abs, self)


def _joined(function: Callable[..., Any], *given: Any) -> Expression:
    parts = [g if isinstance(g, Expression) else Expression.of(g) for g in given]
    reads: dict[str, int] = {}
    for part in parts:
        for name, date in part.reads.items():
            reads[name] = max(date, reads.get(name, date))
    return Expression(
        lambda date: function(*(part._at(date) for part in parts)),
        lambda: function(*(part._rest() for part in parts)),
        reads,
        any(part.dated for part in parts),
    )


def _binary(name: str, function: Callable[[Any, Any], Any], reflected: bool) -> None:
    setattr(Expression, f"__{name}__", lambda self, other: _joined(function, self, other))
    if reflected:
        setattr(Expression, f"__r{name}__", lambda self, other: _joined(function, other, self))


for _name in ("add", "sub", "mul", "truediv", "pow"):
    _binary(_name, getattr(operator, _name), reflected=True)
for _name in ("lt", "le", "gt", "ge"):
    _binary(_name, getattr(operator, _name), reflected=False)
