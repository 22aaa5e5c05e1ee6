"""Configuration: layers in order, an identity that ignores writing and workers, and one sentence for every slip."""

from __future__ import annotations

import re
import tomllib

import pytest

from estimhank.data import US_OBSERVABLES
from estimhank.run.config import find_config, load_config, make_config, restore_config
from estimhank.support.errors import ConfigError
from estimhank.support.files import read_json, write_json
from estimhank.support.shipped import bundled


def write(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


def test_the_shipped_file_says_what_the_defaults_are():
    shipped = load_config(bundled("configs/us_hank.toml"))
    assert shipped.digest() == make_config({}).digest()
    assert shipped.data.observables == US_OBSERVABLES
    assert (shipped.data.start, shipped.data.end) == ("1966Q1", "2019Q4")


def test_the_examples_in_the_shipped_file_are_valid_when_uncommented():
    lines = bundled("configs/us_hank.toml").read_text().splitlines()
    example = re.compile(r"# (\[[\w.]+\]|\w+ = [^.\s])")
    text = "\n".join(line[2:] if example.match(line) else line for line in lines)
    config = make_config(tomllib.loads(text))
    assert len(config.parameters) == 11 and config.model.calibration["B_bar"] == 1.0
    assert config.parameters["phi_pi"].prior == {"family": "normal", "mean": 1.7, "sd": 0.3, "lower": 1.0}


def test_a_shipped_file_is_found_by_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("configs/us_hank.toml").is_file()
    with pytest.raises(ConfigError, match="no configuration file"):
        find_config("configs/uk_hank.toml")


def test_layers_win_in_the_documented_order(tmp_path):
    path = write(
        tmp_path,
        """
        [sample]
        chains = 7
        [profile.smoke.sample]
        proposals = 5
        [profile.tiny.mode]
        starts = 1
        """,
    )
    default, smoke, tiny = (load_config(path, profile).sample for profile in ("default", "smoke", "tiny"))
    built_in = make_config({}, "smoke").sample
    assert default.chains == smoke.chains == 7  # the file's own settings hold in every profile
    assert (
        smoke.proposals == 5 and smoke.iterations == built_in.iterations
    )  # its profile table wins over the built-in one
    assert default.proposals == tiny.proposals != 5
    assert load_config(path, "tiny").mode.starts == 1


def test_smoke_differs_from_default_in_sizes_alone():
    smoke, default = make_config({}, "smoke"), make_config({})
    changed = {line.split(" is ")[0] for line in smoke.differences(default.canonical())}
    assert changed and not any(key.startswith(("model", "data", "parameters")) for key in changed)
    assert smoke.sample.algorithm == default.sample.algorithm and smoke.sample.gradient == default.sample.gradient


def test_identity_ignores_how_and_where_but_not_what(tmp_path):
    base = make_config({"sample": {"iterations": 60}, "parameters": {"a": {"fixed": 1}, "b": {"fixed": 2.0}}})
    same = make_config(
        {
            "run": {"workers": 7, "backend": "serial"},
            "parameters": {"b": {"fixed": 2}, "a": {"fixed": 1.0}},
            "sample": {"iterations": 60},
            "model": {"name": "one_asset_hank"},
        },
        path="elsewhere.toml",
    )
    assert base.digest() == same.digest()
    for change in (
        {"run": {"seed": 1}},
        {"model": {"calibration": {"eis": 0.6}}},
        {"data": {"end": "2007Q4"}},
        {"parameters": {"a": {"fixed": 1.0000001}}},
        {"posterior": {"min_ess": 10}},
    ):
        assert make_config(change).digest() != make_config({}).digest()


def test_digest_of_sections_sees_only_those():
    a, b = make_config({}), make_config({"posterior": {"min_ess": 10}})
    assert a.digest("model", "data") == b.digest("model", "data")
    assert a.digest("posterior") != b.digest("posterior")


def test_differences_are_said_in_words_after_a_trip_through_a_file(tmp_path):
    old = make_config(
        {"parameters": {"phi_pi": {"prior": {"family": "normal", "mean": 1.5, "sd": 0.3, "upper": float("inf")}}}}
    )
    stored = read_json(write_json(tmp_path / "c.json", old.canonical()))
    assert old.differences(stored) == []
    new = make_config({"sample": {"iterations": 70}})
    said = new.differences(stored)
    assert f"sample.iterations is 70, was {old.sample.iterations}" in said
    assert "parameters.phi_pi.prior.mean is absent, was 1.5" in said


@pytest.mark.parametrize(
    "text, words",
    [
        ("[sampel]", "run.toml: unknown key 'sampel'; did you mean 'sample'?"),
        ("[sample]\nitertions = 5", "run.toml, [sample]: unknown key 'itertions'; did you mean 'iterations'?"),
        ("[sample]\nxyz = 5", "[sample]: unknown key 'xyz'; there are iterations, warmup"),
        ('[sample]\niterations = "ten"', '[sample] iterations: expected a whole number, got the text "ten"'),
        ("[sample]\nproposals = 2.5", "[sample] proposals: expected a whole number, got 2.5"),
        ("[sample]\niterations = true", "[sample] iterations: expected a whole number, got true"),
        ("[sample]\ngradient = 1", "[sample] gradient: expected true or false, got 1"),
        ("[sample]\niterations = 0", "[sample]: iterations must be at least 1, it is 0"),
        ('[sample]\nalgorithm = "multiproposal"', "'multiproposal' is not known; did you mean 'multi_proposal'?"),
        ("[surrogate]\nhidden = 128", "[surrogate] hidden: expected a list"),
        ("[surrogate]\nhidden = [128, 0]", "[surrogate]: hidden must"),
        ("[surrogate]\nlearning_rate = nan", "[surrogate] learning_rate: nan"),
        ("[posterior]\nplain_share = 1", "[posterior]: plain_share must be a share below 1, it is 1.0"),
        ("[model]\nhorizon = 100\ntail_start = 150", "run.toml, [model] tail_start (150) must be below horizon (100)"),
        ("[run]\nseed = -1", "[run] seed: must be at least 0, got -1"),
        ("[sample]\nwarmup = 120", "run.toml, [sample]: warmup (120) must be at least 0 and below iterations"),
        ("[mode]\nslice_points = 10", "[mode] slice_points must be odd"),
        ('[model.calibration]\neis = "half"', "[model] calibration.eis: expected a number"),
        ("sample = 3", "[sample]: expected a table, got 3"),
        ("[parameters]\nkappa_w = 3", "[parameters.kappa_w]: expected a table, got 3"),
        ("[parameters.kappa_w]\npriro = {}", "[parameters.kappa_w]: unknown key 'priro'; did you mean 'prior'?"),
        (
            "[parameters.kappa_w]\nprior = {mean = 1, sd = 1}",
            "[parameters.kappa_w] prior: the key 'family' is required",
        ),
        ('[parameters.a]\nprior = {family = "beta", mean = "x"}', "[parameters.a] prior.mean: expected a number"),
        (
            '[parameters.a]\nfixed = 1\nprior = {family = "beta"}',
            "[parameters.a]: a parameter is either fixed or estimated",
        ),
        ("[data]\nstart = 1966", "[data] start: expected text in quotes, got 1966"),
        ("[data.observables.g]\nseries = 'Y'", "[data.observables.g]: the key 'transform' is required"),
        (
            "[data.observables.g]\nseries = 'Y'\ntransform = 'dlog'",
            "[data.observables.g]: the observable g has the unknown",
        ),
        ("[profile.smoke.sample]\niters = 1", "unknown key 'iters'; did you mean 'iterations'?"),
        ("[profile.smoke.mode]\nstarts = 0", "[mode] starts must be at least 1"),
        ("[sample\n", "is not a TOML file"),
    ],
)
def test_a_slip_gets_one_sentence_that_says_where(tmp_path, text, words):
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert "run.toml" in str(caught.value)


def test_an_unknown_profile_names_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match="no profile 'quick'; there are default, paper, smoke, tiny"):
        load_config(write(tmp_path, "[profile.tiny.mode]\nstarts = 1"), "quick")


def test_a_prior_in_a_profile_replaces_the_whole_prior(tmp_path):
    table = {
        "parameters": {"a": {"prior": {"family": "gamma", "mean": 1.0, "sd": 0.5}}},
        "profile": {"wide": {"parameters": {"a": {"prior": {"family": "uniform", "low": 0, "high": 9}}}}},
    }
    assert make_config(table, "wide").parameters["a"].prior == {"family": "uniform", "low": 0, "high": 9}


def test_a_configuration_survives_a_trip_through_a_file(tmp_path):
    table = {
        "parameters": {
            "a": {"prior": {"family": "normal", "mean": 1, "sd": 0.3, "upper": float("inf")}},
            "b": {"fixed": 0.1},
        },
        "model": {"calibration": {"eis": 0.6}, "grid": {"n_a": 50}},
        "surrogate": {"hidden": [8, 8]},
        "data": {
            "observables": {"y": {"series": "Y", "transform": "level"}, "x": {"series": "X", "transform": "level"}}
        },
        "run": {"seed": 7},
    }
    config = make_config(table, "smoke")
    stored = read_json(write_json(tmp_path / "c.json", config.canonical()))
    back = restore_config(stored)
    assert back.digest() == config.digest() and back.data == config.data and back.surrogate == config.surrogate
    assert back.parameters == config.parameters and back.run.seed == 7
