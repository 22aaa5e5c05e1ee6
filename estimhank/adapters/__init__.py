"""Models and households that were written elsewhere, estimated here (``docs/from_sequence_jacobian.md``)."""

from estimhank.adapters.jacobians import from_jacobians
from estimhank.adapters.toolkit import from_sequence_jacobian

__all__ = ["from_jacobians", "from_sequence_jacobian"]
