"""A run: configuration, stages, results folder. The only package, with ``cli``, that knows both inference and economics."""
