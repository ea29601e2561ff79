"""Tables from which the return of an expert's trace is drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from theory.laws import ReturnLaw

__all__ = ["standardised_tables"]


def standardised_tables(
    law: ReturnLaw, epsilon: float, support: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(f, CDF of the tilted law (1 + eps f) p), padded to ``support``: how an expert's trace agrees with the truth."""
    size = law.values.size
    f, cdf = np.zeros(support), np.ones(support)
    f[:size] = law.standardised
    cdf[: size - 1] = np.minimum(np.cumsum(law.probabilities * (1.0 + epsilon * law.standardised)), 1.0)[:-1]
    return f, cdf
