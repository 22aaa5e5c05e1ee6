"""Log likelihoods at draws of the prior against those of a far longer horizon.

    python -m benchmarks.horizon configs/us_hank.toml

evaluates draws of the prior as a run does, and those that have a value at ``--horizon`` dates as well, where nothing
falls back upon a longer one. The package's contract is the infinite horizon: a value that is given is right, or a
reason is.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pages import write_made
from estimhank.posterior.posterior import Posterior
from estimhank.support.files import make_folder, write_json, write_text

DRAWS, HORIZON, SEED = 1_000, 2_000, 1


def compare(posterior: Posterior, longer: Posterior, thetas: np.ndarray) -> dict[str, Any]:
    """Reasons, and differences of log likelihoods where both give one."""
    reasons: Counter[str] = Counter()
    of_longer: Counter[str] = Counter()
    errors, worst = [], np.full(len(posterior.names), np.nan)
    for theta in thetas:
        mine = posterior.evaluate(theta)
        reasons[mine.reason] += 1
        if mine.reason != "ok":
            continue
        theirs = longer.evaluate(theta)
        of_longer[theirs.reason] += 1
        if theirs.reason == "ok":
            errors.append(abs(mine.log_likelihood - theirs.log_likelihood))
            if errors[-1] == max(errors):
                worst = theta
    found = np.array(errors)
    return {
        "draws": len(thetas),
        "reasons": dict(reasons),
        "reasons_at_the_longer_horizon": dict(of_longer),
        "largest_error": float(found.max()),
        "share_above_1e-3": float((found > 1e-3).mean()),
        "quantile_99": float(np.quantile(found, 0.99)),
        "worst": dict(zip(posterior.names, worst.tolist(), strict=True)),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", nargs="?", default="configs/us_hank.toml")
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--horizon", type=int, default=HORIZON)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    args = parser.parse_args()
    posterior = Posterior.from_config(args.config)
    longer = Posterior(
        posterior.model, posterior.data, args.horizon, 2 * args.horizon // 3, posterior.measurement_error
    )
    thetas = posterior.sample_prior(np.random.default_rng(args.seed), args.draws)
    clock = time.perf_counter()
    found = compare(posterior, longer, thetas)
    seconds = time.perf_counter() - clock
    found |= {"config": args.config, "horizon": args.horizon, "seed": args.seed}
    for key, value in found.items():
        print(f"{key}: {value}")
    write_json(make_folder(args.out) / "horizon.json", found)
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in found["reasons"].items())
    sentence = (
        f"Of {args.draws:,} draws of the prior of `{args.config}` (seed {args.seed}: {reasons}), the log likelihoods "
        f"that are given differ from those at T = {args.horizon:,} by {found['largest_error']:.1e} log points at most, "
        f"99 % of them by less than {found['quantile_99']:.1e}."
    )
    write_text(args.out / "horizon.md", f"{sentence}\n")
    write_made(args.out, "horizon", seconds)


if __name__ == "__main__":
    main()
