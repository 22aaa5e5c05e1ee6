"""Equations that do not determine the variables, whatever their coefficients, and equations that depend on each other.

Which variable stands in which equation is a bipartite graph. A largest matching that leaves an equation over shows, by
the paths that alternate between entries and matched entries, a set of equations that holds fewer variables than it has
members (Dulmage and Mendelsohn 1958): these are named.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, maximum_bipartite_matching

from estimhank.parameters.parameter_table import ModelError
from estimhank.sequence_space.conditioning import Bands

_NOTHING = 1e-14  # of a row's largest coefficient
_SINGULAR = 1e-10  # smallest singular value of a symbol with rows of size one
_TAKES_PART = 0.02  # share of the largest weight in a combination of equations that is nothing


def check_incidence(bands: Bands, names: Sequence[str], equations: Sequence[str], household: Sequence[int]) -> None:
    """Refuse equations that cannot determine the variables, by where these stand.

    Parameters
    ----------
    bands : Bands
    names, equations : sequences of str
        Of the unknowns, and of the rows. There are as many household blocks as there are more unknowns than rows.
    household : sequence of int
        Positions among the unknowns of the household's inputs and outputs.

    Raises
    ------
    ModelError
    """
    stands = np.abs(np.concatenate(bands)).max(axis=0) > _NOTHING
    blocks = np.zeros((len(names) - len(equations), len(names)), bool)
    blocks[:, list(household)] = True
    stands = np.concatenate([stands, blocks])
    labels = [*equations, *("household",) * len(blocks)]
    over = _deficient(stands)
    if over is None:
        return
    under = _deficient(stands.T)
    assert under is not None  # the matrix is square
    # the two say the same: the shorter one is told
    if sum(map(len, over)) <= sum(map(len, under)):
        held = _quoted(names, over[1])
        says = f"{_some('equation', labels, over[0], 'hold')} {f'only {held}' if held else 'no variable'}"
    else:
        held = _quoted(labels, under[1])
        says = f"{_some('variable', names, under[0], 'stand')} {f'only in {held}' if held else 'in no equation'}"
    raise ModelError(f"the equilibrium conditions do not determine the variables: {says}")


def _deficient(stands: NDArray[np.bool_]) -> tuple[list[int], list[int]] | None:
    """Rows that have fewer columns than there are of them, and these columns; None where every row can have its own."""
    matched = maximum_bipartite_matching(sparse.csr_array(stands), perm_type="column")
    if (matched >= 0).all():
        return None
    n = len(stands)
    paths = np.zeros((n + stands.shape[1],) * 2, bool)
    paths[:n, n:] = stands
    paths[n + matched[matched >= 0], np.flatnonzero(matched >= 0)] = True
    reached = breadth_first_order(
        sparse.csr_array(paths), int(np.argmin(matched)), directed=True, return_predecessors=False
    )
    return sorted(int(i) for i in reached if i < n), sorted(int(i) - n for i in reached if i >= n)


def check_independent(bands: Bands, equations: Sequence[str]) -> None:
    """Refuse equations that depend on each other: their symbol then lacks full row rank at every frequency.

    Raises
    ------
    ModelError
    """
    wave = np.exp(1j * np.array([0.3, 1.1, 2.0]))[:, None, None]
    for lag, now, lead in zip(*bands, strict=True):
        symbol = lag * wave + now + lead / wave
        symbol = symbol / np.maximum(np.abs(symbol).max(axis=2, keepdims=True), 1e-300)
        combination, sizes, _ = np.linalg.svd(symbol)
        if sizes[:, -1].max() < _SINGULAR:
            weights = np.abs(combination[:, :, -1]).max(axis=0)
            own = np.flatnonzero(weights > _TAKES_PART * weights.max())
            raise ModelError(
                f"the equilibrium conditions {_quoted(equations, own)} depend on each other: look for an equation that "
                "is missing, doubled, or follows from the others by Walras' law"
            )


def _quoted(names: Sequence[str], chosen: Sequence[int] | NDArray[np.int64]) -> str:
    return ", ".join(f"'{names[i]}'" for i in chosen)


def _some(kind: str, names: Sequence[str], chosen: Sequence[int], verb: str) -> str:
    many = len(chosen) > 1
    return f"{kind}{'s' * many} {_quoted(names, chosen)} {verb}{'' if many else 's'}"
