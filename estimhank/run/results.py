"""A finished run, from Python: ``load("results/us_hank")``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimhank.data import Dataset, read_dataset
from estimhank.evaluation.evaluations import Evaluations
from estimhank.evaluation.store import FILE_NAME as STORE
from estimhank.evaluation.store import read_evaluations
from estimhank.model.declaration import Model
from estimhank.posterior.posterior import Posterior
from estimhank.run.config import Config, restore_config
from estimhank.run.manifest import Manifest, read_manifest
from estimhank.run.open_posterior import build_posterior
from estimhank.support.errors import ResultsError
from estimhank.support.files import expand_user, read_json
from estimhank.support.identity import why_unidentified
from estimhank.support.runtime import configure
from estimhank.target.protocol import DEVICE_PART

if TYPE_CHECKING:
    import xarray as xr

    from estimhank.economics.identification import Identification
    from estimhank.evidence.estimates import Evidence


@dataclass(frozen=True)
class Run:
    """A results folder. Everything is read when it is first asked for.

    Attributes
    ----------
    folder : Path
        The folder.
    manifest : Manifest
        What was run, from what, how long, with how many evaluations.
    """

    folder: Path
    manifest: Manifest

    @cached_property
    def config(self) -> Config:
        """The configuration of the run."""
        return restore_config(self.manifest.configuration, self.manifest.config_file, self.manifest.profile)

    @cached_property
    def data(self) -> Dataset:
        """The observables."""
        return read_dataset(self.folder / "data.csv")

    @cached_property
    def posterior(self) -> Posterior:
        """The posterior that was estimated, ready to be evaluated.

        Raises
        ------
        ResultsError
            If this version of the package, or of the model's file, gives another log density than the run had.
        """
        target = build_posterior(self.config, self.data)
        stored = self.manifest.fingerprint
        mine = target.fingerprint
        # evaluated here, on the processor: what an accelerator evaluated agrees with it to 1e-8
        parts = [part for part in stored if part != DEVICE_PART and stored[part] != mine.get(part)]
        if parts:
            raise ResultsError(f"{self.folder} was estimated with another {' and '.join(parts)} than the one at hand")
        if why := why_unidentified(mine):
            raise ResultsError(f"{self.folder}: {why}")
        return target

    @property
    def model(self) -> Model:
        """The model that was estimated."""
        return self.posterior.model

    @cached_property
    def draws(self) -> xr.DataTree:
        """``posterior.nc``: exact posterior, surrogate posterior, prior, data, as an ArviZ DataTree."""
        from estimhank.analysis.inference_data import read_inference_data

        return read_inference_data(self.folder / "posterior.nc")

    @cached_property
    def mode(self) -> Mapping[str, Any]:
        """``mode.json``: the modes that were found."""
        return dict(read_json(self.folder / "mode.json"))

    @cached_property
    def certificate(self) -> Mapping[str, Any]:
        """``certificate.json``: the surrogate's certificate, plain numbers."""
        return dict(read_json(self.folder / "certificate.json"))

    def evidence(self, prior_draws: int = 2_000, evaluations: int = 0) -> Evidence:
        """The log marginal likelihood; arguments and errors as of :func:`estimhank.run.evidence.evidence_of`."""
        from estimhank.run.evidence import evidence_of

        return evidence_of(self, prior_draws, evaluations)

    def identification(self, at: Mapping[str, float] | None = None) -> Identification:
        """What the data tell about the parameters; as of :func:`estimhank.run.identification.identification_of`."""
        from estimhank.run.identification import identification_of

        return identification_of(self, at)

    def evaluations(self, *stages: str) -> Evaluations:
        """Evaluations of the named stages (all, if none is named).

        Raises
        ------
        ResultsError
            If the folder has no evaluation store (it is left out of version control).
        """
        if not (self.folder / STORE).exists():
            raise ResultsError(f"{self.folder} has no evaluation store: run it again with --overwrite to have one")
        return read_evaluations(self.folder / STORE, *stages)


def load(folder: Path | str) -> Run:
    """Open the results folder of a finished run.

    Raises
    ------
    ResultsError
        If there is no run in the folder, or it is not finished.
    """
    configure()
    folder = expand_user(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        raise ResultsError(f"{folder} holds no run (it has no manifest.json)")
    if manifest.status != "finished":
        raise ResultsError(f"the run in {folder} is not finished; go on with `estimhank estimate --resume`")
    return Run(folder, manifest)
