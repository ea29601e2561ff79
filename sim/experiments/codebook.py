r"""Cells of the two-point codebook as experiments use them: the collapsed sampler's evidence, regrets and gaps.

What the learners and the bounds are is said in :mod:`sim.learners` and :mod:`sim.verdict`; n and the spread of the
returns need not follow one rule here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from sim.cells import Cell as CodebookCell
from sim.experiments.experiment import Measurement, Samples
from sim.learners.learner import learners
from sim.report import GAPS, MINUEND, SIDES
from sim.runner import BATCH, collapsed_batch
from sim.tasks.codebook import table_width
from sim.tasks.evidence import Evidence
from sim.verdict import CellBounds, bounds_of

__all__ = ["BATCH", "codebook_cell", "gaps_of", "regrets_of", "sampled", "values_of"]

#: The learners' evidence on the codebook: the fields that are sampled.
_SAMPLED = Evidence._fields[:3]


def codebook_cell(
    H: int, n: int, log2_M: int, s: float = 0.5, epsilon: float | str = "capacity:1", seed: int = 0, N: int = 16
) -> CodebookCell:
    """R = H/2 +- s H; ``epsilon`` is a number or a rule of the sweep."""
    law = "two-point" if s == 0.5 else "symmetric-two-point"
    rule = epsilon if isinstance(epsilon, str) else repr(float(epsilon))
    return CodebookCell("codebook", law, s, H, n, log2_M, rule, seed, N)


def sampled(cells: Sequence[CodebookCell], trials: int, largest_n: int) -> list[Samples]:
    """Evidence of at most ``BATCH`` cells of one log2 M; ``largest_n`` of the whole run fixes the tables' width."""
    found = collapsed_batch(cells, table_width(largest_n), trials)
    return [{name: getattr(found, name)[i] for name in _SAMPLED} for i in range(len(cells))]


def values_of(cell: CodebookCell, samples: Samples, names: Iterable[str]) -> dict[str, NDArray[np.float64]]:
    """J of each learner, tokens, (trials,)."""
    unknown = np.full(samples["erm_hit"].shape, math.nan)  # elimination is for parity
    seen = Evidence(samples["posterior_sign"], samples["mle_hit"], samples["erm_hit"], unknown)
    known = learners()
    return {name: known[name].value(seen, cell) for name in names}


def regrets_of(
    cell: CodebookCell, samples: Samples, names: Iterable[str], bounds: CellBounds | None = None
) -> list[Measurement]:
    """Regret of each learner against the ball's best expert, tokens, with the bounds that speak of it."""
    laid, known = bounds_of(cell) if bounds is None else bounds, learners()
    reach = (cell.expert_value - float(cell.return_law.values[-1]), cell.expert_value - cell.mu)
    return [
        Measurement(
            "regret",
            name,
            "tokens",
            cell.expert_value - J,
            cell.expert_value - known[name].exact(cell),
            getattr(laid, known[name].lower or "", None),
            getattr(laid, known[name].upper or "", None),
            reach,
            cell.H,
        )
        for name, J in values_of(cell, samples, names).items()
    ]


def gaps_of(
    cell: CodebookCell, samples: Samples, bounds: CellBounds | None = None, names: Sequence[str] = GAPS
) -> list[Measurement]:
    """VF regret, ball gap and free gap of the optimal VF learner, tokens, with their bounds."""
    laid = bounds_of(cell) if bounds is None else bounds
    values = values_of(cell, samples, ("expert", "vf-bayes", "vb-ball", "vb-top-c"))
    found = []
    for gap in names:
        lower, upper = (getattr(laid, side) for side in SIDES[gap])
        gain = cell.rho if gap == "free_gap" else cell.epsilon * cell.sigma
        found.append(
            Measurement(
                gap,
                f"{MINUEND[gap]} - vf-bayes",
                "tokens",
                values[MINUEND[gap]] - values["vf-bayes"],
                lower=lower,
                upper=upper,
                reach=(-cell.rho, gain),
                scale=cell.H,
            )
        )
    return found
