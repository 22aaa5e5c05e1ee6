"""How models are declared: household problem, equilibrium conditions, shocks, observables, parameter table."""

from estimhank.households.interpolation import interpolate_policies, interpolate_rows, interpolate_rows_smoothly
from estimhank.households.labor import (
    EndogenousHours,
    consumption_and_hours,
    endogenous_grid,
    marginal_utility_given_saving,
)
from estimhank.households.one_asset import (
    Grids,
    HouseholdBlock,
    HouseholdTarget,
    Policies,
    StandardIncompleteMarkets,
    Sum,
    double_exponential_grid,
    logarithmic_grid,
    rouwenhorst,
)
from estimhank.households.two_asset import (
    TwoAssetChoice,
    TwoAssetGrids,
    TwoAssets,
    adjustment_cost,
    crossing,
    turned_round,
    two_asset_step,
)
from estimhank.model.declaration import Model
from estimhank.model.observed import Growth, Level, Log, Observe, ObservedVariable, YearOnYear
from estimhank.model.processes import AR1, ARMA, IID, Correlation, RandomWalk
from estimhank.parameters.parameter_table import ModelError, Parameter, Parameters, Values
from estimhank.parameters.priors import Beta, Gamma, InverseGamma, Normal, Prior, SqrtInverseGamma, Uniform, make_prior

__all__ = [
    "AR1",
    "ARMA",
    "IID",
    "Beta",
    "Correlation",
    "EndogenousHours",
    "Gamma",
    "Grids",
    "Growth",
    "HouseholdBlock",
    "HouseholdTarget",
    "InverseGamma",
    "Level",
    "Log",
    "Model",
    "ModelError",
    "Normal",
    "Observe",
    "ObservedVariable",
    "Parameter",
    "Parameters",
    "Policies",
    "Prior",
    "RandomWalk",
    "SqrtInverseGamma",
    "StandardIncompleteMarkets",
    "Sum",
    "TwoAssetChoice",
    "TwoAssetGrids",
    "TwoAssets",
    "Uniform",
    "Values",
    "YearOnYear",
    "adjustment_cost",
    "consumption_and_hours",
    "crossing",
    "double_exponential_grid",
    "endogenous_grid",
    "interpolate_policies",
    "interpolate_rows",
    "interpolate_rows_smoothly",
    "logarithmic_grid",
    "make_prior",
    "marginal_utility_given_saving",
    "rouwenhorst",
    "turned_round",
    "two_asset_step",
]
