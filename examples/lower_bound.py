"""The default model with a lower bound on the policy rate: one line more.

    estimhank transition results/us_hank --model examples/lower_bound.py:LowerBound --smoothed 2008Q1:2015Q4

The estimation leaves the bound out, as the linear solution has none. What it would have meant is asked of a finished
run of the default model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp

from estimhank.models.one_asset_hank import OneAssetHANK

#: The federal funds rate is 1.30 percent a quarter on average, 1966Q1 to 2019Q4. The data are less their mean, which is
#: the steady state, so that a rate of zero is as far below it.
MEAN_RATE = 0.0130


class LowerBound(OneAssetHANK):
    """The larger of the rule, its shock included, and a nominal rate of zero."""

    name = "lower_bound"
    title = "One-asset HANK with a lower bound on the policy rate"

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """Those of the default model; ``now.i`` less the Taylor rule's residual is the rule."""
        for name, residual in super().equations(lag, now, lead, household, shock, p):
            rule = now.i - residual
            yield name, now.i - jnp.maximum(rule, p.r - MEAN_RATE) if name == "Taylor rule" else residual
