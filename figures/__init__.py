"""Figures, drawn from stored results and :mod:`theory`; one module a figure, style in :mod:`figures.style`."""
