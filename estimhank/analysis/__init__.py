"""From draws to results: plain arrays in, small frozen dataclasses out; nothing here evaluates the model."""
