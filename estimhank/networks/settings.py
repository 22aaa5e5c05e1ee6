"""How networks are trained; nothing is imported here, so that settings can be read without loading networks."""

from __future__ import annotations

from dataclasses import dataclass

#: Activations a network may have; ``celu`` is that of Kase, Rigato and Rottner (2024).
ACTIVATIONS: tuple[str, ...] = ("celu", "gelu", "silu", "softplus", "tanh")


def require(condition: bool, message: str) -> None:
    """``ValueError`` with a sentence on a setting that makes no sense."""
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class TrainingConfig:
    """Networks of an ensemble and how each is trained.

    Attributes
    ----------
    hidden : tuple of int
        Units of each hidden layer.
    activation : str
        One of :data:`ACTIVATIONS`.
    ensemble : int
        Networks trained from different seeds and averaged; each is fitted by one worker.
    batch_size : int
        Points of one step.
    learning_rate, weight_decay : float
        AdamW with linear warm-up and cosine schedule.
    gradient_weight : float
        Weight of the squared error of the gradient, in units of the inputs, relative to that of the value; 0 for values
        only.
    """

    hidden: tuple[int, ...] = (64, 64, 64)
    activation: str = "silu"
    ensemble: int = 2
    batch_size: int = 100
    learning_rate: float = 5e-3
    weight_decay: float = 3e-2
    gradient_weight: float = 100.0

    def __post_init__(self) -> None:
        require(len(self.hidden) > 0 and min(self.hidden) > 0, "hidden must name layers of at least one unit")
        require(self.activation in ACTIVATIONS, f"activation must be one of {', '.join(ACTIVATIONS)}")
        for name in ("ensemble", "batch_size"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, it is {getattr(self, name)}")
        for name in ("weight_decay", "gradient_weight"):
            require(getattr(self, name) >= 0, f"{name} must not be negative, it is {getattr(self, name)}")
        require(self.learning_rate > 0, f"learning_rate must be positive, it is {self.learning_rate}")
