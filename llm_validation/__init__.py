"""Language-model experiments and the diagnosis of a user's own traces.

Nothing is implemented here yet: the package fixes the place and its direction of dependence (it uses :mod:`theory`
and the task definitions of :mod:`sim`; neither uses it).
"""
