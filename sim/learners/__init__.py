"""Learners, one method a file; each module's ``LEARNER`` is found by :func:`sim.learners.learner.learners`."""
