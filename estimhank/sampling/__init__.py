"""Evaluating a log density on many workers, keeping every evaluation, finding its modes and sampling from it."""
