"""What samplers need to know of a density: the protocol, coordinates, and a target made of any log density."""

from estimhank.target.protocol import REASONS, Evaluation, GradientLike, Target
from estimhank.target.transform import Transform

__all__ = ["REASONS", "Evaluation", "GradientLike", "Target", "Transform"]
