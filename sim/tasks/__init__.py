"""Instances of the token MDP: what a data set tells a learner, sampled in JAX from explicit keys.

Every task turns a batch of trials into an :class:`~sim.tasks.evidence.Evidence`; the learners of
:mod:`sim.learners` read values off it.
"""
