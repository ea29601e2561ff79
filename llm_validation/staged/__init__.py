"""Experiments in stages: what the GPT-2 and the Llama experiment have in common.

``fields``: recipes (TOML) as checked dataclasses; ``cells``: units of work and what they leave; ``stages``: an
experiment as data; ``bench``: its directory; ``pipeline``: stages run cell by cell, resumable; ``command``: a run from
the command line; ``checkpoints``: networks on disk; ``training``: how networks are trained; ``keys``: random numbers;
``spread``, ``slopes``, ``bound_fits``: what is said of measured means over seeds.
"""
