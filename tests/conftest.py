"""Strict numerics for every test: hypothesis derandomised, no deadline; warnings are errors (pyproject)."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("project", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("project")
