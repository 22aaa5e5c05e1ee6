"""Whether an emulated log density is good enough: its difference to the exact one at fresh draws."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from estimhank.analysis.facts import EmulatorCheck
from estimhank.surrogate.pareto import pareto_k, pareto_limit

Array = NDArray[np.float64]

#: Largest standard deviation of the difference, in log points.
MAX_SD = 0.05
#: Largest difference with which no draw's weight can be much of a nuisance, whatever the index of their tail is.
_HARMLESS = 0.5
_FEWEST = 25  # draws that a tail index can be fitted to


def check_emulator(exact: Array, emulated: Array, inside: NDArray[np.bool_], max_sd: float = MAX_SD) -> EmulatorCheck:
    """Judge an emulated log density.

    Parameters
    ----------
    exact, emulated : ndarray of shape (n,)
        Log densities at draws that the emulator was not trained on, ``-inf`` where there is none.
    inside : ndarray of bool, shape (n,)
        Which draws are in the region that it was trained on.
    max_sd : float

    Returns
    -------
    EmulatorCheck
        Passed where the standard deviation of the difference is below ``max_sd``, both have a density at the same
        draws, and the tail index is below what so many draws allow, unless no difference is larger than half a log
        point.
    """
    both = np.isfinite(exact) & np.isfinite(emulated)
    disagreeing = int((np.isfinite(exact) != np.isfinite(emulated)).sum())
    if both.sum() < 2:
        return EmulatorCheck(
            draws=len(exact), inside=float(inside.mean()), sd=math.inf, largest=math.inf, pareto_k=math.inf,
            passed=False, words="the emulator is not certified: there are no two draws at which both densities exist",
        )  # fmt: skip
    difference = exact[both] - emulated[both]
    sd = float(difference.std(ddof=1))
    largest = float(np.abs(difference - difference.mean()).max())
    k = pareto_k(difference) if len(difference) >= _FEWEST else math.inf
    wrong = []
    if disagreeing:
        wrong.append(f"at {disagreeing} of {len(exact)} draws one of the two densities is zero and the other is not")
    if not sd < max_sd:
        wrong.append(f"the difference of the log densities has s.d. {sd:.3f} (less than {max_sd:g} is needed)")
    if largest > _HARMLESS and not k < pareto_limit(int(both.sum())):
        wrong.append(f"Pareto k is {k:.2f} (less than {pareto_limit(int(both.sum())):.2f} is needed)")
    figures = f"s.d. {sd:.3f}, largest {largest:.3f}, Pareto k {k:.2f}, {inside.mean():.1%} in its region"
    return EmulatorCheck(
        draws=len(exact),
        inside=float(inside.mean()),
        sd=sd,
        largest=largest,
        pareto_k=k,
        passed=not wrong,
        words=f"the emulator is not certified: {'; '.join(wrong)}"
        if wrong
        else f"the emulator is certified: {figures}",
    )
