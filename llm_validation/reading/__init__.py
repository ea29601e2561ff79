"""Reading sampled traces: files into columns (``files``), columns into traces (``layouts``)."""

from __future__ import annotations

from llm_validation.reading.read import read_traces

__all__ = ["read_traces"]
