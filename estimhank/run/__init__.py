"""A run: configuration, stages, results folder. With ``cli`` the only package that knows inference and economics."""
