"""Training an emulator of a posterior's households on workers, and comparing it with exact evaluations.

The design's exact solutions are kept batch by batch, so that a run that was killed goes on where it was. A worker holds
one solution at a time and returns its projection on a few paths of dates: a hundred kilobytes rather than megabytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimhank.emulator.emulator import HouseholdEmulator, Modes
from estimhank.emulator.examples import Example, find_modes, names_of, solve_examples
from estimhank.emulator.fitting import EmulatorError, EmulatorFit, fit_emulator
from estimhank.emulator.region import Region
from estimhank.evaluation.workers import InTurn, Workers
from estimhank.posterior.posterior import Posterior
from estimhank.support.errors import StorageError
from estimhank.support.files import read_arrays, replacing, sha256_of, sha256_of_array, to_json
from estimhank.support.seeds import Stream, generator

Array = NDArray[np.float64]

#: Parts of a posterior's fingerprint that its households depend on.
PARTS = ("model", "calibration", "horizon", "density version")
_BATCH = 64  # points that are kept together
_AT_A_TIME = 4  # points that a worker solves in a call
_DRAWS = 4_000  # of a normal approximation, whose moments are the region's


@dataclass(frozen=True)
class Design:
    """Where households are solved: a region, coordinates (n, d) in it, and what identifies both and the households."""

    region: Region
    y: Array
    fingerprint: Mapping[str, str]

    @property
    def key(self) -> str:
        """Digest of the points and of what they are solved for."""
        arrays = [sha256_of_array(a) for a in (self.region.natural(self.y), self.region.center, self.region.root)]
        return sha256_of(to_json([arrays, dict(self.fingerprint)], indent=None))[:16]


def make_design(posterior: Posterior, draws: Array, points: int, seed: int) -> Design:
    """Points that fill the region of some draws.

    Parameters
    ----------
    posterior : Posterior
    draws : ndarray of shape (n, d)
        Natural units: of a normal approximation at the mode, or of a first pass.
    points : int
    seed : int

    Raises
    ------
    EmulatorError
        No estimated parameter changes what households face, or their problem is not solved here.
    """
    names = posterior.solver.steady.acting if posterior.model.problems else ()
    if not names:
        raise EmulatorError(
            "there is nothing to emulate: no estimated parameter changes what the model's households face; "
            "set [emulator] points = 0"
        )
    supports = [posterior.priors[name].support for name in names]
    bounds = tuple(s[0] for s in supports), tuple(s[1] for s in supports)
    columns = [posterior.names.index(name) for name in names]
    try:
        region = Region.around(names, bounds, np.asarray(draws, float)[:, columns])
    except ValueError as error:
        raise EmulatorError(f"no region for an emulator: {error}") from None
    y = region.points(points, int(generator(seed, Stream.EMULATOR).integers(2**31)))
    return Design(region, y, {part: posterior.fingerprint[part] for part in PARTS})


def normal_draws(posterior: Posterior, center_x: Array, covariance_x: Array, seed: int) -> Array:
    """Draws of a normal approximation in unconstrained coordinates, natural units, (n, d)."""
    rng = generator(seed, Stream.EMULATOR, 1)
    root = np.linalg.cholesky(covariance_x)
    x = center_x + rng.standard_normal((_DRAWS, len(center_x))) @ root.T
    return posterior.transform.to_natural(x)


@dataclass(frozen=True)
class Solutions:
    """Exact households at a design: an example of each point, or the kind of its failure, and the modes of them all."""

    design: Design
    examples: Sequence[Example | str]
    modes: Modes

    @property
    def failed(self) -> dict[str, int]:
        """Points without a steady state, by kind."""
        return dict(Counter(e for e in self.examples if isinstance(e, str)))

    def first(self, n: int) -> Solutions:
        """Of the first points alone."""
        return Solutions(replace(self.design, y=self.design.y[:n]), self.examples[:n], self.modes)

    def fit(self, names: tuple[tuple[str, ...], tuple[str, ...]]) -> EmulatorFit:
        """An emulator; ``names`` by :func:`estimhank.emulator.examples.names_of`.

        Raises
        ------
        EmulatorError
            As of :func:`estimhank.emulator.fitting.fit_emulator`.
        """
        rows = [i for i, e in enumerate(self.examples) if isinstance(e, Example)]
        solved = [e for e in self.examples if isinstance(e, Example)]
        fingerprint = {**self.design.fingerprint, "design": self.design.key}
        return fit_emulator(self.design.region, self.design.y[rows], solved, self.modes, names, fingerprint)


def solve_design(
    posterior: Posterior,
    design: Design,
    workers: Workers | None = None,
    kept: Path | None = None,
    tell: Callable[[int], None] = lambda done: None,
) -> Solutions:
    """Solve households at the points of a design.

    Parameters
    ----------
    posterior : Posterior
        The exact one.
    design : Design
    workers : Workers, optional
        Solve households, side by side; by default this process does.
    kept : path, optional
        File that keeps what has been solved.
    tell : callable
        Told how many points have been solved.

    Raises
    ------
    EmulatorError
        None of the first points has a steady state.
    """
    workers, steady = workers or InTurn(posterior), posterior.solver.steady
    theta = design.region.natural(design.y)
    points = [{**steady.centre, **dict(zip(design.region.names, row.tolist(), strict=True))} for row in theta]
    found, modes = _read_kept(kept, design.key)
    if modes is None:
        pilot = points[: 4 + 2 * design.region.dimension]
        raw = [e for e in _solve(workers, pilot, None) if isinstance(e, Example)]
        if not raw:
            raise EmulatorError("households have no steady state at any of the first points of the emulator's design")
        modes = find_modes(raw)
    while len(found) < len(points):
        found += _solve(workers, points[len(found) : len(found) + _BATCH], modes)
        if kept is not None:
            _write_kept(kept, design.key, found, modes)
        tell(len(found))
    return Solutions(design, found, modes)


def train_emulator(
    posterior: Posterior,
    draws: Array,
    points: int = 400,
    seed: int = 0,
    workers: Workers | None = None,
) -> EmulatorFit:
    """An emulator of a posterior's households where its draws are.

    Parameters
    ----------
    posterior : Posterior
        The exact one.
    draws : ndarray of shape (n, d)
        Natural units: of a normal approximation at the mode (:func:`normal_draws`), or of a first pass.
    points : int
        Exact solutions of households.
    seed : int
    workers : Workers, optional
        Solve households, side by side; by default this process does.

    Raises
    ------
    EmulatorError
        Nothing to emulate, or too few points with a steady state between the same cliffs.
    """
    design = make_design(posterior, draws, points, seed)
    return solve_design(posterior, design, workers).fit(names_of(posterior.solver.steady))


def _solve(workers: Workers, points: Sequence[Mapping[str, float]], modes: Modes | None) -> list[Example | str]:
    pieces = [(points[i : i + _AT_A_TIME], modes) for i in range(0, len(points), _AT_A_TIME)]
    return [e for piece in workers.map_target(solve_households, pieces) for e in piece]


def solve_households(
    target: Posterior, points: Sequence[Mapping[str, float]], modes: Modes | None
) -> list[Example | str]:
    """Exact households of a posterior at points; in a worker."""
    return solve_examples(target.solver.steady, points, modes)


def _write_kept(path: Path, key: str, found: Sequence[Example | str], modes: Modes) -> None:
    solved = [e for e in found if isinstance(e, Example)]
    kinds = np.array(["" if isinstance(e, Example) else e for e in found])
    columns: dict[str, Any] = {name: np.array([getattr(e, name) for e in solved]) for name in Example._fields}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, key=key, kinds=kinds, ahead=modes.ahead, since=modes.since, **columns)


def _read_kept(path: Path | None, key: str) -> tuple[list[Example | str], Modes | None]:
    """What was solved of this design; nothing where the file is of another one, or none."""
    if path is None or not path.is_file():
        return [], None
    try:
        file = read_arrays(path)
        if str(file["key"]) != key:
            return [], None
        columns = [file[name] for name in Example._fields]
        solved = iter([Example(*row) for row in zip(*columns, strict=True)])
        found = [str(kind) if kind else next(solved) for kind in file["kinds"].tolist()]
        return found, Modes(file["ahead"], file["since"])
    except (KeyError, StopIteration, TypeError, ValueError) as error:
        raise StorageError(f"cannot read {path}: it is not what an emulator was trained on ({error!r})") from error


def inside_of(emulator: HouseholdEmulator, names: Sequence[str], theta: Array) -> NDArray[np.bool_]:
    """Which points, (n, d), are in the region that an emulator was trained on."""
    columns = [list(names).index(name) for name in emulator.region.names]
    rows = [dict(zip(emulator.region.names, row, strict=True)) for row in theta[:, columns]]
    return np.array([bool(emulator.inside(emulator.region.coordinates(row))) for row in rows], bool)
