"""What is computed at each draw, while the next one is being solved."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from estimhank.economics.draws import ReducedDraws
from estimhank.support.errors import EstimhankError
from estimhank.support.machine import find_cores

Array = NDArray[np.float64]

_WAITING = 4  # draws solved ahead of what is computed from them
#: Share of draws that may have no density here, as those may that another device has evaluated at the edge of what is
#: refused: they are left out, as in all results.
_REFUSED = 0.01


def at_each_draw[T](
    draws: ReducedDraws, solve: Callable[[Array], T], compute: Callable[[T], Mapping[str, Array] | None]
) -> tuple[dict[str, Array], int]:
    """Arrays with a first axis of draws, and how many draws ``compute`` gave None for.

    Parameters
    ----------
    draws : ReducedDraws
    solve : callable
        Of parameters (d,): called for one draw after another, in this thread.
    compute : callable
        Of what ``solve`` returned: called in threads, for several draws at a time.

    Raises
    ------
    EstimhankError
        There is no solution at more than one percent of the draws.
    """
    found: list[Mapping[str, Array] | None] = []
    waiting: deque[Future[Mapping[str, Array] | None]] = deque()
    refused = 0
    with ThreadPoolExecutor(find_cores().usable) as pool:
        for theta in draws.theta:
            try:
                solved = solve(theta)
            except EstimhankError:
                refused += 1
                if refused > _REFUSED * len(draws):
                    raise
                continue
            waiting.append(pool.submit(compute, solved))
            while len(waiting) > _WAITING:
                found.append(waiting.popleft().result())
        found += [future.result() for future in waiting]
    kept = [one for one in found if one is not None]
    arrays = {name: np.stack([np.asarray(one[name]) for one in kept]) for name in (kept[0] if kept else ())}
    return arrays, len(found) - len(kept)
