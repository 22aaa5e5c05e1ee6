"""The posterior of a declared model: what one evaluation computes."""

from estimhank.posterior.posterior import Posterior

__all__ = ["Posterior"]
