"""The linear model in the sequence space: elimination, solution, determinacy, steady state."""
