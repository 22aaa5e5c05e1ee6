"""Models of the sequence-jacobian toolkit have the toolkit's responses, and its likelihood with the constant."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import cloudpickle
import numpy as np
import pytest
from sequence_jacobian import combine, create_model, estimation, simple
from sequence_jacobian.blocks.het_block import HetBlock
from sequence_jacobian.examples import hank, krusell_smith

from estimhank.adapters import from_sequence_jacobian
from estimhank.data.dataset import Dataset
from estimhank.households.stationary import SteadyStateError
from estimhank.model import (
    AR1,
    Beta,
    Gamma,
    Growth,
    Level,
    Model,
    ModelError,
    Normal,
    Observe,
    Parameter,
    Parameters,
    SqrtInverseGamma,
)
from estimhank.posterior.posterior import Posterior
from estimhank.support.errors import ConfigError
from estimhank.support.extras import Extra
from estimhank.target.protocol import Gradient

T = 150
SHOCKS = ("rstar", "Z")
OBSERVED = ("Y", "pi")


def processes(names: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        found |= {f"rho_{name}": Beta(0.5, 0.2, upper=0.9), f"sigma_{name}": SqrtInverseGamma(0.4, 4.0)}
    return found


def sample(model: Model, n: int = 60) -> Dataset:
    names = tuple(o.name for o in model.observables)
    values = np.random.default_rng(3).standard_normal((n, len(names)))
    dates = tuple(f"{2000 + i // 4}Q{i % 4 + 1}" for i in range(n))
    return Dataset(dates, names, tuple(o.units for o in model.observables), names, values, np.zeros(len(names)))


class Case(NamedTuple):
    """A toolkit model beside the posterior of its adaptation."""

    model: Any
    ss: Any
    posterior: Posterior


@cache
def one_asset() -> Case:
    """The toolkit's one-asset example, with Taylor rule and Phillips curve as a solved block of a combined one."""
    _, ss, _, _, _, _ = hank.dag()
    household = hank.hh.add_hetinputs([hank.transfers, hank.wages, hank.make_grids]).add_hetoutputs([hank.labor_supply])
    prices = combine([hank.monetary, hank.nkpc]).solved(unknowns={"pi": 0.0}, targets=["nkpc_res"], solver="brentq")
    model = create_model([household, hank.firm, hank.fiscal, prices, hank.mkt_clearing], name="One-Asset HANK")
    declared = from_sequence_jacobian(
        model,
        ss,
        ["w", "Y"],
        ["asset_mkt", "goods_mkt"],
        tuple(AR1(name) for name in SHOCKS),
        [Level("Y"), "pi"],
        {**processes(SHOCKS), "kappa": Gamma(0.1, 0.03), "phi": Normal(1.5, 0.1)},
    )
    return Case(model, ss, Posterior(declared, sample(declared), T, 100))


def coefficients(case: Case, theta: dict[str, float]) -> np.ndarray:
    """The toolkit's own moving-average coefficients, in percent."""
    ss = case.ss.copy()
    ss.update({name: theta[name] for name in ("kappa", "phi")})
    found = case.model.solve_jacobian(ss, ["w", "Y"], ["asset_mkt", "goods_mkt"], list(SHOCKS), list(OBSERVED), T=T)
    out = np.empty((T, 2, 2))
    for z, shock in enumerate(SHOCKS):
        path = theta[f"sigma_{shock}"] * theta[f"rho_{shock}"] ** np.arange(T)
        for o, name in enumerate(OBSERVED):
            out[:, o, z] = found[name][shock] @ path
    return out


def points(posterior: Posterior, n: int) -> np.ndarray:
    rng = np.random.default_rng(8)
    return posterior.reference() * (1 + 0.05 * rng.standard_normal((n, len(posterior.names))))


def test_responses_and_likelihood_are_those_of_the_toolkit() -> None:
    case = one_asset()
    for point in points(case.posterior, 3):
        theirs = coefficients(case, dict(zip(case.posterior.names, point.tolist(), strict=True)))
        np.testing.assert_allclose(case.posterior.responses(point), theirs, atol=1e-11)
        values = np.asarray(case.posterior.data.values)
        kernel = estimation.log_likelihood(values, estimation.all_covariances(theirs, np.ones(2)))
        mine = case.posterior.evaluate(point)
        assert mine.log_likelihood == pytest.approx(kernel - values.size / 2 * np.log(2 * np.pi), abs=1e-6)


@pytest.mark.long
def test_gradients_are_those_of_differences() -> None:
    posterior = one_asset().posterior
    point = points(posterior, 1)[0]
    _, gradient = posterior.log_density_and_gradient(point)
    for i in range(len(point)):
        step = np.eye(len(point))[i] * 1e-5 * point[i]
        up, down = posterior.log_density(point + step), posterior.log_density(point - step)
        assert gradient[i] == pytest.approx((up - down) / (2 * step[i]), rel=1e-5, abs=1e-3)


def test_household_jacobians_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    posterior = one_asset().posterior
    first = posterior.evaluate(posterior.reference()).log_likelihood
    monkeypatch.setattr(HetBlock, "_jacobian", None)
    assert all(posterior.evaluate(point).reason == "ok" for point in points(posterior, 4))
    copy = pickle.loads(cloudpickle.dumps(posterior))
    assert copy.evaluate(posterior.reference()).log_likelihood == first
    assert copy.fingerprint == posterior.fingerprint


def test_outputs_that_nothing_depends_on_are_left_out_unless_asked_for() -> None:
    model = one_asset().posterior.model
    assert "NE" not in model.unknowns and "labor_mkt" not in model.variables
    assert model.household.outputs == ("A", "C") and "A_of" not in model.unknowns
    _, ss, toolkit, unknowns, targets, _ = hank.dag()
    more = from_sequence_jacobian(
        toolkit, ss, unknowns, targets, (AR1("Z"),), ["Y", Observe("tilt", lambda now, lag, lead, p: now.C - lag(2).L)],
        processes(("Z",)), variables=("NE",),
    )  # fmt: skip
    assert set(more.household.outputs) == {"A", "C", "NE"} and "L" in more.variables


# -- Krusell and Smith -----------------------------------------------------------------------------------------
KS = {"delta": 0.025, "alpha": 0.11, "rho": 0.966, "sigma": 0.5, "Y": 1.0, "L": 1.0, "nS": 2, "nA": 10, "amax": 200,
      "r": 0.01}  # fmt: skip
HOUSEHOLD = krusell_smith.hh.add_hetinputs([krusell_smith.income, krusell_smith.make_grids])
DYNAMICS = create_model([HOUSEHOLD, krusell_smith.firm, krusell_smith.mkt_clearing], name="Krusell-Smith")
CALIBRATION = create_model([HOUSEHOLD, krusell_smith.firm_ss, krusell_smith.mkt_clearing])


def steady_state(p: dict[str, float]) -> Any:
    bracket = {"beta": (0.98 / 1.01, 0.999 / 1.01)}
    return CALIBRATION.solve_steady_state({**KS, "eis": 1.0, **p}, bracket, {"asset_mkt": 0.0}, solver="brentq")


def adapted(model: Any = DYNAMICS, ss: Any = steady_state, **changes: Any) -> Model:
    given: dict[str, Any] = {
        "unknowns": ["K"],
        "targets": ["asset_mkt"],
        "shocks": (AR1("Z"),),
        "observables": (Growth("Y", "growth"),),
        "parameters": processes(("Z",)),
    }
    return from_sequence_jacobian(model, ss, **{**given, **changes})


@pytest.mark.long
def test_a_parameter_of_the_household_moves_the_steady_state() -> None:
    parameters = {**processes(("Z",)), "eis": Parameter(1.0, r"\mathrm{eis}", "substitution", Normal(1.0, 0.1))}
    model = adapted(parameters=parameters)
    assert model.parameters["eis"].touches == "steady_state"
    posterior = Posterior(model, sample(model), 100, 70)
    assert not posterior.has_gradient and posterior.steady_state_parameters == ("eis",)
    theta = {"rho_Z": 0.7, "sigma_Z": 0.6, "eis": 0.9}
    ss = steady_state({"eis": 0.9})
    impulse = 0.006 * 0.7 ** np.arange(100)
    theirs = DYNAMICS.solve_impulse_linear(ss, ["K"], ["asset_mkt"], {"Z": impulse}, outputs=["Y"])["Y"]
    mine = posterior.responses(theta)[:, 0, 0]
    np.testing.assert_allclose(mine, 100 * np.diff(theirs, prepend=0.0), atol=1e-11)
    partial = posterior.evaluate(posterior.to_array(theta), Gradient.PARTIAL)
    assert np.isnan(partial.gradient[2]) and np.isfinite(partial.gradient[:2]).all()
    assert posterior.evaluate(posterior.to_array({**theta, "eis": 40.0})).reason == "steady_state"


@pytest.mark.long
def test_two_types_by_remapped_blocks_and_a_shock_to_what_one_of_them_reads() -> None:
    own = ["beta", *HOUSEHOLD.outputs]
    types = [HOUSEHOLD.remap({n: f"{n}_{t}" for n in own}).rename(f"hh_{t}") for t in ("patient", "impatient")]
    shared = [krusell_smith.mkt_clearing, krusell_smith.aggregate]
    model = create_model([*types, krusell_smith.firm, *shared], name="two types")
    given = {**KS, "alpha": 0.3, "eis": 1.0, "amax": 1000, "nA": 60, "nS": 3, "beta_impatient": 0.985}
    ss = create_model([*types, krusell_smith.firm_ss, *shared]).solve_steady_state(
        {**given, "mass_patient": 0.5}, {"beta_patient": (0.98 / 1.01, 0.999 / 1.01)}, {"asset_mkt": 0.0},
        solver="brentq",
    )  # fmt: skip
    shocks = ("Z", "beta_impatient")
    declared = adapted(
        model, ss, shocks=tuple(AR1(n, scale=1e-4) for n in shocks), parameters=processes(shocks),
        observables=("Y", "C_patient"),
    )  # fmt: skip
    posterior = Posterior(declared, sample(declared), 120, 80)
    theta = dict(zip(posterior.names, posterior.reference().tolist(), strict=True))
    mine = posterior.solver.responses_at(posterior.reference())
    for j, name in enumerate(shocks):
        path = 1e-2 * theta[f"sigma_{name}"] * theta[f"rho_{name}"] ** np.arange(120)
        theirs = model.solve_impulse_linear(ss, ["K"], ["asset_mkt"], {name: path}, outputs=["Y", "C_patient"])
        np.testing.assert_allclose(mine[:, 0, j], theirs["Y"], atol=1e-12)
        np.testing.assert_allclose(mine[:, 1, j], theirs["C_patient"], atol=1e-12)


def test_content_is_in_the_fingerprint() -> None:
    @simple
    def firm(K, L, Z, alpha, delta):
        r = alpha * Z * (K(-1) / L) ** (alpha - 1) - delta
        w = (1 - alpha) * Z * (K(-1) / L) ** alpha
        Y = Z * K(-1) ** alpha * L ** (1 - alpha) * 1.0001
        return r, w, Y

    ss = steady_state({})
    other = create_model([HOUSEHOLD, firm, krusell_smith.mkt_clearing])
    elsewhere = steady_state({"eis": 1.01})
    models = [
        adapted(ss=ss),
        adapted(other, ss, variables=("C",)),
        adapted(ss=elsewhere),
        adapted(ss=ss, options={"hh": {"twosided": True}}),
    ]
    data = sample(models[0])
    found = [Posterior(model, data, 120, 80).fingerprint["model"] for model in models]
    assert len(set(found)) == len(found) and not any("not identified" in text for text in found)
    assert Posterior(adapted(ss=ss), data, 120, 80).fingerprint["model"] == found[0]


@simple
def undecided(K, Z):
    Y = Z * K(-1) if Z > 0 else K
    return Y


@simple
def foreign(K, Z):
    Y = np.linalg.det(K) * Z
    return Y


def _replaced(**values: Any) -> Callable[[dict[str, float]], Any]:
    def found(p: dict[str, float]) -> Any:
        ss = steady_state(p)
        ss.update(values)
        return ss

    return found


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"unknowns": ["Kapital"]}, "the unknown 'Kapital' is no input"),
        ({"unknowns": ["Y"]}, "the unknown 'Y' is returned by one of its blocks"),
        ({"targets": ["asset_market"]}, "the target 'asset_market' is no output.*did you mean 'asset_mkt'"),
        ({"targets": ["asset_mkt", "goods_mkt"]}, "1 unknowns .* for 2 targets"),
        ({"shocks": (AR1("A"),), "parameters": processes(("A",))}, "the shock 'A' is returned"),
        ({"shocks": {"Z": 1}}, "shocks are processes"),
        ({"observables": ["output"]}, "'output' is observed, and is no variable"),
        ({"parameters": {**processes(("Z",)), "Y": Normal(1.0, 1.0)}}, "'Y' is a variable"),
        ({"parameters": {**processes(("Z",)), "alpha": 0.11}}, "'alpha' is a Parameter or a prior"),
        ({"touches": {"kappa": "shocks"}}, "touches speaks of 'kappa'"),
        (
            {"parameters": {**processes(("Z",)), "eis": Normal(1.0, 0.1)}, "touches": {"eis": "equilibrium"}},
            "a household block reads 'eis'",
        ),
        (
            {"ss": steady_state({}), "parameters": {**processes(("Z",)), "eis": Normal(1.0, 0.1)}},
            "'eis' moves the steady state, and ss is but one",
        ),
        ({"model": KS}, "a model of the sequence-jacobian toolkit is wanted"),
        ({"ss": 3.0}, "ss is the toolkit's steady state"),
        ({"model": create_model([HOUSEHOLD, undecided, krusell_smith.mkt_clearing])}, "the block 'undecided': it asks"),
    ],
    ids=lambda x: "" if isinstance(x, dict) else x[:30],
)
def test_what_does_not_fit_is_one_sentence(changes: dict, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence) as caught:
        adapted(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("ss", "sentence"),
    [
        (_replaced(beta=0.97), "has A = .*, and the block 'hh' solved there"),
        (_replaced(K=9.0), "the target 'asset_mkt' is|the steady state has"),
        (_replaced(Y=1.1), "the steady state has Y = 1.1, and the block that returns it 1"),
    ],
)
def test_a_steady_state_that_is_none_is_refused(ss: Any, sentence: str) -> None:
    model = adapted(ss=ss)
    with pytest.raises(SteadyStateError, match=sentence):
        Posterior(model, sample(model), 120, 80).check_declaration()


def test_a_parameter_that_moves_the_steady_state_unsaid_is_refused() -> None:
    model = adapted(parameters={**processes(("Z",)), "alpha": Beta(0.11, 0.01)})
    with pytest.raises(ModelError, match="'alpha' moves the steady state"):
        Posterior(model, sample(model), 120, 80).check_declaration()


def test_without_the_toolkit_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Extra, "missing", property(lambda self: True))
    with pytest.raises(ConfigError, match=r'need sequence-jacobian: pip install "estimhank\[toolkit\]"'):
        adapted()


def test_parameters_may_be_a_table() -> None:
    table = Parameters({name: Parameter(0.5, name, "", prior) for name, prior in processes(("Z",)).items()})
    assert adapted(parameters=table).parameters["rho_Z"].touches == "shocks"
