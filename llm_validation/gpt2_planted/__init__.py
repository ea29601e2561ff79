"""The didactic experiment: GPT-2 on planted-subsequence traces, cloning against a trained verifier.

==================  ==================================================================================
``recipe``          what is run: TOML recipes, checked
``world``           prompts, levels of heterogeneity, exact laws; keys of every draw
``network``         GPT-2, its tokens, sampling, log-probabilities, checkpoints
``data``            stage: procedural traces of every level
``base``            stage: GPT-2 trained on them
``measure``         stage: sigma, c(epsilon), law of T of the trained base; its draws for all that follows
``cloning``         stage ``vf``: supervised fine-tuning on solved draws
``labelling``       stage ``verifier``: GPT-2 with a scalar head on labelled draws
``reinforcement``   stage ``rl``: GRPO against the verifier, or against the true reward
``search``          stage ``best-of-n``: the same verifier picks among draws of the base
``evaluation``      stage ``evaluate``: every policy on held-out prompts, one table
``analysis``        what it all says: tables, summary, text
``analysis_returns``, ``analysis_slopes``, ``analysis_bounds``
                    intervals and gaps; slopes; measured gaps over the bounds of :mod:`theory`
``stages``          stages by name, their cells and what they need
``pipeline``        runs cells in worker processes, each finished one a shard
==================  ==================================================================================

Run as ``python -m llm_validation.gpt2_planted --recipe laptop --out DIR``.
"""
