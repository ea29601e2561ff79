"""Measurements of time and memory: ``python -m benchmarks.sweep``; see ``README.md`` and ``results``."""
