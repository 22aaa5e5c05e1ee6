"""The algorithms of the sampling stage by name; all feed the same store and are told the same sizes.

With the same sizes every one but NUTS makes ``iterations`` times ``chains`` times ``proposals`` evaluations:

=================  ===================================================================================================
``multi_proposal``  ``chains`` chains with ``proposals`` points an iteration, ``draws`` of which are drawn
``random_walk``     ``chains`` times ``proposals`` chains with one point an iteration
``dime``            one ensemble of ``chains`` times ``proposals`` members
``smc``             ``chains`` times ``proposals`` particles, ``iterations`` mutation steps in all; no ``warmup``
``nuts``            ``chains`` chains, ``iterations`` draws each, as many evaluations as their trajectories have points
=================  ===================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.recorder import Recorder
from estimhank.sampling.dime import run_dime
from estimhank.sampling.proposals import Center
from estimhank.sampling.random_walk import RandomWalkConfig, run_random_walk
from estimhank.sampling.sample import STAGE, MultiProposalConfig, run_multi_proposal
from estimhank.sampling.tempered import run_tempered
from estimhank.support.progress_event import Progress
from estimhank.target.protocol import Target, affordable_gradient

Array = NDArray[np.float64]


class Draws(Protocol):
    """What every algorithm returns, a dataclass of arrays and numbers with at least these.

    ``x`` and ``theta`` have the shape (chains, kept, d), ``log_likelihood`` and ``log_prior`` (chains, kept), and
    ``infeasible``, the share of proposals without a density, (chains,).
    """

    @property
    def x(self) -> Array: ...
    @property
    def theta(self) -> Array: ...
    @property
    def log_likelihood(self) -> Array: ...
    @property
    def log_prior(self) -> Array: ...
    @property
    def infeasible(self) -> Array: ...


Sampler = Callable[[Recorder, Target, Center, MultiProposalConfig, int, Progress | None], Draws]


def _random_walk(
    recorder: Recorder, target: Target, center: Center, sizes: MultiProposalConfig, seed: int, progress: Progress | None
) -> Draws:
    config = RandomWalkConfig(sizes.iterations, sizes.warmup, sizes.chains * sizes.proposals, sizes.gradient)
    return run_random_walk(recorder, target, center, config, seed, STAGE, progress)


def _dime(
    recorder: Recorder, target: Target, center: Center, sizes: MultiProposalConfig, seed: int, progress: Progress | None
) -> Draws:
    members = sizes.chains * sizes.proposals
    return run_dime(
        recorder, target, center, sizes.iterations, sizes.warmup, members, sizes.gradient, seed, STAGE, progress
    )


def _smc(
    recorder: Recorder, target: Target, center: Center, sizes: MultiProposalConfig, seed: int, progress: Progress | None
) -> Draws:
    particles = sizes.chains * sizes.proposals
    return run_tempered(recorder, target, center, sizes.iterations, particles, sizes.gradient, seed, STAGE, progress)


def _nuts(
    recorder: Recorder, target: Target, center: Center, sizes: MultiProposalConfig, seed: int, progress: Progress | None
) -> Draws:
    from estimhank.sampling.nuts import run_nuts  # blackjax is an extra

    return run_nuts(
        recorder, target, center, sizes.iterations, sizes.warmup, sizes.chains, seed=seed, progress=progress
    )


#: Every algorithm that ``[sample] algorithm`` may name.
ALGORITHMS: dict[str, Sampler] = {
    "multi_proposal": run_multi_proposal,
    "random_walk": _random_walk,
    "dime": _dime,
    "smc": _smc,
    "nuts": _nuts,
}


def sizes_for(target: Target, settings: MultiProposalConfig) -> MultiProposalConfig:
    """The sizes in some settings; where these ask for gradients, with those that cost the target little."""
    sizes = {f.name: getattr(settings, f.name) for f in fields(MultiProposalConfig)}
    return MultiProposalConfig(**{**sizes, "gradient": settings.gradient and affordable_gradient(target)})
