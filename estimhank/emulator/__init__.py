"""Households as a smooth function of estimated parameters, in place of a solution at every point."""
