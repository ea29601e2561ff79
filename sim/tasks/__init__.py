"""Tasks: the collapsed and explicit codebooks of the sweep, and token MDPs by name.

``codebook`` and ``parity`` turn a batch of trials into :class:`~sim.tasks.evidence.Evidence`, from which the learners
of :mod:`sim.learners` read their values. :mod:`sim.tasks.registry` builds the others (and both codebooks, for small
classes) as :class:`~sim.tasks.token_task.TokenTask`: a process, a base policy and prompts; :mod:`sim.training` trains
on it.
"""
