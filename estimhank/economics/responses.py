"""Responses of series to shocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from estimhank.economics.linear_form import LinearForm, moving_average
from estimhank.economics.output import Scene
from estimhank.economics.result import Result
from estimhank.economics.stacked_sample import Stacked
from estimhank.parameters.parameter_table import ModelError, nearest
from estimhank.support.errors import ConfigError, EstimhankError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

#: Share of a response's largest value below which it is nothing that others could be measured by.
_NOTHING = 1e-8


@dataclass(frozen=True, eq=False)
class Responses(Result):
    """Responses (draw, horizon, variable, shock); horizon 0 is the impact.

    Attributes
    ----------
    prior : Responses, optional
        The same at draws of the prior, which figures show behind and files beside it.
    """

    prior: Responses | None = None

    name = "responses"
    shown = ("response",)

    def identities(self) -> dict[str, float]:
        """The squares of what follows within the horizon are a part of the variance."""
        part, whole = self.draws.variance_within.values, self.draws.variance.values
        known = ~np.isnan(whole)
        over = np.where(known, part - whole, 0.0) / np.where(known & (whole > 0), whole, 1.0)
        return {"that the squared responses are a part of the variance": float(np.maximum(over, 0.0).max(initial=0.0))}

    def with_prior(self, prior: Responses) -> Responses:
        """The same with other responses behind: those of ``run.responses(at="prior")``.

        Raises
        ------
        ConfigError
            If they are of other series, shocks or horizons.
        """
        for name in ("horizon", "variable", "shock"):
            if list(prior.draws[name].values) != list(self.draws[name].values):
                raise ConfigError(f"responses behind others are of the same {name}s: ask for both in the same way")
        return replace(self, prior=prior)

    def bands(self, probabilities: Sequence[float] | None = None, kind: str | None = None) -> xr.Dataset:
        """As of any result; the prior's, where there are any, as ``prior``."""
        found = super().bands(probabilities, kind)
        if self.prior is None:
            return found
        behind = self.prior.bands(probabilities, self.kind if kind is None else kind)
        return found.assign(prior=behind.response)

    def plot(self, **options: Any) -> Figure:
        """As of any result; ``behind``: others, in grey, in place of the prior's."""
        return super().plot(**({"behind": self.prior and self.prior.with_bands(self.kind)} | options))

    def summary(self) -> str:
        """Of each shock the impact and the largest response of each series."""
        found = [f"{self.draws.attrs['size']}; {self.heading}"]
        if self.prior is not None:
            found.append(f"behind them those of {self.prior.about.words}")
        for shock in self.about.shocks:
            found.append(f"{self.about.label(shock)}, largest responses:")
            for series in self.about.series:
                at = self.dataset.response.sel(variable=series.name, shock=shock)
                middle = np.abs(at.sel(quantile=0.5).values)
                if np.isnan(middle).any():
                    continue
                most = int(middle.argmax())
                when = "on impact" if most == 0 else f"after {most} quarter{'s' * (most > 1)}"
                found.append(f"  {series.label} {self._interval(at.isel(horizon=most))} {series.units}, {when}")
        return "\n".join(found)


@dataclass(frozen=True)
class ResponseOutput:
    """Responses up to a horizon.

    Attributes
    ----------
    scene : Scene
    horizon : int
    size : float, optional
        Of the shocks, in the units of their standard deviations' parameters; one standard deviation by default.
    unit_of : str, optional
        In place of a size: a series that shocks move by one unit on impact.
    """

    reads_data: ClassVar[bool] = False
    scene: Scene
    horizon: int = 40
    size: float | None = None
    unit_of: str | None = None

    def __post_init__(self) -> None:
        names = self.scene.about.names
        if self.unit_of is not None and self.unit_of not in names:
            raise ModelError(f"responses by unit of '{self.unit_of}', which is none of the series shown"
                             f"{nearest(self.unit_of, names)}")  # fmt: skip
        if self.unit_of is not None and self.size is not None:
            raise ModelError("responses are to shocks of a size or by unit of a series, not both")

    def kernel(self, form: LinearForm, stacked: Stacked) -> Mapping[str, jax.Array]:
        """Responses and what the check reads."""
        at = self.scene.positions
        plain = moving_average(form, self.horizon + 1)[:, at]
        found = self.scene.add_up(plain, 0, 1)
        factor = jnp.ones(found.shape[2])
        if self.size is not None:
            factor = self.size / form.sizes
        elif self.unit_of is not None:
            path = found[:, self.scene.about.names.index(self.unit_of)]
            factor = jnp.where(jnp.abs(path[0]) > _NOTHING * jnp.abs(path).max(0), 1 / path[0], jnp.nan)
        variance = form.covariances[:, 0, at, at].T
        return {"response": found * factor, "variance": variance, "variance_within": (plain**2).sum(0)}

    def result(self, arrays: Mapping[str, Array]) -> Responses:
        """As a result.

        Raises
        ------
        EstimhankError
            If a shock does not move the series that responses are measured by.
        """
        about = self.scene.about
        bad = np.isnan(arrays["response"]).any(axis=(0, 1, 2))
        if self.unit_of is not None and bad.all():
            raise EstimhankError(f"no shock moves {self.unit_of} on impact: responses cannot be measured by it")
        size = "shocks of one standard deviation"
        if self.size is not None:
            size = f"shocks of size {self.size:g} in the units of their standard deviations"
        elif self.unit_of is not None:
            moved = [s for s, no in zip(about.shocks, bad, strict=True) if not no]
            size = f"shocks that move {self.unit_of} by one unit on impact ({', '.join(moved)})"
        units = {s.name: s.units for s in about.series}
        draws = xr.Dataset(
            {
                "response": (("draw", "horizon", "variable", "shock"), arrays["response"]),
                "variance": (("draw", "variable", "shock"), arrays["variance"]),
                "variance_within": (("draw", "variable", "shock"), arrays["variance_within"]),
            },
            {"horizon": np.arange(self.horizon + 1), "variable": about.names, "shock": list(about.shocks)},
            {"size": size, "units": "; ".join(f"{n}: {u}" for n, u in units.items())},
        )
        return Responses(about, draws)
