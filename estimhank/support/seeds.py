"""Random numbers: one register of streams, so that no two parts of a run share one."""

from __future__ import annotations

from enum import IntEnum, unique

import numpy as np


@unique
class Stream(IntEnum):
    """Who draws. The numbers are part of every seeded result: a new one gets a number that no other has had."""

    MODE = 1
    SAMPLE = 2
    SURROGATE = 3
    POSTERIOR = 4
    EXACT = 5
    TAIL_CHAINS = 6
    PRIOR_DRAWS = 8
    TRUST_REGION = 11
    PARETO = 12
    EDGE = 13
    EMULATOR = 14
    DIME = 21
    TEMPERED = 22
    NUTS = 23
    EVIDENCE = 31
    GLOBAL = 41
    GLOBAL_CHECK = 42
    PREDICTIVE = 32
    #: And the numbers after it, one for each stage of the store.
    RANDOM_WALK = 100


def generator(seed: int, stream: int, number: int = 0) -> np.random.Generator:
    """Random numbers of one step of one stream, the same whatever was drawn before.

    Parameters
    ----------
    seed : int
        Of the run, or one that was drawn from it.
    stream : Stream
    number : int
        Of the step. (``default_rng([s, k])`` and ``default_rng([s, k, 0])`` are the same numbers.)
    """
    return np.random.default_rng([seed, stream, number])
