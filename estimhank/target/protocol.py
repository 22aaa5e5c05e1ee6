"""What a sampler needs to know of a posterior.

The sampling, surrogate and posterior stages work on any object that answers to :class:`Target`: the posterior of a
declared model, a user's own log density (:mod:`estimhank.target.any_density`), or a textbook target in a test.
Parameters are in *natural units* (theta) wherever a person or a file sees them and in *unconstrained coordinates* (x)
wherever a kernel moves them; :class:`estimhank.target.transform.Transform` maps one to the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from estimhank.target.cliffs import Cliffs
from estimhank.target.transform import Transform

Array = NDArray[np.float64]


class Gradient(IntEnum):
    """Which gradient is wanted of an evaluation, or is to be had of a target; ``True`` and ``False`` are the first two.

    ``PARTIAL`` are the components with respect to the parameters that cost little more than the value, nan for the
    others (of a model: those that move the steady state).
    """

    NONE = 0
    WHOLE = 1
    PARTIAL = 2


#: What may be passed where a gradient is asked for.
GradientLike = Gradient | bool

#: Why an evaluation has no finite density; behind a colon, of which kind. The position in this tuple is the code that
#: the evaluation store keeps.
REASONS: tuple[str, ...] = (
    "ok",
    "outside_support",
    "steady_state",
    "indeterminate",
    "no_stable_solution",
    "not_positive_definite",
    "non_finite",
    "steady_state:no_bracket",
    "steady_state:grid_too_small",
    "steady_state:no_convergence",
    "steady_state:not_a_solution",
    "not_stationary",
    "horizon",
)


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a log density at natural parameters.

    Attributes
    ----------
    log_likelihood : float
        Log likelihood, constant included; ``-inf`` unless ``reason`` is ``"ok"``.
    log_prior : float
        Normalised log prior density of the natural parameters.
    reason : str
        ``"ok"`` or one of :data:`REASONS`, without a kind.
    gradient : ndarray of shape (d,), optional
        Gradient of ``log_likelihood + log_prior`` with respect to the natural parameters; only where asked for and
        ``reason == "ok"``. A partial one has nan in the other places.
    kind : str
        What kind of failure it was, where a reason has several; for accounts only.
    """

    log_likelihood: float
    log_prior: float
    reason: str = "ok"
    gradient: Array | None = None
    kind: str = ""

    @property
    def log_density(self) -> float:
        """Log likelihood plus log prior, ``-inf`` wherever either is."""
        return self.log_likelihood + self.log_prior if self.reason == "ok" else -np.inf


class Capabilities:
    """What a target can do beyond being evaluated, with defaults; a target that can do more says so."""

    @property
    def has_gradient(self) -> bool:
        """Whether it returns gradients."""
        return True

    @property
    def steady_state_parameters(self) -> tuple[str, ...]:
        """Parameters that its partial gradients leave out, as these cost several times the value: of a model, those
        that move the steady state."""
        return ()

    @property
    def search_area(self) -> str:
        """Where the mode search starts, in words."""
        return "the prior"

    def cliffs_at(self, theta: Array) -> Cliffs | None:
        """Where the density may fall from a cliff, seen from theta of shape (d,), natural units; None where nowhere."""
        return None

    def check_declaration(self) -> None:
        """Refuse, before anything is written, what cannot be what its author meant."""


@runtime_checkable
class Target(Protocol):
    """A log density over named parameters.

    Inherit :class:`Capabilities` for the defaults of the optional members.

    A target must be picklable (workers receive a copy), evaluate each point on its own (so that results do not depend
    on how points are spread over workers), and return failures as an :class:`Evaluation` with a reason. It raises only
    for bugs.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Parameter names, in the order of every parameter vector."""
        ...

    @property
    def transform(self) -> Transform:
        """Map between unconstrained coordinates and natural units."""
        ...

    @property
    def fingerprint(self) -> dict[str, str]:
        """What the density depends on, part by part (``model``, ``data``, ``prior``, ...), each as a short digest."""
        ...

    def evaluate(self, theta: Array, gradient: GradientLike = False) -> Evaluation:
        """Evaluate at natural parameters ``theta`` of shape (d,)."""
        ...

    def sample_prior(self, rng: np.random.Generator, n: int) -> Array:
        """Draw ``n`` parameter vectors, shape (n, d), natural units, from the prior (for starts and trust regions)."""
        ...

    # of Capabilities

    @property
    def has_gradient(self) -> bool: ...

    @property
    def steady_state_parameters(self) -> tuple[str, ...]: ...

    @property
    def search_area(self) -> str: ...

    def cliffs_at(self, theta: Array) -> Cliffs | None: ...

    def check_declaration(self) -> None: ...


def affordable_gradient(target: Target) -> Gradient:
    """The gradient to ask for beside a value where any is welcome: a partial one where a whole one costs much more."""
    if target.steady_state_parameters:
        return Gradient.PARTIAL
    return Gradient.WHOLE if target.has_gradient else Gradient.NONE


@runtime_checkable
class VectorizedTarget(Target, Protocol):
    """A target that evaluates many points in one call; its fingerprint names the device (:data:`DEVICE_PART`)."""

    def evaluate_batch(self, thetas: Array, gradient: GradientLike = False) -> list[Evaluation]:
        """Evaluate at each row of ``thetas``, shape (n, d), natural units; in their order."""
        ...


@runtime_checkable
class Vectorizable(Target, Protocol):
    """A target of which many points can be evaluated in one call."""

    def vectorized(self, calls: Any) -> VectorizedTarget:
        """The same target with ``evaluate_batch``, in calls as given (:class:`estimhank.target.batching.Calls`).

        Raises
        ------
        ConfigError
            If it cannot be vectorised after all.
        """
        ...


@runtime_checkable
class CompiledTarget(Target, Protocol):
    """A target that has something to solve before its first evaluation, and that compiles what it evaluates."""

    def outline(self) -> None:
        """Find out as much as :meth:`compile_outlined` needs."""
        ...

    def compile_outlined(self, further: bool) -> None:
        """Compile what evaluations need, as far as it can be before the target is prepared; ``further``: what only some
        of them need."""
        ...

    def prepare(self) -> None:
        """Solve what every evaluation needs; a pickled copy has it too, so that workers need not solve it again."""
        ...

    def compile(self, gradient: GradientLike) -> None:
        """Compile an evaluation with this kind of gradient, into this process and the cache on disk."""
        ...


#: The part of a fingerprint that says where a vectorised target evaluates: its values agree with those of a processor
#: core to 1e-8, not to the bit.
DEVICE_PART = "device"
