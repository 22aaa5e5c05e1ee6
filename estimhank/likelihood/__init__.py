"""From responses to a Gaussian log likelihood."""
