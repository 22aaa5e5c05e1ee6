"""A neural surrogate of the log posterior: trained on exact evaluations, certified on fresh ones, made exact.

In the order in which data flow: ``points``, ``quadratic``, ``trust_region``, ``surrogate`` (with
:mod:`estimhank.networks.mlp`), ``training``, ``fitting``, ``fast_mh``, ``surrogate_stage``; then ``exact``, ``pareto``,
``certificate``, ``posterior_stage``. Nothing is imported here, so that settings (``config``) can be read without
loading networks.
"""
