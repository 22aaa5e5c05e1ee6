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

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.recorder import Recorder
from estimhank.sampling.chains import Algorithm, ChainConfig, Draws
from estimhank.sampling.dime import run_dime
from estimhank.sampling.multi_proposal import MultiProposalConfig, run_multi_proposal
from estimhank.sampling.proposals import Center
from estimhank.sampling.random_walk import run_random_walk
from estimhank.sampling.tempered import run_tempered
from estimhank.target.protocol import Target, affordable_gradient

Array = NDArray[np.float64]


def _of_single_states(run: Algorithm) -> Algorithm:
    """An algorithm whose chains have one proposal each: as many of them as there are proposals."""

    def sample(
        recorder: Recorder, target: Target, center: Center, config: MultiProposalConfig, *others: Any, **named: Any
    ) -> Draws:
        sizes = ChainConfig(
            iterations=config.iterations,
            warmup=config.warmup,
            chains=config.chains * config.proposals,
            gradient=config.gradient,
        )
        return run(recorder, target, center, sizes, *others, **named)

    return sample


def _nuts(*arguments: Any, **named: Any) -> Draws:
    from estimhank.sampling.nuts import run_nuts  # blackjax is an extra

    return run_nuts(*arguments, **named)


#: Every algorithm that ``[sample] algorithm`` may name.
ALGORITHMS: dict[str, Algorithm] = {
    "multi_proposal": run_multi_proposal,
    "random_walk": _of_single_states(run_random_walk),
    "dime": _of_single_states(run_dime),
    "smc": _of_single_states(run_tempered),
    "nuts": _nuts,
}


def sizes_for(target: Target, settings: MultiProposalConfig) -> MultiProposalConfig:
    """The sizes in some settings; where these ask for gradients, with those that cost the target little."""
    sizes = {f.name: getattr(settings, f.name) for f in fields(MultiProposalConfig)}
    return MultiProposalConfig(**{**sizes, "gradient": settings.gradient and affordable_gradient(target)})
