"""Definitions and bounds of the verifier-free / verifier-based comparison, with explicit constants.

One room per group of statements; :mod:`theory.registry` finds every statement by its label.

==========================  ===================================================================
module                      statements
==========================  ===================================================================
``chi2_ball``               ``chi2-expert``, ``expert-heterogeneity``
``anti_concentration``      ``anti-concentration``
``verifier``                ``verifier-erm``
``verifier_based``          ``vb-upper-top-c``, ``vb-upper-best-of-n``
``verifier_free``           ``vf-lower``, ``vf-lower-truncated``, ``vf-upper``
``gap``                     ``gap-regret``, ``gap-ball``, ``gap-free``
==========================  ===================================================================

``notation`` holds the symbols and their units, ``theorem`` the frozen objects that a statement is made of,
``laws`` the laws of the return, ``log_space`` the arithmetic that keeps ``M = 2**4096`` finite.
Importing this package imports nothing else.
"""
