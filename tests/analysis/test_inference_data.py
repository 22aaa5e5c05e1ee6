"""``posterior.nc``: what is written is what is read, in the form that ArviZ expects."""

from __future__ import annotations

import resource
import signal
from dataclasses import fields, replace
from pathlib import Path

import arviz as az
import numpy as np
import pytest
import xarray as xr

from estimhank.analysis.arrays import STEP_KINDS, ExactDraws, PosteriorArrays
from estimhank.analysis.inference_data import (
    arrays_of,
    build_inference_data,
    draws_of,
    parameter_names,
    read_inference_data,
    thin_draws,
    write_inference_data,
)
from estimhank.report.inputs import ReportInputs
from estimhank.support.errors import ResultsError, StorageError
from tests.helpers.synthetic_run import synthetic_inputs


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    """A run with every array there is."""
    return synthetic_inputs(chains=4, draws=60)


@pytest.fixture(scope="module")
def path(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its file."""
    file = tmp_path_factory.mktemp("run") / "posterior.nc"
    return write_inference_data(file, inputs.arrays, inputs.parameters, {"title": "a run", "seed": 7})


def test_arrays_come_back_bit_for_bit(inputs: ReportInputs, path: Path) -> None:
    back = arrays_of(read_inference_data(path))
    assert back.names == inputs.arrays.names
    for part in ("exact", "fresh"):
        for field in fields(getattr(back, part)):
            ours, theirs = getattr(getattr(inputs.arrays, part), field.name), getattr(getattr(back, part), field.name)
            np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
    np.testing.assert_array_equal(back.surrogate, inputs.arrays.surrogate)
    np.testing.assert_array_equal(back.prior, inputs.arrays.prior)
    data, read = inputs.arrays.observed, back.observed
    assert (read.names, read.labels, read.units, read.dates) == (data.names, data.labels, data.units, data.dates)
    np.testing.assert_array_equal(read.values, data.values)
    np.testing.assert_array_equal(read.means, data.means)


def test_groups_and_variables_are_as_documented(inputs: ReportInputs, path: Path) -> None:
    tree = read_inference_data(path)
    assert set(tree.children) == {
        "posterior", "surrogate_posterior", "prior", "observed_data", "sample_stats", "log_likelihood", "log_prior",
        "certificate",
    }  # fmt: skip
    assert list(tree["posterior"].data_vars) == list(inputs.arrays.names)
    assert all(v.dims == ("chain", "draw") for v in tree["posterior"].data_vars.values())
    kappa = tree["posterior"]["kappa_w"].attrs
    assert (kappa["latex"], kappa["description"]) == (r"\kappa_w", "slope of the wage Phillips curve")
    assert tree["posterior"]["sigma_g"].attrs["units"] == "percent of GDP"
    assert tree["observed_data"]["growth"].attrs["units"] == "percent per quarter"
    assert tree.attrs["title"] == "a run" and tree.attrs["seed"] == 7


def test_log_posterior_of_a_draw_is_the_sum_of_its_parts(path: Path) -> None:
    tree = read_inference_data(path)
    total = tree["log_likelihood"]["log_likelihood"] + tree["log_prior"]["log_prior"]
    xr.testing.assert_equal(tree["sample_stats"]["lp"].drop_attrs(), total.drop_attrs().rename("lp"))


def test_kinds_of_step_are_explained_in_the_file(path: Path) -> None:
    about = read_inference_data(path)["sample_stats"]["step_kind"].attrs
    assert about["flag_meanings"].split() == list(STEP_KINDS)
    assert list(about["flag_values"]) == list(range(len(STEP_KINDS)))


def test_arviz_reads_and_summarises_the_file(inputs: ReportInputs, path: Path) -> None:
    tree = az.from_netcdf(path)
    summary = az.summary(tree, round_to="none", ci_prob=0.9, ci_kind="eti")
    assert list(summary.index) == list(inputs.arrays.names)
    assert summary["mean"].to_numpy() == pytest.approx(inputs.exact.mean)
    assert summary["eti90_lb"].to_numpy() == pytest.approx(inputs.exact.q05)
    assert summary["r_hat"].to_numpy() == pytest.approx(inputs.exact.r_hat)
    assert summary["ess_bulk"].to_numpy() == pytest.approx(inputs.exact.ess_bulk)
    sensitivity = az.psense_summary(tree, var_names=["phi_b"])
    assert sensitivity.loc["phi_b", "prior"] > 0


def test_missing_observations_stay_missing(inputs: ReportInputs, tmp_path: Path) -> None:
    values = inputs.arrays.observed.values.copy()
    values[3, 1] = np.nan
    arrays = replace(inputs.arrays, observed=replace(inputs.arrays.observed, values=values))
    back = arrays_of(read_inference_data(write_inference_data(tmp_path / "a.nc", arrays, inputs.parameters)))
    assert np.isnan(back.observed.values[3, 1]) and np.isnan(back.observed.values).sum() == 1


def test_a_run_with_the_bare_minimum_is_written_and_read(inputs: ReportInputs, tmp_path: Path) -> None:
    exact = inputs.arrays.exact
    bare = PosteriorArrays(inputs.arrays.names, ExactDraws(exact.theta, exact.log_likelihood, exact.log_prior))
    back = arrays_of(read_inference_data(write_inference_data(tmp_path / "a.nc", bare, inputs.parameters)))
    assert back.surrogate is None and back.prior is None and back.observed is None and back.fresh is None
    assert back.exact.accepted is None and back.exact.surrogate_log_density is None


def test_one_parameter_is_enough(tmp_path: Path) -> None:
    inputs = synthetic_inputs(chains=2, draws=10)
    exact = inputs.arrays.exact
    bare = PosteriorArrays(("kappa_w",), ExactDraws(exact.theta[..., :1], exact.log_likelihood, exact.log_prior))
    tree = read_inference_data(write_inference_data(tmp_path / "a.nc", bare, inputs.parameters[:1]))
    assert parameter_names(tree) == ("kappa_w",)
    np.testing.assert_array_equal(draws_of(tree), exact.theta[..., :1])


def test_surrogate_draws_are_thinned_evenly_and_the_file_says_from_how_many(inputs: ReportInputs) -> None:
    tree = build_inference_data(inputs.arrays, inputs.parameters, surrogate_draws=1000)
    kept = draws_of(tree, "surrogate_posterior")
    chains, draws, _ = inputs.arrays.surrogate.shape
    assert kept.shape[0] == chains and chains * draws / 16 < kept.shape[0] * kept.shape[1] <= 1000
    np.testing.assert_array_equal(kept, inputs.arrays.surrogate[:, :: draws // kept.shape[1] + 1][:, : kept.shape[1]])
    assert tree["surrogate_posterior"].attrs["draws_before_thinning"] == chains * draws


@pytest.mark.parametrize(("at_most", "left"), [(400, 100), (399, 50), (2, 1)])
def test_thinning_keeps_at_most_what_is_asked_for(at_most: int, left: int) -> None:
    assert thin_draws(np.zeros((4, 100, 2)), at_most).shape == (4, left, 2)


def test_parameters_of_another_run_are_refused(inputs: ReportInputs, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="but draws of"):
        write_inference_data(tmp_path / "a.nc", inputs.arrays, inputs.parameters[::-1])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [{"log_prior": np.zeros((4, 59))}, {"theta": np.zeros((4, 60))}])
def test_arrays_of_wrong_shape_are_refused(inputs: ReportInputs, change: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="shape"):
        replace(inputs.arrays.exact, **change)


def test_a_file_that_is_not_there_or_not_ours_is_named(tmp_path: Path, path: Path) -> None:
    with pytest.raises(StorageError, match=r"nothing\.nc: it does not exist"):
        read_inference_data(tmp_path / "nothing.nc")
    (tmp_path / "text.nc").write_text("not a netCDF file")
    with pytest.raises(ResultsError, match=r"text\.nc is damaged"):
        read_inference_data(tmp_path / "text.nc")
    (tmp_path / "half.nc").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ResultsError, match=r"half\.nc is damaged"):
        read_inference_data(tmp_path / "half.nc")
    xr.DataTree.from_dict({"/posterior": xr.Dataset({"a": 1.0})}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(ResultsError, match="lacks the group sample_stats"):
        read_inference_data(tmp_path / "other.nc")


def test_a_write_that_fails_leaves_the_old_file(inputs: ReportInputs, path: Path, tmp_path: Path) -> None:
    target = tmp_path / "posterior.nc"
    target.write_bytes(path.read_bytes())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # the system itself refuses to write on, inside whatever library is writing
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size // 2, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*posterior\.nc: File too large"):
            write_inference_data(target, inputs.arrays, inputs.parameters)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert target.read_bytes() == path.read_bytes() and [p.name for p in tmp_path.iterdir()] == ["posterior.nc"]
