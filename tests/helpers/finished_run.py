"""A folder as a finished run leaves it, without a run: the three-equation model, draws near its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from estimhank.analysis.arrays import ExactDraws, PosteriorArrays
from estimhank.analysis.inference_data import write_inference_data
from estimhank.data import load_dataset, write_dataset
from estimhank.run.config import Config, make_config
from estimhank.run.manifest import Manifest, write_manifest
from estimhank.run.open_posterior import build_posterior
from estimhank.run.reporting import parameter_infos
from estimhank.support.files import write_json


def finished_run(folder: Path, draws: int = 12, **sections: Any) -> Config:
    """Write data, draws, mode and manifest; ``sections``: further ones of the configuration."""
    table = {"model": {"name": "new_keynesian"}, "data": {"start": "1990Q1", "end": "1999Q4"}, **sections}
    config = make_config(table)
    folder.mkdir(parents=True, exist_ok=True)
    data = load_dataset(config.data, config.folder)
    write_dataset(folder / "data.csv", data)
    posterior = build_posterior(config, data)
    rng = np.random.default_rng(0)
    theta = posterior.reference() * (1 + 0.02 * rng.normal(size=(2, draws // 2, len(posterior.names))))
    zeros = np.zeros(theta.shape[:2])
    prior = posterior.sample_prior(rng, 40)
    arrays = PosteriorArrays(posterior.names, ExactDraws(theta, zeros, zeros), prior=prior)
    write_inference_data(folder / "posterior.nc", arrays, parameter_infos(posterior))
    write_json(folder / "mode.json", {"theta": posterior.reference().tolist()})
    manifest = Manifest(configuration=config.canonical(), config_file="", profile="default", status="finished",
                        fingerprint=dict(posterior.fingerprint))  # fmt: skip
    write_manifest(folder, manifest)
    return config
