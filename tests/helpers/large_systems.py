"""Random linear systems of the size and kind of large New Keynesian models."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from estimhank.sequence_space.linear_system import LinearSystem


def as_system(*matrices: Any) -> LinearSystem:
    """A linear system of lag, now, lead and shock matrices."""
    lag, now, lead, shock = (jnp.asarray(m) for m in matrices)
    return LinearSystem(lag, now, lead, shock)


class Equations:
    """Equations, written one by one as ``add("name", ("x", date, coefficient), ...)`` with dates -1, 0 and 1."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[str, int, float]]] = {}

    def add(self, name: str, *terms: tuple[str, int, float]) -> None:
        """One more equation."""
        assert name not in self.rows
        self.rows[name] = list(terms)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the variables, in the order of their first appearance."""
        return tuple(dict.fromkeys(variable for terms in self.rows.values() for variable, _, _ in terms))

    def system(self, names: tuple[str, ...] = ()) -> LinearSystem:
        """Its matrices, with a shock to the first and to the last equation; ``names``: variables in another order."""
        at = {name: i for i, name in enumerate(names or self.names)}
        bands = np.zeros((3, len(self.rows), len(at)))
        for row, terms in enumerate(self.rows.values()):
            for variable, date, coefficient in terms:
                bands[date + 1, row, at[variable]] += coefficient
        return as_system(*bands, np.eye(len(self.rows))[:, [0, -1]])


def sectors(rng: np.random.Generator, number: int, arbitrage: int = 0, lags: int = 1) -> Equations:
    """A New Keynesian economy of sectors: 7 + ``lags`` variables each, and 5 of the whole economy.

    Every sector has demand, a Phillips curve with indexation, capital with adjustment costs, marginal cost, and lags of
    its output as variables of their own. In the first ``arbitrage`` sectors the expected return on capital is that on
    bonds: an equation of tomorrow's variables alone, so that today's do not follow from all other dates.
    """
    e, u = Equations(), lambda low, high: float(rng.uniform(low, high))
    shares = rng.dirichlet(np.full(number, 5.0))
    for s in range(number):
        y, pi, k, q, inv, rk, mc = (f"{name}_{s}" for name in ("y", "pi", "k", "q", "inv", "rk", "mc"))
        elasticity, index, delta, habit = u(0.5, 2.0), u(0.0, 0.5), u(0.02, 0.05), u(0.0, 0.6)
        e.add(f"demand {s}", (y, 0, 1.0), ("y", 0, -1.0), (pi, 0, elasticity), ("pi", 0, -elasticity), (y, -1, -habit))
        e.add(f"prices {s}", (pi, 0, 1 + 0.99 * index), (pi, -1, -index), (pi, 1, -0.99), (mc, 0, -u(0.02, 0.3)))
        e.add(f"marginal cost {s}", (mc, 0, 1.0), (y, 0, -u(0.5, 2.0)), (k, -1, u(0.1, 0.4)))
        e.add(f"capital {s}", (k, 0, 1.0), (k, -1, delta - 1), (inv, 0, -delta))
        e.add(f"investment {s}", (inv, 0, 1.0), (inv, -1, -0.5), (inv, 1, -0.49), (q, 0, -u(0.1, 0.4)))
        e.add(f"return {s}", (rk, 0, 1.0), (q, 0, -0.96), (q, -1, 1.0), (y, 0, -0.05), (k, -1, 0.05))
        if s < arbitrage:
            e.add(f"arbitrage {s}", (rk, 1, 1.0), ("r", 1, -1.0))
        else:
            e.add(f"portfolio {s}", (rk, 1, 1.0), ("r", 1, -1.0), (q, 0, -0.01), (k, 0, -0.02))
        for lag in range(lags):
            e.add(f"lag {lag} {s}", (f"y{lag}_{s}", 0, 1.0), (f"y{lag - 1}_{s}" if lag else y, -1, -1.0))
    e.add("inflation", ("pi", 0, 1.0), *((f"pi_{s}", 0, -float(share)) for s, share in enumerate(shares)))
    e.add("Euler", ("c", 0, 1.0), ("c", 1, -1.0), ("i", 0, 0.5), ("pi", 1, -0.5))
    e.add("resources", ("y", 0, 1.0), ("c", 0, -0.8), *((f"inv_{s}", 0, -0.2 * float(w)) for s, w in enumerate(shares)))
    e.add("rule", ("i", 0, 1.0), ("i", -1, -0.7), ("pi", 0, -0.5), ("y", 0, -0.05))
    e.add("bonds", ("r", 0, 1.0), ("i", -1, -1.0), ("pi", 0, 1.0))
    return e


def mixed(rng: np.random.Generator, system: LinearSystem, decades: float = 0.0) -> LinearSystem:
    """The same equations in another order, each multiplied by up to ten to plus or minus ``decades``."""
    n = len(system.now)
    order, factor = rng.permutation(n), 10.0 ** rng.uniform(-decades, decades, (n, 1))
    return as_system(*(np.asarray(m)[order] * factor for m in system))
