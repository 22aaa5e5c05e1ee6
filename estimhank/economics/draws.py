"""The parameter vectors that results are computed at: the same for every result, so that results agree."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from estimhank.economics.linear_form import LinearForm, LinearForms
from estimhank.economics.stacked_sample import Stacked, StackedSample
from estimhank.posterior.posterior import Posterior
from estimhank.support.errors import EstimhankError
from estimhank.support.machine import find_cores
from estimhank.support.progress_event import Progress, ProgressEvent

Array = NDArray[np.float64]

#: Draws of a posterior that results are computed from.
MOST = 1000

#: Stage that progress is reported of, and draws between reports.
STAGE, _TOLD = "economics", 20

#: Results in flight between the threads that compute them.
_WAITING = 4

#: Share of draws that may have no density here, as those may that another device has evaluated at the edge of what is
#: refused: they are left out.
_REFUSED = 0.01

#: Share of a log likelihood by which that of the stacked sample may differ from the posterior's.
_SAME = 1e-9


class Kernel(Protocol):
    """What is computed at one point: a pure function of JAX arrays, compiled once for all points."""

    def __call__(self, form: LinearForm, stacked: Stacked) -> Mapping[str, jax.Array]:
        """Arrays by name, of the same shapes at every point."""
        ...


@dataclass(frozen=True)
class ReducedDraws:
    """Points of the parameter space.

    Attributes
    ----------
    posterior : Posterior
    theta : array of shape (n_draws, d)
        Natural units; one row for one point.
    origin : str
        What they are: ``"posterior"``, ``"prior"``, ``"mode"`` or ``"point"``.
    """

    posterior: Posterior
    theta: Array
    origin: str = "posterior"

    @classmethod
    def thinned(cls, posterior: Posterior, theta: ArrayLike, most: int = MOST) -> ReducedDraws:
        """At most so many of some draws, of shape (..., d), at even distances."""
        flat = np.asarray(theta, float).reshape(-1, len(posterior.names))
        chosen = np.unique(np.linspace(0, len(flat) - 1, min(most, len(flat))).round().astype(int))
        return cls(posterior, flat[chosen])

    @classmethod
    def at(cls, posterior: Posterior, theta: Mapping[str, float] | ArrayLike, origin: str = "point") -> ReducedDraws:
        """One point: exact figures, no bands.

        Parameters
        ----------
        posterior : Posterior
        theta : mapping or array of shape (d,)
            A mapping may leave parameters out, which then have the values of the model's table.

        Raises
        ------
        ModelError
            Unknown names, or a wrong length.
        """
        if isinstance(theta, Mapping):
            reference = dict(zip(posterior.names, posterior.reference().tolist(), strict=True))
            theta = {**reference, **theta}
        return cls(posterior, posterior.to_array(theta)[None], origin)

    @property
    def alone(self) -> bool:
        """Whether it is one point."""
        return len(self.theta) == 1

    def __len__(self) -> int:
        return len(self.theta)

    def map(
        self, forms: LinearForms, kernels: Mapping[str, Kernel], progress: Progress | None = None
    ) -> dict[str, dict[str, Array]]:
        """Arrays of several kernels at all points, each with a first axis of draws.

        A point is solved once for all kernels; what of its stacked sample no kernel reads is not computed. A kernel's
        ``log_likelihood`` is compared with the posterior's own at every point.

        Raises
        ------
        EstimhankError
            There is no density at a point, or a kernel has another one than the posterior.
        """
        sample = StackedSample(self.posterior.data)

        @jax.jit
        def compute(form: LinearForm) -> Any:
            stacked = sample.stack(form)
            return {name: dict(kernel(form, stacked)) for name, kernel in kernels.items()}

        found: list[Any] = []
        values: list[float] = []
        refused: list[EstimhankError] = []
        waiting: deque[Future[Any]] = deque()
        with ThreadPoolExecutor(find_cores().usable) as pool:
            for done, theta in enumerate(self.theta):
                if progress is not None and done % _TOLD == 0:
                    progress(ProgressEvent(STAGE, done, len(self), 0))
                try:
                    form, value = forms.with_log_likelihood(theta)
                except EstimhankError as error:
                    refused.append(error)
                    # of the prior's draws many may have no solution, and none is expected of them
                    if self.origin != "prior" and len(refused) > _REFUSED * len(self):
                        raise
                    continue
                values.append(value)
                waiting.append(pool.submit(lambda form: jax.tree.map(np.asarray, compute(form)), form))
                while len(waiting) > _WAITING:
                    found.append(waiting.popleft().result())
            found += [future.result() for future in waiting]
        if not found:
            raise refused[0]
        arrays = {
            name: {key: np.stack([one[name][key] for one in found]) for key in found[0][name]} for name in kernels
        }
        for of_kernel in arrays.values():
            if "log_likelihood" in of_kernel:
                _compare(of_kernel["log_likelihood"], np.array(values))
        return arrays


def _compare(found: Array, values: Array) -> float:
    """Largest difference of log likelihoods, as a share of them.

    Raises
    ------
    EstimhankError
        If it is more than a billionth.
    """
    gap = float((np.abs(found - values) / np.maximum(1.0, np.abs(values))).max())
    if not gap <= _SAME:
        raise EstimhankError(
            f"the log likelihood of the stacked sample differs from the posterior's by {gap:.1e} of it: this is a "
            "fault of the package, report it with the model"
        )
    return gap


def check_likelihood(forms: LinearForms, theta: ArrayLike) -> float:
    """How far the log likelihood of the stacked sample is from the posterior's at a point, as a share of it.

    Raises
    ------
    EstimhankError
        If it is more than a billionth.
    """
    sample = StackedSample(forms.posterior.data)
    form, value = forms.with_log_likelihood(theta)
    found = sample.log_likelihood(jax.jit(sample.stack)(form))
    return _compare(np.asarray(found)[None], np.array([value]))
