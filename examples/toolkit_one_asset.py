"""The sequence-jacobian toolkit's one-asset HANK example, estimated on US growth and inflation.

estimhank estimate examples/toolkit_one_asset.toml --out results/scratch/toolkit_one_asset --profile smoke
"""

from sequence_jacobian.examples import hank

from estimhank.adapters import from_sequence_jacobian
from estimhank.model import AR1, Beta, Gamma, Growth, Level, Normal, SqrtInverseGamma

# as in the toolkit's notebooks: one graph for the calibration, one for the dynamics
_, steady_state, dynamics, unknowns, targets, _ = hank.dag()

model = from_sequence_jacobian(
    dynamics,
    steady_state,
    unknowns,  # w, Y, pi
    targets,  # asset_mkt, goods_mkt, nkpc_res
    shocks=(
        AR1("rstar", description="monetary policy"),
        AR1("Z", description="productivity"),
        AR1("mu", description="markup"),
    ),
    observables=(Growth("Y", "growth"), Level("pi", "inflation")),
    parameters={
        "kappa": Gamma(0.1, 0.03),
        "phi": Normal(1.5, 0.1, lower=1.0),
        "rho_rstar": Beta(0.5, 0.2, upper=0.95),
        "rho_Z": Beta(0.5, 0.2, upper=0.95),
        "rho_mu": Beta(0.5, 0.2, upper=0.95),
        "sigma_rstar": SqrtInverseGamma(0.4, 4.0),
        "sigma_Z": SqrtInverseGamma(0.4, 4.0),
        "sigma_mu": SqrtInverseGamma(0.4, 4.0),
    },
)
