"""Many evaluations of a log density in one vectorised call, on an accelerator where JAX sees one.

Points are padded to calls of two sizes, so that each function is compiled twice at most. What a vectorised call cannot
decide (a root so close to the unit circle that finer frequencies are needed, a steady state that Newton's method does
not find) is evaluated point by point on the processor, where the answer is a function of the point as well.

Values agree with those of single evaluations to 1e-8, not to the bit: other instructions, another order of sums. So the
device and the size of the calls are a part of the fingerprint, and stores of the one are refused by the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from estimhank.support.errors import ConfigError
from estimhank.support.files import sha256_of
from estimhank.support.runtime import find_device
from estimhank.target.protocol import DEVICE_PART, Target, Vectorizable, VectorizedTarget

Array = NDArray[np.float64]


class Calls:
    """Calls of two sizes on one device.

    Parameters
    ----------
    size : int
        Points of a call; an eighth of it where no more are left, as in the mode search.
    device : jax.Device, optional
        The accelerator that JAX sees, else the processor, by default.
    """

    def __init__(self, size: int, device: jax.Device | None = None) -> None:
        self.size, self.device = size, device or find_device()

    @property
    def fingerprint(self) -> dict[str, str]:
        """The part of a fingerprint that names platform and size."""
        return {DEVICE_PART: sha256_of(f"{self.device.platform}, {self.size} points a call")[:16]}

    def run(self, function: Callable[..., Any], thetas: Array, *rows: Any, fixed: tuple[Any, ...] = ()) -> Any:
        """Apply ``function(thetas, *rows, *fixed)`` piece by piece, the last piece padded with its last row.

        Returns
        -------
        Any
            What the function returns, as NumPy arrays of n rows.
        """
        pieces = []
        for start in range(0, len(thetas), self.size):
            small = max(1, self.size // 8)
            size = small if len(thetas) - start <= small else self.size
            chosen = np.minimum(np.arange(start, start + size), len(thetas) - 1)
            piece = jax.tree.map(lambda a, k=chosen: np.asarray(a)[k], (thetas, *rows))
            pieces.append(function(*jax.device_put(piece, self.device), *fixed))
        found = jax.device_get(pieces)  # waits here, once all have been sent
        return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(thetas)], *found)

    def keep(self, value: Any) -> Any:
        """Arrays, put on the device once."""
        return jax.device_put(value, self.device)


def vectorize(target: Target, size: int, device: jax.Device | None = None) -> VectorizedTarget:
    """The same target with a method ``evaluate_batch`` and a fingerprint that names the device.

    Parameters
    ----------
    target : Target
    size : int
        Points of a call; fewer are padded.
    device : jax.Device, optional
        The accelerator that JAX sees, else the processor.

    Raises
    ------
    ConfigError
        If the target cannot be vectorised: a plain Python function, or a model whose own functions JAX cannot trace.
    """
    if not isinstance(target, Vectorizable):
        raise ConfigError("the backend 'vectorized' needs a target that many points can be evaluated of in one call")
    return target.vectorized(Calls(size, device))
