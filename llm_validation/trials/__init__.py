"""Trials of the diagnosis on simulated traces whose law is known."""
