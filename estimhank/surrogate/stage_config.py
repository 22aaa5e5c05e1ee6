"""Sizes and settings of the surrogate and posterior stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from estimhank.networks.settings import TrainingConfig, require


@dataclass(frozen=True)
class SurrogateConfig(TrainingConfig):
    """How the surrogate is trained: keys as in :class:`estimhank.networks.settings.TrainingConfig`, and

    Attributes
    ----------
    epochs : int
        Passes over the points in the last fit, which the surrogate is made of.
    round_epochs : int
        Passes in the fits that only say where to evaluate next.
    drop_lowest : float
        Share of the points with the lowest density that is left out.
    depth_weight : float
        How fast the weight of points falls below the depth that posterior draws reach: the power of 1 + excess / 5 log
        points by which their weight is divided; 0 weighs all alike.
    holdout : float
        Share of the points kept out of each fit; their error is reported.
    rounds : int
        Rounds that draw from the surrogate, evaluate the draws exactly, and add them.
    round_points : int
        Points of a round.
    temperatures : tuple of float
        Powers 1/T of the surrogate's density from which a round draws, in equal shares; the first must be 1: its draws
        are the ones that the surrogate's error is measured on before it learns from them. Half of the others are
        replaced by acquired points, draws at temperature 1 where it is likely to be wrong
        (:mod:`estimhank.surrogate.candidates`).
    stop_s_e : float
        No further round, only the last fit, once the error on a round's fresh draws and over its candidate pool
        is below this. A last fit of four times the epochs errs by a third to a half as much.
    final_s_e : float
        The last fit is done once it errs by less on fresh draws of its own; until then it goes on with what they have
        found, four times at most. Below the certificate's limit, by the noise of a few hundred draws and because wrong
        accepts and rejects have to be rare too.
    max_points : int
        Most points used in a fit: of more, the latest.

    Notes
    -----
    The defaults were chosen by experiment (``benchmarks/surrogate_training.py``). Gradients are in posterior standard
    deviations. What is not a setting is in :class:`estimhank.surrogate.policy.SurrogatePolicy`.
    """

    epochs: int = 200
    round_epochs: int = 80
    drop_lowest: float = 0.0
    depth_weight: float = 2.0
    holdout: float = 0.03
    rounds: int = 5
    round_points: int = 600
    temperatures: tuple[float, ...] = (1.0, 1.5, 2.0)
    stop_s_e: float = 0.06
    final_s_e: float = 0.03
    max_points: int = 200_000

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("epochs", "round_epochs", "round_points", "max_points"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, it is {getattr(self, name)}")
        for name in ("depth_weight", "rounds", "stop_s_e", "final_s_e"):
            require(getattr(self, name) >= 0, f"{name} must not be negative, it is {getattr(self, name)}")
        require(0 <= self.drop_lowest < 1, f"drop_lowest must be a share below 1, it is {self.drop_lowest}")
        require(0 < self.holdout < 1, f"holdout must be a share between 0 and 1, it is {self.holdout}")
        require(len(self.temperatures) > 0 and self.temperatures[0] == 1.0, "the first temperature must be 1")
        require(min(self.temperatures) >= 1.0, "temperatures must be at least 1")


@dataclass(frozen=True)
class PosteriorConfig:
    """How the posterior is drawn from the surrogate, certified, and made exact.

    Attributes
    ----------
    surrogate_chains : int
        Chains on the surrogate, run side by side.
    surrogate_draws : int
        Draws of the surrogate's posterior that are kept, all chains together.
    thin : int
        Steps between two kept draws.
    certificate_draws : int
        Fresh draws of the surrogate that are evaluated exactly.
    certificate_pairs : int
        Exact draws from which a fresh random-walk proposal is evaluated, for wrong accepts and rejects.
    chains : int
        Chains of the exact stage, in lockstep: a round evaluates one point of each.
    dispersed : int
        How many of them start overdispersed rather than at a draw of the surrogate.
    burn_in : int
        Rounds, at least, that are discarded at the beginning; half of their steps are random-walk steps. More, up
        to thirty times as many, until every chain has accepted a surrogate proposal.
    burn_in_share : float
        Share of all rounds, at least, that is discarded.
    plain_share : float
        Probability that a step is a random-walk step where the surrogate is trusted after the fresh draws.
    distrust_plain_share : float
        The same where it is not; subchains are then of mixed lengths.
    min_ess : float
        Effective draws, bulk and tail, that every parameter must reach.
    max_r_hat : float
        Largest R-hat allowed.
    check_every : int
        Rounds between two looks at the criteria.
    max_rounds : int
        Rounds after which the exact stage gives up.
    subchain_factor : float
        Length of a subchain in autocorrelation times of the surrogate's own chain.
    min_subchain, max_subchain : int
        Bounds of that length.
    """

    surrogate_chains: int = 256
    surrogate_draws: int = 100_000
    thin: int = 10
    certificate_draws: int = 1_200
    certificate_pairs: int = 700
    chains: int = 24
    dispersed: int = 6
    burn_in: int = 8
    burn_in_share: float = 0.05
    plain_share: float = 0.03
    distrust_plain_share: float = 0.3
    min_ess: float = 2_000.0
    max_r_hat: float = 1.01
    check_every: int = 10
    max_rounds: int = 2_000
    subchain_factor: float = 4.0
    min_subchain: int = 40
    max_subchain: int = 2_000

    def __post_init__(self) -> None:
        least = {"surrogate_chains": 4, "surrogate_draws": 4, "thin": 1, "certificate_draws": 20}
        least |= {
            "certificate_pairs": 20,
            "chains": 2,
            "dispersed": 0,
            "burn_in": 0,
            "check_every": 1,
            "max_rounds": 1,
            "min_subchain": 1,
        }
        for name, bound in least.items():
            require(getattr(self, name) >= bound, f"{name} must be at least {bound}, it is {getattr(self, name)}")
        for name in ("burn_in_share", "plain_share", "distrust_plain_share"):
            require(0 <= getattr(self, name) < 1, f"{name} must be a share below 1, it is {getattr(self, name)}")
        require(self.dispersed <= self.chains, "dispersed must not exceed chains")
        require(self.max_r_hat > 1, f"max_r_hat must be above 1, it is {self.max_r_hat}")
        require(self.subchain_factor > 0, f"subchain_factor must be positive, it is {self.subchain_factor}")
        require(self.max_subchain >= self.min_subchain, "max_subchain must not be below min_subchain")


#: The method of Kase, Rigato and Rottner (2024): values only, one CELU network, batches of 100, 1,000 epochs, the
#: lowest 20 % dropped, no further rounds.
PAPER_SURROGATE: dict[str, Any] = {
    "hidden": (128, 128, 128),
    "activation": "celu",
    "ensemble": 1,
    "epochs": 1_000,
    "batch_size": 100,
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
    "gradient_weight": 0.0,
    "drop_lowest": 0.2,
    "depth_weight": 0.0,
    "rounds": 0,
}
PAPER_POSTERIOR: dict[str, Any] = {"surrogate_draws": 200_000, "thin": 1}
