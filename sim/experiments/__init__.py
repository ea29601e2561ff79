"""Named experiments: frozen settings, a grid of cells, learners measured in each, bounds laid over what was measured.

Each module holds one experiment, ``EXPERIMENT``; :mod:`sim.experiments.registry` lists them by name and imports
nothing until one is asked for. ``python -m sim.sweep --experiment NAME`` runs one.
"""
