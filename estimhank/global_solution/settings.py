"""Settings of a global solution, by table of its configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from estimhank.support.settings import option


@dataclass(frozen=True)
class EconomyConfig:
    """``[economy]``: which one.

    Attributes
    ----------
    name : str
        ``"krusell_smith"``, or ``"file.py:Class"`` of one's own.
    planner : bool
        The constrained-efficient allocation in place of the market's.
    parameters : mapping
        Numbers to change, by name of the dataclass's fields.
    """

    name: str = "krusell_smith"
    planner: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkConfig:
    """``[networks]``: what they see and how large they are.

    Attributes
    ----------
    first_moment : bool
        Whether mean assets are an input.
    generalised : int
        Number of learned moments.
    hidden, moment_hidden : tuple of int
        Units of hidden layers.
    """

    first_moment: bool = False
    generalised: int = option(1, least=0, most=8)
    hidden: tuple[int, ...] = option((24, 24), least=1, most=256)
    moment_hidden: tuple[int, ...] = option((12, 12), least=1, most=256)

    def __post_init__(self) -> None:
        if not self.first_moment and not self.generalised:
            raise ValueError(
                "networks must see a moment of the distribution: set first_moment = true or generalised = 1"
            )
        if not self.hidden or not self.moment_hidden:
            raise ValueError("networks need at least one hidden layer")


@dataclass(frozen=True)
class TrainingConfig:
    """``[training]``: how networks are trained.

    Attributes
    ----------
    recipe : {"euler", "published"}
        Least squares on Euler and Bellman equations; or Han, Yang and E's simulated utility.
    economies : int
        Simulated side by side; each is one aggregate state of a batch. A multiple of 16.
    own_states : int
        Assets of each idiosyncratic state at which a batch's equations are evaluated.
    histogram : int
        Grid points that carry the distribution in training.
    rounds, value_rounds : int
        Batches of the policy, then of the value.
    steps : int
        Of least squares on each batch.
    first_quarters, quarters : int
        Simulated before the first batch, and before each of the later ones (the number grows to this).
    spread : float
        A quarter of a batch's distributions are stretched by up to this share, so that networks know more than they
        visit.
    """

    recipe: str = option("euler", choices=("euler", "published"))
    economies: int = option(192, least=16)
    own_states: int = option(28, least=8)
    histogram: int = option(240, least=40)
    rounds: int = option(6, least=1)
    value_rounds: int = option(4, least=1)
    steps: int = option(6, least=1)
    first_quarters: int = option(40, least=1)
    quarters: int = option(400, least=1)
    spread: float = option(0.12, least=0.0, below=0.5)

    def __post_init__(self) -> None:
        if self.economies % 16:
            raise ValueError("economies must be a multiple of 16")


@dataclass(frozen=True)
class PublishedConfig:
    """``[published]``: sizes of Han, Yang and E's recipe (training.recipe = "published"); theirs by default.

    Attributes
    ----------
    households : int
        Of each simulated economy.
    batch : int
        Economies of one step.
    steps : int
        Of Adam on the policy.
    unroll : int
        Quarters that utility is summed over before the value network takes over.
    rate : float
        Of Adam on the policy.
    value_networks : int
    value_every : int
        Policy steps between two fits of the value networks.
    value_quarters : int
        Over which realised utility is summed for them.
    value_epochs, value_batch : int
    value_rate : float
    burn_in : int
        Quarters before states are taken.
    """

    households: int = option(50, least=2)
    batch: int = option(384, least=1)
    steps: int = option(10_000, least=1)
    unroll: int = option(150, least=2)
    rate: float = option(4e-4, above=0.0)
    value_networks: int = option(3, least=1)
    value_every: int = option(2_000, least=1)
    value_quarters: int = option(800, least=1)
    value_epochs: int = option(200, least=1)
    value_batch: int = option(128, least=1)
    value_rate: float = option(1e-4, above=0.0)
    burn_in: int = option(450, least=1)


@dataclass(frozen=True)
class AccuracyConfig:
    """``[accuracy]``: how a solution is judged.

    Attributes
    ----------
    quarters, burn_in : int
        Of each long simulation, and dropped before.
    paths : int
        Aggregate paths, of seeds 0, 1, ..., along which the distribution is held against the referee's; errors are
        taken on the first.
    histogram : int
        Grid points of these simulations.
    states : int
        Aggregate states at which Euler and Bellman errors are taken.
    referee : bool
        Whether Krusell and Smith's own method solves the economy too.
    responses : bool
        Whether responses are compared with those without aggregate risk.
    """

    quarters: int = option(10_000, least=100)
    burn_in: int = option(1_000, least=1)
    paths: int = option(4, least=1)
    histogram: int = option(1_000, least=40)
    states: int = option(500, least=10)
    referee: bool = True
    responses: bool = True


@dataclass(frozen=True)
class GlobalRunConfig:
    """``[run]``: seed of every random number."""

    seed: int = option(1, least=0)


@dataclass(frozen=True)
class GlobalConfig:
    """A global solution's settings, resolved."""

    economy: EconomyConfig = field(default_factory=EconomyConfig)
    networks: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    published: PublishedConfig = field(default_factory=PublishedConfig)
    accuracy: AccuracyConfig = field(default_factory=AccuracyConfig)
    run: GlobalRunConfig = field(default_factory=GlobalRunConfig)


#: Sizes by name, below what the file says.
PROFILES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "smoke": {
        "networks": {"hidden": [8, 8], "moment_hidden": [6]},
        "training": {
            "economies": 32, "own_states": 12, "histogram": 60, "rounds": 2, "value_rounds": 1, "steps": 3, "quarters":
            40, "first_quarters": 20,
        },
        "accuracy": {
            "quarters": 300, "burn_in": 50, "paths": 1, "histogram": 120, "states": 20, "referee": False, "responses":
            False,
        },
    },
    "published": {"training": {"recipe": "published"}},
}  # fmt: skip
