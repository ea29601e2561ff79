"""Definitions and bounds of the verifier-free / verifier-based comparison, with explicit constants.

One room per group of statements; :mod:`theory.registry` finds every statement by its label.

==========================  ===================================================================
module                      statements
==========================  ===================================================================
``heterogeneity``           ``heterogeneity-identity``
``chi2_ball``               ``chi2-expert``, ``expert-heterogeneity``
``anti_concentration``      ``anti-concentration``
``verifier``                ``verifier-erm``, ``verifier-noisy``
``verifier_based``          ``vb-upper-top-c``, ``vb-upper-best-of-n``
``verifier_free``           ``vf-lower``, ``vf-lower-truncated``, ``vf-upper``
``gap``                     ``gap-regret``, ``gap-ball``, ``gap-free``
``crossover``               ``garbling``, ``crossover-vf-wins``
``planted``                 ``planted-law``
==========================  ===================================================================

``derivations`` holds the proofs of each room, ``falsify`` the attacks on its claims.

What they are made of: ``notation`` and ``symbols`` (letters and units), ``relation`` and ``expectation`` (what sympy is
asked), ``proof`` (rules, steps, the checker), ``lemmas`` (the textbook), ``theorem`` (the frozen statement),
``formula``, ``special`` and ``rigorous`` (numbers from expressions, in float64 and in ball arithmetic), ``laws`` (laws
of the return), ``log_space`` (arithmetic that keeps ``M = 2**4096`` finite). What is done with them: ``registry``,
``check``, ``mutation``, ``render``, ``graph``, ``pages``. Importing this package imports nothing else.
"""
