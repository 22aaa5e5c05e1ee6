"""``posterior.nc``: the draws of a run as an ArviZ DataTree, written and read back.

Groups (one scalar variable a parameter, natural units, LaTeX names and descriptions as attributes):

===================  ==========================================================================================
posterior            exact draws (chain, draw)
surrogate_posterior  draws of the surrogate's own posterior (chain, draw), thinned
prior                prior draws (one chain)
observed_data        the observables (quarter)
sample_stats         lp (log likelihood plus log prior), accepted, step_kind, surrogate_lp, outside_fence
log_likelihood       scalar a draw
log_prior            scalar a draw
certificate          fresh draws of the surrogate's posterior with lp and surrogate_lp (point)
===================  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from estimhank.analysis.arrays import STEP_KINDS, ExactDraws, FreshDraws, PosteriorArrays
from estimhank.analysis.parameters import ParameterInfo
from estimhank.data.dataset import Dataset
from estimhank.data.quarters import format_quarter, parse_quarter
from estimhank.support.errors import ResultsError
from estimhank.support.files import reading, write_bytes

Array = NDArray[np.float64]

#: Variable in the group ``log_likelihood`` and in the group ``log_prior``: the scalar of each draw.
LOG_LIKELIHOOD, LOG_PRIOR = "log_likelihood", "log_prior"

_GROUPS = ("posterior", "sample_stats", "log_likelihood", "log_prior")


def thin_draws(draws: Array, at_most: int) -> Array:
    """Every k-th draw of each chain, with the smallest k that leaves at most so many draws over all chains.

    Parameters
    ----------
    draws : ndarray (chain, draw, ...)
        Draws.
    at_most : int
        Largest number of draws to keep, over all chains (at least one a chain is kept).
    """
    chains, n = np.shape(draws)[:2]
    step = max(1, -(-n // max(at_most // chains, 1)))
    return np.asarray(draws)[:, ::step]


def build_inference_data(
    arrays: PosteriorArrays,
    parameters: Sequence[ParameterInfo],
    attributes: Mapping[str, str | int | float] | None = None,
    surrogate_draws: int = 20_000,
) -> xr.DataTree:
    """Arrange the arrays of a run as a DataTree.

    Parameters
    ----------
    arrays : PosteriorArrays
        Draws, data and the certificate's evaluations.
    parameters : sequence of ParameterInfo, length d
        In the order of ``arrays.names``.
    attributes : mapping, optional
        Attributes of the root: title, configuration digest and the like.
    surrogate_draws : int
        Draws of the surrogate's posterior to keep.

    Raises
    ------
    ValueError
        If the parameters are not those of the draws.
    """
    names = tuple(p.name for p in parameters)
    if names != arrays.names:
        raise ValueError(f"parameters {', '.join(names)} but draws of {', '.join(arrays.names)}")
    groups = {
        "posterior": _by_parameter(arrays.exact.theta, parameters, ("chain", "draw")),
        "sample_stats": _sample_stats(arrays.exact),
        "log_likelihood": _scalar(LOG_LIKELIHOOD, arrays.exact.log_likelihood, "log likelihood of the draw"),
        "log_prior": _scalar(LOG_PRIOR, arrays.exact.log_prior, "log prior density of the draw, natural parameters"),
    }
    if arrays.surrogate is not None:
        kept = thin_draws(arrays.surrogate, surrogate_draws)
        groups["surrogate_posterior"] = _by_parameter(kept, parameters, ("chain", "draw")).assign_attrs(
            draws_before_thinning=int(np.prod(arrays.surrogate.shape[:2]))
        )
    if arrays.prior is not None:
        groups["prior"] = _by_parameter(arrays.prior[None], parameters, ("chain", "draw"))
    if arrays.observed is not None:
        groups["observed_data"] = _observed(arrays.observed)
    if arrays.fresh is not None:
        fresh = _by_parameter(arrays.fresh.theta, parameters, ("point",))
        groups["certificate"] = fresh.assign(
            lp=("point", arrays.fresh.exact, {"description": "exact log posterior"}),
            surrogate_lp=(
                "point",
                arrays.fresh.surrogate,
                {"description": "surrogate's log posterior, up to a constant"},
            ),
        )
    tree = xr.DataTree.from_dict({f"/{name}": dataset for name, dataset in groups.items()})
    tree.attrs = {"parameters": list(names), **(attributes or {})}
    return tree


def write_inference_data(
    path: Path | str,
    arrays: PosteriorArrays,
    parameters: Sequence[ParameterInfo],
    attributes: Mapping[str, str | int | float] | None = None,
    surrogate_draws: int = 20_000,
) -> Path:
    """Write ``posterior.nc`` atomically, compressed; arguments as for :func:`build_inference_data`.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
    tree = build_inference_data(arrays, parameters, attributes, surrogate_draws)
    encoding = {
        f"/{name}": {v: {"zlib": True, "complevel": 5, "shuffle": True} for v in node.data_vars}
        for name, node in tree.children.items()
    }
    # made in memory: the HDF5 library does not survive a disk that is full
    content = tree.to_netcdf(None, engine="h5netcdf", encoding=encoding)
    assert content is not None  # bytes, where no path is given
    return write_bytes(path, bytes(content))


def read_inference_data(path: Path | str) -> xr.DataTree:
    """Read ``posterior.nc`` into memory (the file is closed again).

    Raises
    ------
    StorageError
        If there is no such file or it cannot be read.
    ResultsError
        If it is not a file of draws as written by :func:`write_inference_data`.
    """
    with reading(path):
        Path(path).open("rb").close()
        try:
            with xr.open_datatree(path, engine="h5netcdf") as tree:
                loaded = tree.load()
        except Exception as error:  # whatever the libraries raise that meet something else than they wrote
            raise ResultsError(f"{path} is damaged or not a netCDF file of draws") from error
    missing = [group for group in _GROUPS if group not in loaded.children]
    if missing:
        raise ResultsError(f"{path} lacks the group {missing[0]}: it was not written by estimhank")
    try:
        arrays_of(loaded)
    except (KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{path} is damaged: {error}") from error
    return loaded


def draws_of(tree: xr.DataTree, group: str = "posterior", names: Sequence[str] | None = None) -> Array:
    """Draws of one group as an array (chain, draw, d), parameters in the order of the file or of ``names``."""
    dataset = tree[group].dataset
    return np.stack([dataset[name].values for name in (names or parameter_names(tree))], axis=-1)


def parameter_names(tree: xr.DataTree) -> tuple[str, ...]:
    """Parameter names in the order of every parameter vector."""
    listed = tree.attrs.get("parameters", list(tree["posterior"].data_vars))
    return (listed,) if isinstance(listed, str) else tuple(str(name) for name in np.atleast_1d(listed))


def arrays_of(tree: xr.DataTree) -> PosteriorArrays:
    """The arrays of a DataTree: the inverse of :func:`build_inference_data`, but for the thinning."""
    names = parameter_names(tree)
    stats = tree["sample_stats"].dataset

    def optional(dataset: xr.Dataset, name: str) -> Any:
        return dataset[name].values if name in dataset else None

    accepted, outside = optional(stats, "accepted"), optional(stats, "outside_fence")
    exact = ExactDraws(
        theta=draws_of(tree, "posterior", names),
        log_likelihood=tree["log_likelihood"].dataset[LOG_LIKELIHOOD].values,
        log_prior=tree["log_prior"].dataset[LOG_PRIOR].values,
        accepted=None if accepted is None else accepted.astype(bool),
        step_kind=optional(stats, "step_kind"),
        surrogate_log_density=optional(stats, "surrogate_lp"),
        outside_fence=None if outside is None else outside.astype(bool),
    )
    fresh = None
    if "certificate" in tree.children:
        points = tree["certificate"].dataset
        theta = np.stack([points[name].values for name in names], axis=-1)
        fresh = FreshDraws(theta, points["lp"].values, points["surrogate_lp"].values)
    return PosteriorArrays(
        names=names,
        exact=exact,
        surrogate=draws_of(tree, "surrogate_posterior", names) if "surrogate_posterior" in tree.children else None,
        prior=draws_of(tree, "prior", names)[0] if "prior" in tree.children else None,
        observed=_read_observed(tree["observed_data"].dataset) if "observed_data" in tree.children else None,
        fresh=fresh,
    )


def _by_parameter(draws: Array, parameters: Sequence[ParameterInfo], dims: tuple[str, ...]) -> xr.Dataset:
    variables = {}
    for i, parameter in enumerate(parameters):
        attributes = {"latex": parameter.latex, "description": parameter.description, "units": parameter.unit or "1"}
        variables[parameter.name] = (dims, np.ascontiguousarray(draws[..., i]), attributes)
    return _with_coordinates(xr.Dataset(variables))


def _with_coordinates(dataset: xr.Dataset) -> xr.Dataset:
    counters = {d: np.arange(dataset.sizes[d]) for d in ("chain", "draw") if d in dataset.sizes}
    return dataset.assign_coords(counters).assign_attrs(creation_library="estimhank", sample_dims=list(dataset.sizes))


def _scalar(name: str, values: Array, description: str) -> xr.Dataset:
    return _with_coordinates(xr.Dataset({name: (("chain", "draw"), values, {"description": description})}))


def _sample_stats(exact: ExactDraws) -> xr.Dataset:
    dims = ("chain", "draw")
    variables: dict[str, Any] = {
        "lp": (dims, exact.log_density, {"description": "log likelihood plus log prior, natural parameters"})
    }
    if exact.accepted is not None:
        # netCDF has no booleans: a byte each, as ArviZ and xarray read it
        about = {"description": "1 where the step that ended in this draw was accepted"}
        variables["accepted"] = (dims, exact.accepted.astype(np.int8), about)
    if exact.step_kind is not None:
        flags = {"flag_values": np.arange(len(STEP_KINDS)), "flag_meanings": " ".join(STEP_KINDS)}
        variables["step_kind"] = (dims, exact.step_kind.astype(np.int8), {"description": "kind of step", **flags})
    if exact.surrogate_log_density is not None:
        about = {"description": "surrogate's log posterior of the draw, up to a constant"}
        variables["surrogate_lp"] = (dims, exact.surrogate_log_density, about)
    if exact.outside_fence is not None:
        about = {"description": "1 where the draw is outside the surrogate's data"}
        variables["outside_fence"] = (dims, exact.outside_fence.astype(np.int8), about)
    return _with_coordinates(xr.Dataset(variables))


def _observed(data: Dataset) -> xr.Dataset:
    variables = {}
    for i, name in enumerate(data.names):
        about = {"long_name": data.labels[i], "units": data.units[i], "mean_removed": float(data.means[i])}
        variables[name] = (("quarter",), data.values[:, i], about)
    dates = data.first_days.astype("datetime64[ns]")
    return xr.Dataset(variables, coords={"quarter": dates}, attrs={"sample_dims": []})


def _read_observed(dataset: xr.Dataset) -> Dataset:
    names = tuple(str(name) for name in dataset.data_vars)
    about = [dataset[name].attrs for name in names]
    days = dataset["quarter"].values.astype("datetime64[D]").astype(str)
    return Dataset(
        dates=tuple(format_quarter(parse_quarter(day)) for day in days),
        names=names,
        units=tuple(str(a.get("units", "")) for a in about),
        labels=tuple(str(a.get("long_name", name)) for a, name in zip(about, names, strict=True)),
        values=np.stack([dataset[name].values for name in names], axis=-1),
        means=np.array([float(a.get("mean_removed", 0.0)) for a in about]),
    )
