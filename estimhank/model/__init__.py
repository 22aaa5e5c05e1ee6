"""How models are declared: household problem, equilibrium conditions, shocks, observables, parameter table."""

from estimhank.households.one_asset import (
    Grids,
    HouseholdBlock,
    HouseholdTarget,
    Policies,
    StandardIncompleteMarkets,
    double_exponential_grid,
    interpolate_rows,
    logarithmic_grid,
    rouwenhorst,
)
from estimhank.model.declaration import AR1, Growth, Level, Model, ObservedVariable
from estimhank.parameters.parameter_table import ModelError, Parameter, Parameters, Values
from estimhank.parameters.priors import Beta, Gamma, InverseGamma, Normal, Prior, SqrtInverseGamma, Uniform, make_prior

__all__ = [
    "AR1",
    "Beta",
    "Gamma",
    "Grids",
    "Growth",
    "HouseholdBlock",
    "HouseholdTarget",
    "InverseGamma",
    "Level",
    "Model",
    "ModelError",
    "Normal",
    "ObservedVariable",
    "Parameter",
    "Parameters",
    "Policies",
    "Prior",
    "SqrtInverseGamma",
    "StandardIncompleteMarkets",
    "Uniform",
    "Values",
    "double_exponential_grid",
    "interpolate_rows",
    "logarithmic_grid",
    "make_prior",
    "rouwenhorst",
]
