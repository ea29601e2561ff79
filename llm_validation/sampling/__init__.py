"""Sampling traces from a language model.

``problems``: questions with exact answers; ``prompts``: what the model is shown; ``models``: where weights are;
``backend``: what anything that writes answers does, ``transformers_backend`` one that does it in this process;
``grading``: the answer of a text; ``table``: one row a trace; ``command``: the run, in resumable batches.
"""
