"""Households: the block that a model declares, its steady state, its Jacobians, the cliffs of its density."""
