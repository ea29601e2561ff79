r"""Populations of planted problems whose laws of the return are known exactly.

A problem is a prompt x, drawn uniformly from :math:`V^\ell`, with a base policy of its own: gamma is drawn once a trace
from a mixture that differs between problems. Its solve time follows ``planted-law`` for the gold of x, overlaps and
all, so that the law of :math:`R=(H-T+1)^+` is a mixture of exit flows, exact but for rounding. A *pool* is P such
problems; the population is the uniform law on them, from which the problems of a repeat are drawn with replacement.

====== =================================================================================================================
pool   mixtures
====== =================================================================================================================
even   a focused gamma from {2, 3, 4, 5} with weight uniform on [0.27, 0.35], else one from {-4, -3, -2, -1} that hardly
       ever solves: every :math:`c_x(\varepsilon)`, :math:`\varepsilon\le1/2`, is above 1/4
wide   gammas -2, 0, 2, 4, 6 with weights of a Dirichlet law of parameter 1/2: problems that are hardly ever and almost
       always solved among others
====== =================================================================================================================

Of m samples with unbiased variance :math:`\hat\sigma_x^2`, with m_4 the fourth central moment of R given x,

* :math:`Var(\hat\mu_x)=Var_x\,\mu_x+E_x\sigma_x^2/m`,
* :math:`Var(\hat\sigma_x^2)=Var_x\,\sigma_x^2+E_x\bigl[m_{4,x}/m-\sigma_x^4(m-3)/(m(m-1))\bigr]`,
* all m are equal with probability :math:`\sum_rP(R=r)^m`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sim.tasks.planted import Planted, pattern_of
from theory.planted import mixture_law

__all__ = ["POOLS", "Pool", "pool", "problem_laws"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

V, ELL, H = 4, 4, 64
#: Problems of a pool.
SIZE = 4096
#: The pools are the same whatever the seed of the trials.
_SEED = 5


@dataclass(frozen=True, eq=False)
class Pool:
    """P problems with the law of the return of each, (P, H + 1) on 0..H, and the pattern of its gold."""

    name: str
    law: Floats
    patterns: tuple[tuple[int, ...], ...] = ()

    @property
    def size(self) -> int:
        """P."""
        return len(self.law)

    @property
    def horizon(self) -> int:
        """H, tokens."""
        return int(self.law.shape[1]) - 1

    @cached_property
    def returns(self) -> Floats:
        """0..H, tokens."""
        return np.arange(self.horizon + 1.0)

    @cached_property
    def mean(self) -> Floats:
        """mu_x, tokens, (P,)."""
        return np.asarray(self.law @ self.returns)

    @cached_property
    def variance(self) -> Floats:
        """sigma_x^2, tokens^2, (P,)."""
        return self._central(2)

    def _central(self, power: int) -> Floats:
        return np.asarray(((self.returns - self.mean[:, None]) ** power * self.law).sum(axis=1))

    def concentration(self, epsilon: Floats) -> Floats:
        """c_x(epsilon) = P(R >= mu_x + epsilon sigma_x), (E, P)."""
        threshold = self.mean + np.asarray(epsilon)[:, None] * np.sqrt(self.variance)
        above = self.returns >= threshold[:, :, None] - 1e-9 * self.horizon
        return np.asarray((above * self.law).sum(axis=2))

    def varies(self, m: int) -> Floats:
        """Probability that m samples of a problem are not all equal, (P,)."""
        return np.asarray(1.0 - (self.law**m).sum(axis=1))

    def sd_of_mean(self, m: int) -> float:
        """Standard deviation of the mean of m samples of a problem from the population, tokens."""
        return float(np.sqrt(self.mean.var() + self.variance.mean() / m))

    def sd_of_variance(self, m: int) -> float:
        """Standard deviation of the unbiased variance of m >= 2 samples of a problem from the population, tokens^2."""
        noise = self._central(4) / m - self.variance**2 * (m - 3) / (m * (m - 1))
        return float(np.sqrt(self.variance.var() + noise.mean()))

    @cached_property
    def _ladder(self) -> Floats:
        """Cumulative laws end to end, problem x on [x, x + 1]."""
        cumulative = np.minimum(self.law.cumsum(axis=1), 1.0)
        cumulative[:, -1] = 1.0
        return np.asarray((cumulative + np.arange(self.size)[:, None]).reshape(-1))

    def drawn(self, rng: np.random.Generator, problems: int, samples: int) -> tuple[Ints, Floats]:
        """Problems (X,) from the population, and returns (X, m) of each, tokens."""
        x = rng.integers(0, self.size, size=problems)
        place = rng.random((problems, samples)) + x[:, None]
        step = np.searchsorted(self._ladder, place, side="right") - x[:, None] * (self.horizon + 1)
        return x, self.returns[np.minimum(step, self.horizon)]


def problem_laws(golds: Ints, gammas: Floats, weights: Floats, V: int, horizon: int) -> Floats:
    """Law of the return on 0..H, (P, H + 1), of P golds (P, ell) under mixtures of ``gammas`` (G,), ``weights`` (P, G).

    Golds of one pattern have one law: each pair of pattern and gamma is worked out once.
    """
    words, which = np.unique([pattern_of(gold) for gold in golds], axis=0, return_inverse=True)
    parts = np.zeros((len(words), gammas.size, horizon + 1))
    for i, word in enumerate(words):
        for j, gamma in enumerate(gammas):
            law = mixture_law(word, V, [gamma], [1.0], horizon)
            parts[i, j] = np.append(law.never, law.masses[::-1])
    return np.asarray(np.einsum("pg,pgr->pr", weights, parts[which.reshape(-1)]))


def _even(rng: np.random.Generator, size: int) -> tuple[Floats, Floats]:
    gammas = np.array([2.0, 3.0, 4.0, 5.0, -4.0, -3.0, -2.0, -1.0])
    weights, rows, share = np.zeros((size, 8)), np.arange(size), rng.uniform(0.27, 0.35, size)
    weights[rows, rng.integers(0, 4, size)] = share
    weights[rows, rng.integers(4, 8, size)] = 1.0 - share
    return gammas, weights


def _wide(rng: np.random.Generator, size: int) -> tuple[Floats, Floats]:
    gammas = np.array([-2.0, 0.0, 2.0, 4.0, 6.0])
    return gammas, rng.dirichlet(np.full(gammas.size, 0.5), size)


#: Name -> how gammas (G,) and weights (P, G) of P problems are drawn.
POOLS: dict[str, Callable[[np.random.Generator, int], tuple[Floats, Floats]]] = {"even": _even, "wide": _wide}


def pool(name: str, size: int = SIZE) -> Pool:
    """The pool of that name. Raises ``KeyError`` if there is none."""
    rng = np.random.default_rng([_SEED, 0x9001, [*POOLS].index(name)])
    gammas, weights = POOLS[name](rng, size)
    task = Planted(V=V, ell=ELL, H=H, M=1, prompts=V**ELL, seed=_SEED)
    golds = task.golds()[rng.integers(0, V**ELL, size)]
    return Pool(name, problem_laws(golds, gammas, weights, V, H), tuple(map(pattern_of, golds)))
