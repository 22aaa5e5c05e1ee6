"""Which parameters the data can tell apart (``docs/identification.md``).

* The Jacobian of mean and autocovariances at all lags of the sample: where its rank is short, the moments do not tell
  the parameters apart near a point (Iskrev 2010). The same of the spectrum, lags beyond the sample included (Qu and
  Tkachenko 2012)::

      G_ij = (1 / 2 pi) integral tr(f_i(w)^* f_j(w)) dw + mean_i' mean_j

* From the Fisher information I of the sample, the strength of a parameter, in prior standard deviations, and its
  collinearity with the others (Ratto and Iskrev 2011)::

      strength_i = 1 / sqrt((I^{-1})_ii),    collinearity_i = sqrt(1 - 1 / (I_ii (I^{-1})_ii))

* The posterior's variance over the prior's, by the directions in which that is least and most.

The test of Komunjer and Ng (2011) is one of minimal state spaces of finite dimension. A sequence-space solution has
none, so that it does not apply here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse.csgraph import connected_components

from estimhank.economics.sample_derivatives import SampleDerivatives

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

#: Of singular values, the largest being one: below it a direction has no effect. Differences are good to some 1e-9.
_NULL = 1e-6
_PART = 0.05  # weight from which a parameter has part in a direction
_WEAK = 1.0  # strength, in prior standard deviations, below which the sample says less than the prior
_COLLINEAR = 0.99
_UNMOVED = 0.9  # of the prior's variance, left in a direction: the data have next to nothing to say


@dataclass(frozen=True)
class Identification:
    """What data of this kind and length tell about the parameters near a point.

    Attributes
    ----------
    names : tuple of str, length d
    theta, prior_sd : ndarray of shape (d,)
        The point; units of the derivatives.
    derivatives : SampleDerivatives
    posterior_covariance : ndarray of shape (d, d), optional
        Of a run's draws; without it nothing is said of posterior against prior.
    sensitivity : mapping of str to ndarray of shape (d,), optional
        Of the posterior to powers of prior and likelihood (Kallioinen et al. 2024), by ``"prior"``, ``"likelihood"``.
    """

    names: tuple[str, ...]
    theta: Array
    prior_sd: Array
    derivatives: SampleDerivatives
    posterior_covariance: Array | None = None
    sensitivity: Mapping[str, Array] = field(default_factory=dict)

    @cached_property
    def silent(self) -> dict[str, tuple[dict[str, float], ...]]:
        """Directions of no effect by test, ``"moments"`` and ``"spectrum"``: weights by parameter, prior s.d.

        One entry for each set of parameters that only such directions join.
        """
        found = self.derivatives
        return {"moments": self._silent_in(found.moments), "spectrum": self._silent_in(found.spectrum)}

    def _silent_in(self, jacobian: Array) -> tuple[dict[str, float], ...]:
        size = np.linalg.norm(jacobian, axis=0)
        moves = size > _NULL * size.max()
        groups = [{name: 1.0} for name, some in zip(self.names, moves, strict=True) if not some]
        _, values, vectors = np.linalg.svd(jacobian[:, moves] / size[moves], full_matrices=False)
        null = vectors[values <= _NULL * values[0]] / size[moves]  # directions, of the parameters in prior s.d.
        null, _ = np.linalg.qr(null.T) if len(null) else (null.T, None)
        joined = np.abs(null @ null.T) > _PART**2
        number, label = connected_components(joined, directed=False)
        kept = np.array(self.names)[moves]
        for k in range(number):
            rows = np.flatnonzero(label == k)
            if len(rows) > 1:
                weight = null[rows][:, np.linalg.norm(null[rows], axis=0).argmax()]
                groups.append(dict(zip(kept[rows], (weight / np.abs(weight).max()).tolist(), strict=True)))
        return tuple(groups)

    @property
    def identified(self) -> bool:
        """Whether both tests find full rank."""
        return not any(self.silent.values())

    @cached_property
    def dataset(self) -> xr.Dataset:
        """By ``parameter``: point, prior's s.d., strength, sensitivity, collinearity, with which other most. By
        ``direction``: the share of the prior's variance that the posterior leaves, and weights by parameter."""
        information = self.derivatives.information
        scale = np.sqrt(np.maximum(np.diag(information), 0.0))
        safe = np.where(scale > 0, scale, 1.0)
        correlation = information / safe[:, None] / safe + np.diag(scale == 0)
        values, vectors = np.linalg.eigh(correlation)
        alive = values > _NULL**2 * len(values)
        inverse = (vectors[:, alive] / values[alive]) @ vectors[:, alive].T
        # a parameter that has part in a direction without information has none of its own
        lost = (vectors[:, ~alive] ** 2).sum(axis=1) > _PART**2
        diagonal = np.where(lost | (scale == 0), np.inf, np.diag(inverse))
        strength = scale / np.sqrt(diagonal)
        pairs = np.abs(correlation - np.diag(np.diag(correlation)))
        partner = pairs.argmax(axis=1)
        data = {
            "point": self.theta,
            "prior_sd": self.prior_sd,
            "strength": strength,
            "sensitivity": scale,
            "collinearity": np.sqrt(np.maximum(1 - 1 / diagonal, 0.0)),
            "with": np.array(self.names, object)[partner],
            "correlation": correlation[np.arange(len(partner)), partner],
            **{f"sensitivity_to_{name}": values for name, values in self.sensitivity.items()},
        }
        found = xr.Dataset(
            {name: ("parameter", values) for name, values in data.items()}, {"parameter": list(self.names)}
        )
        if self.posterior_covariance is not None:
            ratios, weights = self._directions(self.posterior_covariance)
            found["variance_left"] = ("parameter", np.diag(self.posterior_covariance) / self.prior_sd**2)
            found = found.assign(
                direction_variance_left=("direction", ratios), direction_weight=(("direction", "parameter"), weights)
            )
        return found

    def _directions(self, covariance: Array) -> tuple[Array, Array]:
        """Shares of the prior's variance, ascending, and unit directions in prior s.d., one a row."""
        values, vectors = eigh(covariance / self.prior_sd[:, None] / self.prior_sd)
        return values, vectors.T

    def table(self) -> pd.DataFrame:
        """A row for each parameter."""
        return self.dataset.drop_dims("direction", errors="ignore").to_dataframe().reset_index()

    def plot(self) -> Figure:
        """Strength by parameter, and the directions in which the data say least."""
        from estimhank.report.figures_policy import identification_figure  # a door up

        return identification_figure(self).figure

    def summary(self) -> str:
        """What is identified, what is not, what weakly, in sentences with the parameters' names."""
        data, words = self.dataset, []
        if self.identified:
            words.append(
                f"The moments of the data tell all {len(self.names)} parameters apart at this point: the Jacobian of "
                "mean and autocovariances has full rank (Iskrev), and so has that of the spectrum (Qu and Tkachenko)."
            )
        for test, groups in self.silent.items():
            words += [_not_identified(group, test) for group in groups]
        strength, collinearity = data["strength"].values, data["collinearity"].values
        weak = [f"{n} ({s:.2f})" for n, s in zip(self.names, strength, strict=True) if 0 < s < _WEAK]
        if weak:
            words.append(
                "Weakly identified: by a sample of this length the standard error exceeds the prior's standard "
                f"deviation for {_listed(weak)} (strength in brackets)."
            )
        alike = [
            f"{name} ({c:.3f}, most with {data['with'].values[i]})"
            for i, (name, c) in enumerate(zip(self.names, collinearity, strict=True))
            if c > _COLLINEAR and strength[i] > 0
        ]
        if alike:
            words.append(f"Nearly collinear with the others: {_listed(alike)}.")
        if "direction" in data.dims:
            shares, weights = data["direction_variance_left"].values, data["direction_weight"].values
            words.append(
                f"The data tell most in the direction {_direction(self.names, weights[0])}, where the posterior keeps "
                f"{shares[0]:.2%} of the prior's variance, and least in {_direction(self.names, weights[-1])}, where "
                f"it keeps {shares[-1]:.0%} (prior standard deviations)."
            )
            words += [
                f"The posterior keeps {share:.0%} of the prior's variance in the direction "
                f"{_direction(self.names, weight)}: the data have next to nothing to say there."
                for share, weight in zip(shares, weights, strict=True)
                if share > _UNMOVED
            ]
        if "prior" in self.sensitivity:
            moved = [n for n, v in zip(self.names, self.sensitivity["prior"], strict=True) if v > _PSENSE]
            if moved:
                words.append(f"Power scaling: the posterior of {_listed(moved)} moves with the prior.")
        words.append(
            "The test of Komunjer and Ng needs a minimal state space of finite dimension; a sequence-space solution "
            "has none, so it does not apply."
        )
        return "\n".join(words)


_PSENSE = 0.05  # of the distance by power scaling: what ArviZ takes for a sensitivity


def _not_identified(group: Mapping[str, float], test: str) -> str:
    means = "mean and autocovariances" if test == "moments" else "the spectrum"
    if len(group) == 1:
        return f"Not identified: {next(iter(group))} has no effect on {means} of the observables."
    return (
        f"Not identified: {_listed(list(group))} enter {means} only together; nothing changes in the direction "
        f"{_direction(list(group), np.array(list(group.values())))} (prior standard deviations)."
    )


def _direction(names: Sequence[str], weights: Array) -> str:
    """The parameters with the largest weights, signed."""
    weights = weights / np.abs(weights).max()
    order = [i for i in np.argsort(-np.abs(weights)) if abs(weights[i]) > 3 * _PART][:6]
    return " ".join(f"{weights[i]:+.2f} {names[i]}" for i in order)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
