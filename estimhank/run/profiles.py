"""Sizes by name: what ``--profile`` sets before a configuration file's own settings."""

from __future__ import annotations

from typing import Any

from estimhank.surrogate.stage_config import PAPER_POSTERIOR, PAPER_SURROGATE

#: ``default`` is what the classes of the sections say; ``smoke`` differs from it in sizes alone. ``paper`` is the
#: method of Kase, Rigato and Rottner (2024): values only, one network, 50,000 candidates, 1,000 epochs, 200,000 draws.
PROFILES: dict[str, dict[str, Any]] = {
    "default": {},
    "smoke": {
        "mode": {"starts": 2, "candidates": 16, "slice_points": 5},
        "sample": {"iterations": 40, "warmup": 20, "proposals": 16, "draws": 16},
        "surrogate": {
            "hidden": [64, 64],
            "epochs": 150,
            "round_epochs": 80,
            "rounds": 2,
            "round_points": 250,
        },
        "posterior": {
            "surrogate_chains": 64,
            "surrogate_draws": 4_000,
            "thin": 5,
            "certificate_draws": 100,
            "certificate_pairs": 50,
            "chains": 8,
            "dispersed": 2,
            "min_ess": 50,
            "max_r_hat": 1.1,
            "max_rounds": 200,
        },
        "economics": {"draws": 200},
    },
    "paper": {
        # 500 iterations of 100 proposals of one chain are the 50,000 candidates
        "sample": {"iterations": 500, "warmup": 100, "proposals": 100, "draws": 100, "chains": 1, "gradient": False},
        "surrogate": dict(PAPER_SURROGATE),
        "posterior": dict(PAPER_POSTERIOR),
    },
}
