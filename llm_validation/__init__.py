"""Language-model experiments, and the diagnosis of a user's own traces.

======================================  =======================================================================
module                                  what is there
======================================  =======================================================================
``traces``, ``reading``, ``quality``    sampled traces, how they are read, what is wrong with them
``moments``, ``concentration``          mu, sigma^2, c(epsilon) with intervals (``sample_bounds``: their parts)
``decomposition``, ``reach``            where heterogeneity arises in a trace; what search can reach
``diversity``, ``censoring``            texts beside sigma; what cut-off traces could change
``test_time``, ``verifier_quality``     pass@k, best-of-N, votes; how good scores are (``calibration``)
``learning_curves``, ``power_law``      measured J against n, and how far it may be continued
``bands``, ``evidence``, ``decision``   what the theory says at n; J(VB) - J(VF); clone, verify or undecided
``reasons``                             a decision in words
``diagnosis``, ``store``, ``report``    everything for each run; on disk; as a page
``paired``, ``plan`` (``pilot``)        two runs compared; how many samples a precision takes
``diagnose``                            the command (``usage``, ``plan_command``, ``compare_command``)
``trials``                              do the intervals cover, are the decisions right?
``sampling``                            traces sampled from a small model
======================================  =======================================================================

It uses :mod:`theory` and the task definitions of :mod:`sim`; neither uses it. Importing this package imports nothing.
"""
