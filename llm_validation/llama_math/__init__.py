"""Stitched-trace fine-tuning (verifier-free) against best-of-N with a trained verifier, on mathematics problems.

A base model's attempts at training problems are graded. Cloning: question, wrong attempts, then the right one, as one
trace, is what a copy of the model is fine-tuned on. Search: another copy with a scalar head learns to tell right
attempts from wrong ones and picks among the base's attempts at held-out problems. Both are held to the same budgets.
"""
