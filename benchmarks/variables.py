"""What variables that could be substituted out by hand cost: one economy in ten variables and in seven.

    python -m benchmarks.variables

The default model is declared in seven variables, all of which have to stay when it is reduced by hand. Here it stands
with three more that are definitions (taxes, hours, the wedge of the wage Phillips curve). Processor time of a value and
of a value with its gradient, in turn, at T = 300, one core.
"""

from __future__ import annotations

import os

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import argparse
import time
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

import numpy as np

from estimhank.models.one_asset_hank import OneAssetHANK
from estimhank.parameters.parameter_table import Values
from estimhank.posterior.posterior import Posterior
from estimhank.support.runtime import configure


class Wide(OneAssetHANK):
    """With three definitions as variables."""

    variables = (*OneAssetHANK.variables, "tax", "N", "wedge")  # type: ignore[assignment]

    def equations(self, lag: Any, now: Any, lead: Any, household: Any, shock: Any, p: Any) -> Iterator[tuple[str, Any]]:
        """The same equations, each definition one of its own."""
        rule = p.r + p.rho_i * (lag.i - p.r) + (1 - p.rho_i) * (p.phi_pi * now.pi + p.phi_y * (now.Y - 1))
        yield "taxes", now.tax - (p.G + p.r * p.B_bar + p.phi_b * (lag.B - p.B_bar))
        yield "hours", now.N - now.Y
        yield "wedge", now.wedge - (p.vphi * now.N ** (1 / p.frisch) - household.C ** (-1 / p.eis) / p.mu_w)
        yield "wage Phillips curve", now.pi - p.kappa_w * now.wedge - lead.pi / (1 + p.r) - shock.w
        yield "Taylor rule", now.i - rule - shock.m
        yield "ex-ante real rate", now.r_ante - (now.i - lead.pi)
        yield "return on bonds", now.r - lag.r_ante
        yield "after-tax income", now.Z - (now.Y - now.tax)
        yield "government budget", now.B - ((1 + now.r) * lag.B + p.G + shock.g - now.tax)
        yield "asset market", household.A - now.B

    def steady_state(self, p: Values, household: Any) -> Mapping[str, Any]:
        """With the definitions' values."""
        return {**super().steady_state(p, household), "tax": p.G + p.r * p.B_bar, "N": 1.0, "wedge": 0.0}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=40)
    given = parser.parse_args()
    configure()
    default = Posterior.from_config("configs/us_hank.toml")
    models = {7: OneAssetHANK(), 10: Wide()}
    posts = {n: Posterior(m, default.data, default.horizon, default.tail_start) for n, m in models.items()}
    rng = np.random.default_rng(0)
    reference = default.reference()
    points = reference * (1 + 0.02 * rng.uniform(-1, 1, (given.points + 1, len(reference))))
    print("| | " + " | ".join(f"{n} variables" for n in posts) + " | ratio |")
    print("|---|" + "---:|" * (len(posts) + 1))
    for gradient in (False, True):
        took: dict[int, list[float]] = {n: [] for n in posts}
        found: dict[int, float] = {}
        for k, point in enumerate(points):
            for n, post in posts.items():
                start = time.process_time()
                found[n] = post.evaluate(point, gradient).log_likelihood
                if k:
                    took[n].append(1e3 * (time.process_time() - start))
        apart = max(abs(value - found[7]) for value in found.values())
        assert apart < 1e-6, f"the same economy has log likelihoods that are {apart:.1e} apart"
        ratio = median(wide / narrow for wide, narrow in zip(took[10], took[7], strict=True))
        label = "value and gradient" if gradient else "value"
        print(f"| {label}, ms | " + " | ".join(f"{median(t):.2f}" for t in took.values()) + f" | {ratio:.2f} |")


if __name__ == "__main__":
    main()
