"""Samplers of the exact density, by name."""
