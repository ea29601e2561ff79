r"""Where in the trace heterogeneity arises: ``heterogeneity-identity`` for the process of rewards.

After h tokens the rewards :math:`r_1..r_h` tell whether and when the trace was solved. :math:`M_h=E[R\mid r_1..r_h]` is
a martingale from :math:`\mu` to R, so that

.. math:: \sigma^2=Var\,R=\sum_hE\,Var(M_h\mid r_1..r_{h-1})
          =\sum_hS_h\lambda_h(1-\lambda_h)\,(R_h-V_{h+1})^2,

with :math:`S_h=P(T\ge h)`, hazard :math:`\lambda_h=P(T=h\mid T\ge h)`, :math:`R_h=H-h+1` what solving at h returns and
:math:`V_{h+1}=E[R\mid T>h]` what not solving there is worth: once solved nothing varies any more, until then step h
decides between the two.

This is the identity of the theory notes on the coarsest states that know the return. On states that hold all tokens
the same :math:`\sigma^2` is split by :math:`Var_a\,Q_h(s_h,a)`: a token that makes a solution likely counts there when
it is emitted, here only when the trace is solved. That finer split needs traces resampled from prefixes.

Put into the empirical law of m traces the identity is exact: the parts of a problem add up to its plug-in variance, and
with the factor m/(m - 1) to the unbiased one. Single parts keep a bias of order 1/m (the hazard and what follows are
estimated from the same traces). Parts are averages over problems, each with its interval; shares of the total are
ratios of two such averages, their interval that of the linearised ratio.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.moments import Interval, bootstrap_mean
from llm_validation.traces import Traces

__all__ = ["Decomposition", "Part", "decomposition", "variance_by_step"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Pieces that the budget is cut into.
PIECES = 10


@dataclass(frozen=True, slots=True)
class Part:
    """Steps ``after`` < h <= ``until``: their part of sigma^2 (tokens^2), its share, and the share of traces solved."""

    after: int
    until: int
    variance: Interval
    share: Interval
    solved: Interval

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class Decomposition:
    """sigma^2 over ``problems`` problems, tokens^2, by place in the trace; ``never``: share of traces not solved."""

    H: int
    problems: int
    parts: tuple[Part, ...]
    total: Interval
    never: Interval

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self) | {"parts": [part.as_dict() for part in self.parts]}


def variance_by_step(problem: Ints, times: Floats, horizon: int) -> tuple[Ints, Ints, Floats, Floats]:
    """Terms of the identity on empirical laws: problem, number of traces d that solve, step h, and the term; (K,) each.

    ``times`` (N,): T in 1..horizon, or inf. One entry for every problem and every h at which some trace of it solves;
    the terms (tokens^2) of a problem add up to its plug-in variance.
    """
    order = np.lexsort((times, problem))
    x, t = problem[order], times[order]
    if not x.size:
        return x, x, t, t
    first = np.flatnonzero(np.concatenate([[True], (x[1:] != x[:-1]) | (t[1:] != t[:-1])]))
    new = np.concatenate([[True], x[1:] != x[:-1]])
    start = np.flatnonzero(new)
    m = np.diff(np.append(start, x.size))
    returns = np.maximum(horizon - t + 1.0, 0.0)
    # What lies behind the last trace of each entry: how many of the problem's traces, and their returns.
    last = np.append(first[1:], x.size) - 1
    number = np.cumsum(new) - 1
    end = (start + m)[number[first]]
    behind = np.cumsum(returns[::-1])[::-1]
    behind = np.append(behind, 0.0)
    later = end - last - 1
    value = (behind[last + 1] - behind[end]) / np.maximum(later, 1)
    d = last - first + 1
    share = d / m[number[first]] * later / (later + d)
    term = share * (returns[first] - value) ** 2
    solves = np.isfinite(t[first])
    return x[first][solves], d[solves], t[first][solves], term[solves]


def decomposition(traces: Traces, horizon: int, seed: int) -> Decomposition | None:
    """The parts for one run at budget ``horizon``; None without tokens, at H = 1 or if no problem has two traces.

    Traces of unknown return are left out.
    """
    returns = traces.returns(horizon)
    if horizon < 2 or not traces.has_tokens:
        return None
    numbers, x, m = np.unique(traces.problem[np.isfinite(returns)], return_inverse=True, return_counts=True)
    if not (m >= 2).any():
        return None
    known = returns[np.isfinite(returns)]
    times = np.where(known > 0.0, horizon - known + 1.0, math.inf)
    number, solved, step, term = variance_by_step(x, times, horizon)
    pieces = min(PIECES, horizon)
    piece = np.minimum(((step - 1.0) * pieces / horizon).astype(np.int64), pieces - 1)
    cell, size = number * pieces + piece, numbers.size * pieces
    usable = m >= 2
    scale = np.where(usable, m / np.maximum(m - 1.0, 1.0), 0.0)
    terms = np.asarray(np.bincount(cell, weights=term, minlength=size), dtype=np.float64).reshape(-1, pieces)
    variance = (terms * scale[:, None])[usable]
    shares = (np.bincount(cell, weights=solved, minlength=size).reshape(-1, pieces) / m[:, None])[usable]
    top = horizon**2 / 4.0
    whole = variance.sum(axis=1)
    edges = [math.ceil(horizon * k / pieces) for k in range(pieces + 1)]
    parts = tuple(
        Part(
            edges[k],
            edges[k + 1],
            bootstrap_mean(variance[:, k], seed, low=0.0, high=top),
            _ratio(variance[:, k], whole, seed),
            bootstrap_mean(shares[:, k], seed, low=0.0, high=1.0),
        )
        for k in range(pieces)
    )
    never = bootstrap_mean(np.maximum(1.0 - shares.sum(axis=1), 0.0), seed, low=0.0, high=1.0)
    return Decomposition(horizon, int(usable.sum()), parts, bootstrap_mean(whole, seed, low=0.0, high=top), never)


def _ratio(part: Floats, whole: Floats, seed: int) -> Interval:
    """E part / E whole, in [0, 1]: to first order the error is the mean of (part - ratio whole)/E whole."""
    mean = float(whole.mean())
    if mean <= 0.0:
        return Interval(math.nan, 0.0, 1.0, method="no variance")
    ratio = float(part.mean()) / mean
    around = bootstrap_mean((part - ratio * whole) / mean, seed, low=-ratio, high=1.0 - ratio)
    return Interval(ratio, ratio + around.low, ratio + around.high, around.level, f"{around.method}, linearised ratio")
