"""A store of another density is refused by the name of the part that differs, each part on its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from estimhank.evaluation.store import EvaluationStore
from estimhank.posterior import posterior as posterior_module
from estimhank.posterior.posterior import Posterior
from estimhank.run.config import make_config
from estimhank.support.errors import ResultsError
from tests.helpers import golden

PARTS = ("model", "calibration", "prior", "data", "horizon", "density version")

#: What changes, by the part that must be named; the settings are those of a configuration file.
CHANGES = {
    "data": [{"data": {"end": "2007Q4"}}, {"data": {"exclude": ["2009Q1"]}}],
    "horizon": [{"model": {"horizon": 250}}, {"model": {"tail_start": 150}}],
    "prior": [
        {"parameters": {"phi_pi": {"prior": {"family": "normal", "mean": 1.5, "sd": 0.25, "lower": 1.0}}}},
        {"parameters": {"kappa_w": {"prior": {"family": "gamma", "mean": 0.1, "sd": 0.06}}}},
    ],
    "calibration": [{"model": {"calibration": {"eis": 0.6}}}],
    "model": [{"model": {"grid": {"n_a": 150}}}],
}


@pytest.fixture(autouse=True, scope="module")
def unsolved() -> Iterator[None]:
    """What a density is known by does not wait for its steady state."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Posterior, "steady_state", None)
        yield


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "evaluations.bin"
    default = Posterior.from_config("configs/us_hank.toml")
    EvaluationStore.open(path, default.names, default.fingerprint).close()
    return path


def refusal(path: Path, target: Posterior) -> str:
    with pytest.raises(ResultsError) as error:
        EvaluationStore.open(path, target.names, target.fingerprint)
    return str(error.value)


@pytest.mark.parametrize(("part", "settings"), [(part, s) for part, group in CHANGES.items() for s in group])  # type: ignore[attr-defined]
def test_one_part_differs_and_is_named(stored: Path, part: str, settings: dict) -> None:
    other = Posterior.from_config(make_config(settings))
    differing = [name for name in PARTS if f"the {name}" in refusal(stored, other)]
    assert differing == [part]


def test_a_fixed_parameter_is_named_with_what_it_changes(stored: Path) -> None:
    other = Posterior.from_config(make_config({"parameters": {"rho_i": {"fixed": 0.8}}}))
    assert "the calibration and the prior and the parameters differ" in refusal(stored, other)


def test_a_release_that_changes_densities_is_named(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posterior_module, "DENSITY_VERSION", "another")
    assert "the density version differs" in refusal(stored, Posterior.from_config("configs/us_hank.toml"))


def test_a_model_of_another_file_or_an_edited_one_is_named(tmp_path: Path) -> None:
    text = Path("examples/nominal_bonds.py").read_text(encoding="utf-8")
    stored = tmp_path / "evaluations.bin"
    for name, content in (("one", text), ("same", f"# a comment\n{text}"), ("other", f"{text}\n\nHELPER = 1\n")):
        (tmp_path / f"{name}.py").write_text(content, encoding="utf-8")
    models = {
        name: Posterior.from_config(make_config({"model": {"name": f"{tmp_path / name}.py:NominalBonds"}}))
        for name in ("one", "same", "other")
    }
    EvaluationStore.open(stored, models["one"].names, models["one"].fingerprint).close()
    EvaluationStore.open(stored, models["same"].names, models["same"].fingerprint).close()
    assert "the model differs" in refusal(stored, models["other"])


def test_the_same_settings_written_otherwise_are_the_same_density(stored: Path) -> None:
    same = {"model": {"horizon": 300, "calibration": {"eis": 0.5}}, "parameters": {}, "run": {"seed": 9, "workers": 7}}
    target = Posterior.from_config(make_config(same, "smoke"))
    with EvaluationStore.open(stored, target.names, target.fingerprint) as store:
        assert store.fingerprint == target.fingerprint


def test_values_belong_to_their_density_version(posterior: Posterior, reference: dict[str, float]) -> None:
    """Fails when code moves a log density: raise ``DENSITY_VERSION``, so that older stores are refused, and the values.

    The numbers are those of version 1 at the reference point and around it.
    """
    assert posterior_module.DENSITY_VERSION == "5"
    theta = posterior.to_array(reference)
    shifts = np.array([-0.05, 0.0, 0.02])[:, None] * theta
    values = [posterior.log_density(theta + shift) for shift in shifts]
    golden.DENSITIES_OF_VERSION_1.check(values)
