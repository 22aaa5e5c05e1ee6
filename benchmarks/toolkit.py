"""The default model in the sequence-jacobian toolkit: what speeds are measured against, and an oracle for tests.

Written as the toolkit's own notebooks write their models (a heterogeneous-agent block, simple blocks, solved blocks for
recursions) and reduced by hand as far as it goes: with goods-market clearing in the wage equation and the Phillips
curve, the Taylor rule and the debt rule as solved blocks, one unknown (output) and one target (the asset market) are
left.
"""

# mypy: ignore-errors
from __future__ import annotations

import numpy as np
import sequence_jacobian as sj
from scipy import optimize
from sequence_jacobian import estimation, hetblocks, simple, solved

OBSERVED = ("growth", "pi", "i")
SHOCKS = ("w", "g", "m")
CALIBRATED = ("eis", "frisch", "mu_w", "rho_e", "sd_e", "G", "B_bar", "beta", "vphi")
POLICY = ("kappa_w", "phi_pi", "phi_y", "rho_i", "phi_b")


def asset_grid(n_a: int, a_max: float) -> np.ndarray:
    """The project's double-exponential grid from zero, shape (n_a,)."""
    return np.expm1(np.expm1(np.linspace(0, np.log1p(np.log1p(a_max)), int(n_a))))


def _grids(rho_e, sd_e, n_e, n_a, a_max):
    e_grid, _, Pi = sj.grids.markov_rouwenhorst(rho_e, sd_e, n_e)
    a_grid = asset_grid(n_a, a_max)
    return e_grid, Pi, a_grid


def _income(Z, e_grid):
    y = Z * e_grid
    return y


@solved(unknowns={"pi": (-0.1, 0.1)}, targets=["nkpc"], solver="brentq")
def _phillips(pi, Y, g, w, kappa_w, vphi, frisch, eis, mu_w, rbar, G):
    consumption = Y - G - g
    nkpc = kappa_w * (vphi * Y ** (1 / frisch) - consumption ** (-1 / eis) / mu_w) + pi(+1) / (1 + rbar) + w - pi
    return nkpc


@solved(unknowns={"i": (-0.1, 0.1)}, targets=["rule"], solver="brentq")
def _taylor(i, pi, Y, m, rho_i, phi_pi, phi_y, rbar):
    rule = rbar + rho_i * (i(-1) - rbar) + (1 - rho_i) * (phi_pi * pi + phi_y * (Y - 1)) + m - i
    return rule


@simple
def _fisher(i, pi):
    r_ante = i - pi(+1)
    return r_ante


@simple
def _return(r_ante):
    r = r_ante(-1)
    return r


@solved(unknowns={"B": (0.0, 100.0)}, targets=["budget"], solver="brentq")
def _fiscal(B, r, g, G, rbar, B_bar, phi_b):
    budget = (1 + r) * B(-1) + G + g - (G + rbar * B_bar + phi_b * (B(-1) - B_bar)) - B
    return budget


@simple
def _after_tax(Y, B, G, rbar, B_bar, phi_b):
    Z = Y - (G + rbar * B_bar + phi_b * (B(-1) - B_bar))
    return Z


@simple
def _clearing(A, B, Y):
    asset_market = A - B
    growth = Y - Y(-1)
    return asset_market, growth


class ToolkitHANK:
    """The default model at given steady-state parameters; Jacobians of the household are computed once.

    Parameters
    ----------
    parameters : dict
        All parameters, those determined by the steady state included.
    horizon : int
    n_e, n_a, a_max
        Grid.
    """

    def __init__(self, parameters: dict[str, float], horizon: int, n_e: int = 7, n_a: int = 200, a_max: float = 200.0):
        self.horizon = horizon
        self.household = hetblocks.hh_sim.hh.add_hetinputs([_income, _grids])
        self.model = sj.create_model(
            [self.household, _phillips, _taylor, _fisher, _return, _fiscal, _after_tax, _clearing]
        )
        values = {name: parameters[name] for name in (*CALIBRATED, *POLICY)}
        values |= {
            "rbar": parameters["r"],
            "n_e": n_e,
            "n_a": n_a,
            "a_max": a_max,
            "Y": 1.0,
            "w": 0.0,
            "g": 0.0,
            "m": 0.0,
        }
        self.income = 1 - values["G"] - values["rbar"] * values["B_bar"]
        self.values = values
        self.solve_steady_state()
        self.solve_household()

    def solve_steady_state(self) -> None:
        """Household steady state with the discount factor that makes households hold the debt (Brent's method)."""
        given = {**self.values, "r": self.values["rbar"], "Z": self.income}
        r, debt = self.values["rbar"], self.values["B_bar"]

        def excess(beta: float) -> float:
            self.steady = self.household.steady_state({**given, "beta": beta})
            return self.steady["A"] - debt

        optimize.brentq(excess, 0.85, 0.97, xtol=1e-12)
        self.steady.update({**given, "beta": self.steady["beta"]})
        self.steady.update({"pi": 0.0, "i": r, "r_ante": r, "B": debt, "growth": 0.0})
        self.steady.update({"asset_market": 0.0, "nkpc": 0.0, "rule": 0.0, "budget": 0.0})

    def recalibrate(self, changes: dict[str, float]) -> None:
        """Replace parameters that move the steady state; solve again with the two methods below."""
        self.values.update(changes)
        self.income = 1 - self.values["G"] - self.values["rbar"] * self.values["B_bar"]

    def solve_household(self) -> None:
        """Household Jacobians at the present steady state."""
        self.jacobians = {
            self.household.name: self.household.jacobian(self.steady, inputs=["r", "Z"], outputs=["A"], T=self.horizon)
        }

    def coefficients(self, theta: dict[str, float]) -> np.ndarray:
        """Moving-average coefficients of the observables, percent, (T, 3, 3), plainly truncated at the horizon."""
        self.steady.update({name: theta[name] for name in POLICY})
        solution = self.model.solve_jacobian(
            self.steady, ["Y"], ["asset_market"], list(SHOCKS), list(OBSERVED), T=self.horizon, Js=self.jacobians
        )
        dates = np.arange(self.horizon)
        out = np.empty((self.horizon, 3, 3))
        for z, shock in enumerate(SHOCKS):
            path = theta[f"sigma_{shock}"] * theta[f"rho_{shock}"] ** dates
            for o, name in enumerate(OBSERVED):
                out[:, o, z] = solution[name][shock] @ path
        return out

    def log_likelihood(self, theta: dict[str, float], sample: np.ndarray) -> float:
        """The toolkit's log likelihood of a sample (n, 3), its missing constant added."""
        return self.likelihood_of(self.coefficients(theta), sample)

    def likelihood_of(self, coefficients: np.ndarray, sample: np.ndarray) -> float:
        """The same, from moving-average coefficients."""
        covariances = estimation.all_covariances(coefficients, np.ones(3))
        return float(estimation.log_likelihood(sample, covariances)) - sample.size / 2 * float(np.log(2 * np.pi))


class ToolkitHousehold:
    """Krusell and Smith's household alone, at the toolkit's calibration: steady state, then Jacobians of assets."""

    def __init__(self, parameters: dict[str, float], horizon: int, n_e: int = 7, n_a: int = 500, a_max: float = 200.0):
        def grids(rho_e, sd_e, n_e, n_a, a_max):
            e_grid, _, Pi = sj.grids.markov_rouwenhorst(rho_e, sd_e, n_e)
            a_grid = np.geomspace(0.25, a_max + 0.25, int(n_a)) - 0.25
            return e_grid, Pi, a_grid

        def income(w, e_grid):
            y = w * e_grid
            return y

        self.horizon = horizon
        self.household = hetblocks.hh_sim.hh.add_hetinputs([income, grids])
        p = parameters
        self.capital = p["alpha"] / (p["r"] + p["delta"])
        self.given = {"r": p["r"], "w": 1 - p["alpha"], "eis": p["eis"], "rho_e": p["rho_e"], "sd_e": p["sd_e"]}
        self.given |= {"n_e": n_e, "n_a": n_a, "a_max": a_max}

    def solve_steady_state(self, **changes: float) -> float:
        """Discount factor that makes households hold the capital stock."""
        given = {**self.given, **changes}

        def excess(beta: float) -> float:
            self.steady = self.household.steady_state({**given, "beta": beta})
            return self.steady["A"] - self.capital

        return optimize.brentq(excess, 0.95, 0.989, xtol=1e-12)

    def solve_household(self) -> np.ndarray:
        """Jacobian of assets with respect to the return and the wage: (2, T, T)."""
        found = self.household.jacobian(self.steady, inputs=["r", "w"], outputs=["A"], T=self.horizon)
        return np.stack([found["A"]["r"], found["A"]["w"]])
