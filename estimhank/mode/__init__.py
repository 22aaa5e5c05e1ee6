"""The search for the posterior's modes."""
