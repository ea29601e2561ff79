"""Simulation of the verifier-free / verifier-based comparison; formulas come from :mod:`theory`.

==================  ==========================================================================
``ranges``          ``1..512``, ``A..B:STEP``, ``A..BxFACTOR``, comma lists
``cells``           what a sweep is: configuration, rules for n and epsilon, one cell a horizon
``mdp``             token MDPs as checked arrays; ``dynamic_programming`` solves them exactly,
                    ``rollout`` samples them, ``enumeration`` lists all traces, ``ball_expert``
                    finds the best policy of the chi-squared ball
``tasks``           the instances, collapsed to what a data set tells, or as token MDPs
``learners``        one method a file: from what the data tell to the value J
``training``        learners that train on traces of a token MDP
``experiments``     named experiments with frozen settings, run by the sweep's command
``statistics``      means, standard errors, exponents and their bootstrap
``verdict``         bounds of :mod:`theory` laid over measured values
``store``           output directories: manifest, atomic tables, resumption
``cost``            time estimate before anything runs
``sweep``           the command ``python -m sim.sweep``
==================  ==========================================================================

Importing this package imports nothing else.
"""
