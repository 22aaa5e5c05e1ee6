"""Models that `estimhank init` writes out: whole, so that nothing is inherited that a reader does not see."""
