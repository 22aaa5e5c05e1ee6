"""Households: the block that a model declares, its steady state, its Jacobians, what its density jumps at."""
