"""Nonlinear paths under perfect foresight: :func:`estimhank.transition.solve.solve_transition`."""
