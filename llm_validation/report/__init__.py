"""The report of a diagnosis: one self-contained page, and its figures as files."""

from llm_validation.report.write import write_report

__all__ = ["write_report"]
