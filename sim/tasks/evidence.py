r"""What one data set tells: the sufficient summary from which every learner's value follows.

For hypothesis class 1..M with prior uniform, data D, and a fresh prompt x:

Each is a conditional expectation given the trial's draws; on the collapsed codebook the mean over how often the truth
agrees with the data is exact too.

* ``posterior_sign`` = :math:`E_x|w(x)|`, :math:`w(x)=\sum_jP_js_j(x)`: what the Bayes learner gains, in units of rho
  (the mean over the posterior is taken exactly; on the codebook one fresh x is drawn, on parity all are averaged);
* ``mle_hit`` = P(the likelihood's maximiser is the truth | D), ties at random;
* ``erm_hit`` = P(a verifier that agrees with all labels is the truth | D), ties at random, from n labelled base traces;
* ``elimination_hit`` = 1 if Gaussian elimination over GF(2) returned the truth (parity only, else NaN).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIELDS", "Evidence"]


class Evidence(NamedTuple):
    """Arrays of one shape, (cells, trials) or (trials,), float64, each in [0, 1]."""

    posterior_sign: NDArray[np.float64]
    mle_hit: NDArray[np.float64]
    erm_hit: NDArray[np.float64]
    elimination_hit: NDArray[np.float64]


FIELDS = Evidence._fields
