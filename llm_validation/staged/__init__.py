"""Experiments in stages: what the GPT-2 and the Llama experiment have in common.

``fields``: recipes (TOML) as checked dataclasses; ``cells``: units of work and what they leave; ``stages``: an
experiment as data; ``bench``: its directory; ``pipeline``: stages run cell by cell, resumable; ``command``: a run from
the command line; ``checkpoints``: networks on disk; ``training``: how networks are trained.
"""
