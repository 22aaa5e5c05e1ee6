"""What tables and figures need to know of a parameter; the model's parameter table is the source."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.analysis.math_text import figure_label, plain_label
from estimhank.parameters.parameter_table import Parameter
from estimhank.parameters.priors import Prior

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ParameterInfo:
    """One estimated parameter: its names, its units and its prior.

    Attributes
    ----------
    name : str
        Name in code and files, e.g. ``"kappa_w"``.
    latex : str
        LaTeX form without dollar signs, e.g. ``r"\\kappa_w"``; the name is used where it is empty.
    description : str
        A few words, e.g. ``"slope of the wage Phillips curve"``.
    unit : str
        Unit, e.g. ``"percent"``; empty for a pure number.
    prior_family : str
        Family in words, e.g. ``"Gamma"``.
    prior_mean, prior_sd : float
        Mean and standard deviation of the parameter under its prior before truncation (Dynare's convention).
    lower, upper : float
        Open bounds of the support; may be infinite.
    log_prior : callable, optional
        Normalised log prior density of the parameter in natural units, vectorised: shape (n,) to (n,).
    """

    name: str
    latex: str = ""
    description: str = ""
    unit: str = ""
    prior_family: str = ""
    prior_mean: float = math.nan
    prior_sd: float = math.nan
    lower: float = -math.inf
    upper: float = math.inf
    log_prior: Callable[[Array], Array] | None = None

    @property
    def label(self) -> str:
        """Label for a figure: LaTeX in dollar signs, or the plain name where there is none that a figure can show."""
        return figure_label(self.latex, self.name)

    @property
    def axis_label(self) -> str:
        """Label with the unit in brackets, for an axis."""
        return f"{self.label} ({plain_label(self.unit)})" if self.unit else self.label

    def prior_density(self, theta: ArrayLike) -> Array | None:
        """Prior density at ``theta`` of shape (n,); zero outside the support, ``None`` without a ``log_prior``."""
        if self.log_prior is None:
            return None
        theta = np.asarray(theta, float)
        inside = (theta > self.lower) & (theta < self.upper)
        if not inside.any():
            return np.zeros_like(theta)
        # a stand-in keeps the shape, so that a compiled prior is compiled once for every parameter's grid
        density = np.exp(np.asarray(self.log_prior(np.where(inside, theta, theta[inside][0])), float))
        return np.where(inside, density, 0.0)


def describe_parameters(parameters: Mapping[str, Parameter]) -> tuple[ParameterInfo, ...]:
    """The estimated entries of a model's parameter table, in its order."""
    return tuple(
        _describe(name, parameter, parameter.prior)
        for name, parameter in parameters.items()
        if parameter.prior is not None
    )


def _describe(name: str, parameter: Parameter, prior: Prior) -> ParameterInfo:
    lower, upper = prior.support

    def log_prior(theta: Array) -> Array:
        # SciPy's form of the distribution, and not the prior's own, which JAX would compile for each figure
        return np.asarray(prior.untruncated.logpdf(theta - prior.shift) - math.log(prior.mass), float)

    return ParameterInfo(
        name=name,
        latex=parameter.latex,
        description=parameter.description,
        prior_family=prior.family,
        prior_mean=prior.mean,
        prior_sd=prior.sd,
        lower=lower,
        upper=upper,
        log_prior=log_prior,
    )
