"""A neural surrogate of the log posterior: trained on exact evaluations, certified on fresh ones, made exact.

In the order in which data flow: ``points``, ``quadratic``, ``trust_region``, ``surrogate``, ``fitting`` (with
:mod:`estimhank.networks`), ``fast_mh``, ``candidates``, ``surrogate_stage``; then ``exact``, ``tail_chains``,
``certificate``, ``posterior_stage``. Nothing is imported here, so that settings (``stage_config``) and what the stages
decide by (``policy``) can be read without loading networks.
"""
