"""``vf-bayes``: the optimal verifier-free learner, unrestricted.

With posterior sign w(x) on a fresh prompt it plays the token whose return is largest under it and gains |w(x)| rho
over mu: J = mu + rho E|w|, the mean over the posterior taken exactly. No algorithm that sees the expert's traces does
better on average over the prior, so lower bounds are compared with this one. It is at least as good as maximum
likelihood, so ``vf-upper`` bounds it too.
"""

from __future__ import annotations

from sim.learners.learner import Learner

LEARNER = Learner(
    name="vf-bayes",
    group="verifier-free",
    value=lambda evidence, cell: cell.mu + cell.rho * evidence.posterior_sign,
    lower="vf_lower",
    upper="vf_upper",
)
