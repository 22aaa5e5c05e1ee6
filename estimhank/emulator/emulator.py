"""Steady state and household Jacobians as polynomials of the parameters that move them.

Jacobians are sums along the diagonals of the fake-news matrices, and these decay in both of their dates, so that few
paths of dates hold them: F[s, t] = sum over a, b of S[s, a] K[a, b] T[t, b] for each pair of an input and an output.
The cores K of all pairs together move with the parameters along few directions, and the coordinate along each, like the
steady-state outputs and the parameters that were solved for, is a polynomial.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from estimhank.emulator.region import Region
from estimhank.households.fake_news import accumulated
from estimhank.support.chebyshev import chebyshev_basis
from estimhank.support.errors import ResultsError, StorageError
from estimhank.support.files import read_arrays, replacing, sha256_of, sha256_of_array, to_json

Array = NDArray[np.float64]

_FORMAT = 1
_CELL = ("chosen", "sign", "coefficients", "margin", "mass")


class Modes(NamedTuple):
    """Paths of dates that fake-news matrices are made of, orthonormal: of the input's date (T, k_s), of the output's
    (T, k_t)."""

    ahead: Array
    since: Array


@dataclass(frozen=True)
class Cell:
    """The side of each cliff that the examples are on, a polynomial of the coordinates for each.

    Attributes
    ----------
    chosen : ndarray of int, shape (m,)
        Which of a household's states these are (:mod:`estimhank.households.cliffs`).
    sign : ndarray of shape (m,)
        1 where the distance to the constraint is positive.
    degree : int
    coefficients : ndarray of shape (q, m)
        Of the distance.
    margin : ndarray of shape (m,)
        Distances below it are not told from zero.
    mass : ndarray of shape (s,)
        Of the households next to the fixed point of each state, s states in all: medians.
    """

    chosen: NDArray[np.intp]
    sign: Array
    degree: int
    coefficients: Array
    margin: Array
    mass: Array

    def distances(self, y: Any) -> Any:
        """Distances to these cliffs at coordinates y (d,): (m,); may be traced by JAX."""
        return chebyshev_basis(y[None], self.degree)[0] @ self.coefficients


class Emulated(NamedTuple):
    """What an emulator says of households at one point.

    ``by_date`` (T, n_i, n_o, T) as :func:`estimhank.households.fake_news.jacobians_by_date`; ``outputs`` and
    ``unknowns`` by name; ``inside``: whether the point is in the region that was trained.
    """

    by_date: jax.Array
    outputs: dict[str, jax.Array]
    unknowns: dict[str, jax.Array]
    inside: jax.Array


@dataclass(frozen=True)
class HouseholdEmulator:
    """Steady-state outputs, solved-for parameters and Jacobians of a model's households.

    Attributes
    ----------
    region : Region
    cell : Cell
    outputs, unknowns : tuple of str
        Steady-state outputs of all blocks, and the parameters that are moved to hit their targets.
    shape : tuple of int
        Of a core: (k_s, n_i, n_o, k_t).
    modes : Modes
    degree : int
        Of the polynomials, in all coordinates together.
    coefficients : ndarray of shape (q, r + outputs + unknowns)
    mean, basis : ndarray of shape (K,) and (r, K)
        Cores are ``mean + scores @ basis``.
    fingerprint : dict of str to str
        Of the posterior that the examples came from, as far as households depend on it.
    """

    region: Region
    cell: Cell
    outputs: tuple[str, ...]
    unknowns: tuple[str, ...]
    shape: tuple[int, ...]
    modes: Modes
    degree: int
    coefficients: Array
    mean: Array
    basis: Array
    fingerprint: dict[str, str]

    @property
    def horizon(self) -> int:
        """Dates T."""
        return len(self.modes.ahead)

    @property
    def rank(self) -> int:
        """Directions r along which the cores move."""
        return len(self.basis)

    @property
    def digest(self) -> str:
        """Of everything that its values depend on."""
        arrays = {name: sha256_of_array(np.asarray(a)) for name, a in sorted(_arrays(self).items())}
        return sha256_of(to_json([arrays, _description(self)], indent=None))[:16]

    def at(self, moved: Mapping[str, Any]) -> Emulated:
        """Households at parameters by name; may be traced by JAX, and differentiated."""
        y = self.region.coordinates(moved)
        found = chebyshev_basis(y[None], self.degree)[0] @ self.coefficients
        k_s, n_i, n_o, k_t = self.shape
        core = (self.mean + found[: self.rank] @ self.basis).reshape(-1, k_t)
        news = self.modes.ahead @ (core @ self.modes.since.T).reshape(k_s, -1)
        names = (*self.outputs, *self.unknowns)
        scalars = {name: found[self.rank + i] for i, name in enumerate(names)}
        return Emulated(
            accumulated(news.reshape(self.horizon, n_i, n_o, self.horizon)),
            {name: scalars[name] for name in self.outputs},
            {name: scalars[name] for name in self.unknowns},
            self.inside(y),
        )

    def inside(self, y: Any) -> Any:
        """Whether coordinates y (d,) are in the region, on the known side of each cliff by more than the margin."""
        y = jax.lax.stop_gradient(y)
        within = (y**2).sum() <= 1
        if not len(self.cell.sign):
            return within
        return within & (self.cell.sign * self.cell.distances(y) > self.cell.margin).all()


def _arrays(emulator: HouseholdEmulator) -> dict[str, Any]:
    region, cell, modes = emulator.region, emulator.cell, emulator.modes
    found = {
        "bounds": np.array([region.lower, region.upper]),
        "center": region.center,
        "root": region.root,
        **{f"cliff/{name}": getattr(cell, name) for name in _CELL},
        **modes._asdict(),
        **{name: getattr(emulator, name) for name in ("coefficients", "mean", "basis")},
    }
    return {name: np.asarray(value) for name, value in found.items()}


def _description(emulator: HouseholdEmulator) -> dict[str, Any]:
    names = ("outputs", "unknowns", "shape", "degree", "fingerprint")
    about = {name: getattr(emulator, name) for name in names}
    return {"format": _FORMAT, "names": emulator.region.names, "cliff_degree": emulator.cell.degree, **about}


def save_emulator(emulator: HouseholdEmulator, path: Path) -> Path:
    """Write an emulator to one file, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, description=to_json(_description(emulator), indent=None), **_arrays(emulator))
    return path


def load_emulator(path: Path, fingerprint: Mapping[str, str] | None = None) -> HouseholdEmulator:
    """Read what :func:`save_emulator` wrote.

    Raises
    ------
    StorageError
        The file cannot be read, or is no emulator.
    ResultsError
        It is of other households than those of a posterior with this ``fingerprint``, as far as both say it.
    """
    try:
        arrays = read_arrays(path)
        about = json.loads(str(arrays.pop("description")))
        if about["format"] != _FORMAT:
            raise ValueError(f"format {about['format']}")
        emulator = HouseholdEmulator(
            region=Region(
                tuple(about["names"]),
                tuple(arrays["bounds"][0].tolist()),
                tuple(arrays["bounds"][1].tolist()),
                arrays["center"],
                arrays["root"],
            ),
            cell=Cell(degree=int(about["cliff_degree"]), **{name: arrays[f"cliff/{name}"] for name in _CELL}),
            outputs=tuple(about["outputs"]),
            unknowns=tuple(about["unknowns"]),
            shape=tuple(about["shape"]),
            modes=Modes(arrays["ahead"], arrays["since"]),
            degree=int(about["degree"]),
            fingerprint=dict(about["fingerprint"]),
            **{name: arrays[name] for name in ("coefficients", "mean", "basis")},
        )
    except (IndexError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise StorageError(f"cannot read {path}: it is not an emulator ({error!r})") from error
    if fingerprint is not None:
        other = [part for part, value in emulator.fingerprint.items() if fingerprint.get(part, value) != value]
        if other:
            raise ResultsError(f"the emulator in {path} was trained on another {', '.join(other)}: train it again")
    return emulator
