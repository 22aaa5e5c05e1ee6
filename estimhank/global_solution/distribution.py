"""Capital and wealth along several aggregate paths, by networks and by the referee.

The spread of wealth moves slowly: averages over 10,000 quarters still differ by more than a per cent from path to path.
So a solution is judged along several, none of them chosen: their seeds are 0, 1, 2, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Path(Protocol):
    """A simulation: capital, and the cross-section's s.d. and Gini coefficient of assets, (quarters,) each."""

    @property
    def capital(self) -> NDArray[np.float64]:
        """Mean assets."""

    @property
    def wealth_sd(self) -> NDArray[np.float64]:
        """S.d. of assets."""

    @property
    def wealth_gini(self) -> NDArray[np.float64]:
        """Gini coefficient of assets."""


@dataclass(frozen=True)
class Distribution:
    """Averages over the quarters of each path, (paths,) each.

    Attributes
    ----------
    mean_capital, sd_capital : array of shape (paths,)
        Mean and s.d. over time, in goods a household.
    wealth_sd, wealth_gini : array of shape (paths,)
        Cross-sectional figures, averaged over time.
    """

    mean_capital: NDArray[np.float64]
    sd_capital: NDArray[np.float64]
    wealth_sd: NDArray[np.float64]
    wealth_gini: NDArray[np.float64]

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Distribution:
        """Of simulations."""
        return cls(
            np.array([path.capital.mean() for path in paths]),
            np.array([path.capital.std() for path in paths]),
            np.array([path.wealth_sd.mean() for path in paths]),
            np.array([path.wealth_gini.mean() for path in paths]),
        )

    def averaged(self) -> Distribution:
        """Means over paths, as one path."""
        return Distribution(*(np.array([value]) for value in self.means.values()))

    @property
    def means(self) -> dict[str, float]:
        """Over paths, by name."""
        return {field.name: float(getattr(self, field.name).mean()) for field in fields(self)}

    @property
    def by_path(self) -> dict[str, list[float]]:
        """Path by path, by name."""
        return {field.name: [float(x) for x in getattr(self, field.name)] for field in fields(self)}

    def figures(self) -> dict[str, Any]:
        """Means by name, the s.d. of the s.d. of wealth from path to path, and ``by_path``; as ``global.json`` has
        them.
        """
        n = len(self.wealth_sd)
        spread = float(self.wealth_sd.std(ddof=1)) if n > 1 else None
        return {**self.means, "wealth_sd_spread": spread, "by_path": self.by_path}
