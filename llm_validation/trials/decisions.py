r"""Simulated cases with a known winner: does the diagnosis decide, and rightly?

A case draws its parameters from a stated prior, computes J(VF) and J(VB) of the learners that it speaks of, exactly,
and hands the diagnosis what a user would have: sampled traces, and either class sizes, scores with traces of the clone,
or noisy learning curves. Cases with |J(VB) - J(VF)| under 2% of H are drawn again: nobody is said to win there.

=============  ========================================================================================================
kind           what it is
=============  ========================================================================================================
codebook       mirrored codebook, R = mu +- sigma on 200 problems; VF clones the best expert of the ball, of radius
               epsilon^2, by maximum likelihood; VB keeps the best of N draws under the fitted verifier; both class
               sizes are given. VF cannot win here but for sampling at N = 1 (``garbling``)
outside        rare success, c = 1/|V|; VF clones an outside expert that is right with probability p_e, whose traces
               are given; VB as above from base draws; both class sizes are given
measured       problems with success rates from a Beta law; verifier scores of given separation in the file, and traces
               of a clone that is better or worse by a shift in log odds
curves         the learners of the first two kinds, each measured at six smaller n, with noise of 1% of H
=============  ========================================================================================================
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.decision import decide
from llm_validation.evidence import Question
from llm_validation.learning_curves import LearningCurves
from llm_validation.traces import Group, Traces
from theory.crossover import vb_random_loss, vf_cloning_value
from theory.notation import LN2
from theory.verifier import erm_success_codebook
from theory.verifier_free import mle_success_codebook

__all__ = ["KINDS", "Case", "cases", "judged"]

#: Share of H by which one recipe must win for a case to have a winner.
MARGIN = 0.02
PROBLEMS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Traces and question as a user would have them, and both true values, tokens."""

    kind: str
    H: int
    traces: Traces
    question: Question
    J_VF: float
    J_VB: float
    settings: dict[str, float]

    @property
    def winner(self) -> str:
        """The recipe of larger value."""
        return "verify" if self.J_VB > self.J_VF else "clone"


def _traces(returns: NDArray[Any], H: int, name: str, score: NDArray[Any] | None = None) -> Traces:
    """Traces of ``returns`` (X, m): solved at token H - R + 1."""
    X, m = returns.shape
    flat = returns.reshape(-1)
    return Traces(
        problem=np.repeat(np.arange(X), m),
        problems=tuple(f"problem {i}" for i in range(X)),
        group=np.zeros(X * m, dtype=np.int64),
        groups=(Group(name, ""),),
        correct=(flat > 0).astype(np.float64),
        tokens=np.where(flat > 0, H - flat + 1.0, float(H)),
        truncated=np.zeros(X * m, dtype=bool),
        score=np.full(X * m, math.nan) if score is None else score.reshape(-1),
    )


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


@dataclass(frozen=True, slots=True)
class _Codebook:
    """Both learners on the mirrored codebook, at every n: value, tokens."""

    mu: float
    sigma: float
    epsilon: float
    log2_M: float
    N: int

    @classmethod
    def drawn(cls, rng: np.random.Generator, H: int) -> _Codebook:
        sigma = int(rng.integers(H // 5, H // 2 + 1))
        mu = int(rng.integers(sigma, H - sigma + 1))
        log2_M = float(rng.choice([8, 16, 32, 64]))
        return cls(mu, sigma, float(rng.uniform(0.1, 1.0)), log2_M, int(2 ** rng.integers(1, 5)))

    def vf(self, n: int) -> float:
        return self.mu + self.sigma * self.epsilon * mle_success_codebook(n, self.log2_M, self.epsilon)

    def vb(self, n: int) -> float:
        # A right verifier keeps mu + sigma unless all N draws are low; a wrong one knows nothing of a fresh prompt.
        return self.mu + self.sigma * (1.0 - 2.0 ** (1 - self.N)) * erm_success_codebook(n, self.log2_M)


@dataclass(frozen=True, slots=True)
class _Outside:
    """Both learners on the rare-success family: value, tokens."""

    H: int
    V: int
    p_e: float
    log2_M: float
    N: int

    @classmethod
    def drawn(cls, rng: np.random.Generator, H: int) -> _Outside:
        V = int(2 ** rng.integers(1, 7))
        p_e = 1.0 if rng.random() < 0.3 else float(rng.uniform(1.0 / V, 1.0))
        return cls(H, V, p_e, float(rng.choice([8, 16, 32, 64])), int(2 ** rng.integers(0, 7)))

    def vf(self, n: int) -> float:
        return self.H * vf_cloning_value(n, self.log2_M, 1.0 / self.V, self.p_e)

    def vb(self, n: int) -> float:
        c = 1.0 / self.V
        found, miss = 1.0 - vb_random_loss(n, self.log2_M, c), (1.0 - c) ** self.N
        # A wrong codeword is right on a fresh prompt with probability c; else a draw that shows it is kept, if any.
        wrong = c * (1.0 - miss) + (1.0 - c) * miss * c / (1.0 - c)
        return self.H * (found * (1.0 - miss) + (1.0 - found) * wrong)


def _codebook(rng: np.random.Generator) -> Case:
    H = int(2 ** rng.integers(4, 10))
    learners = _Codebook.drawn(rng, H)
    n, m = int(_log_uniform(rng, 30, 1e6)), int(rng.choice([16, 32, 64]))
    signs = rng.choice([-1.0, 1.0], size=(PROBLEMS, m))
    size = learners.log2_M * LN2
    question = Question(n, learners.N, learners.epsilon**2, size, size, seed=int(rng.integers(2**31)))
    traces = _traces(learners.mu + learners.sigma * signs, H, "base")
    settings = {**dataclasses.asdict(learners), "n": n, "m": m}
    return Case("codebook", H, traces, question, learners.vf(n), learners.vb(n), settings)


def _outside(rng: np.random.Generator) -> Case:
    H = int(2 ** rng.integers(0, 9))
    learners = _Outside.drawn(rng, H)
    n, m = int(_log_uniform(rng, 8, 1e5)), int(rng.choice([32, 64]))
    size = learners.log2_M * LN2
    solved = rng.random((PROBLEMS, m)) < 1.0 / learners.V
    shown = rng.random((PROBLEMS, 8)) < learners.p_e
    question = Question(
        n, learners.N, log_policies=size, log_verifiers=size, expert=_traces(H * shown, H, "expert"),
        seed=int(rng.integers(2**31)),
    )  # fmt: skip
    settings = {**dataclasses.asdict(learners), "n": n, "m": m}
    return Case("outside", H, _traces(H * solved, H, "base"), question, learners.vf(n), learners.vb(n), settings)


def best_under_scores(p: NDArray[np.float64], N: int, separation: float) -> NDArray[np.float64]:
    """P(the draw of largest score is right), (X,): N draws, right with probability p; scores N(separation, 1), N(0, 1).

    With F, f of a wrong score and G, g of a right one the density of (largest at z, right) is
    :math:`N p g(z)(pG+(1-p)F)^{N-1}`; trapezoids on a grid of width 0.01.
    """
    from scipy.stats import norm

    z = np.arange(-8.0, 8.0 + separation, 0.01)
    F, G, g = norm.cdf(z), norm.cdf(z - separation), norm.pdf(z - separation)
    mixed = p[:, None] * G + (1.0 - p[:, None]) * F
    found: NDArray[np.float64] = np.trapezoid(N * p[:, None] * g * mixed ** (N - 1), z, axis=1)
    return found


def _measured(rng: np.random.Generator) -> Case:
    a, b = rng.uniform(0.3, 2.0, size=2)
    separation, N, m = float(rng.uniform(0.0, 3.0)), int(2 ** rng.integers(1, 5)), int(rng.choice([16, 32, 64]))
    shift = float(rng.normal(0.0, 1.5))
    grid = (np.arange(2000) + 0.5) / 2000
    from scipy.stats import beta

    rates = np.clip(beta.ppf(grid, a, b), 1e-9, 1.0 - 1e-9)

    def cloned(p: NDArray[np.float64]) -> NDArray[np.float64]:
        odds = np.log(p / (1.0 - p)) + shift
        shown: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-odds))
        return shown

    p = rng.choice(rates, size=PROBLEMS)[:, None]
    right = rng.random((PROBLEMS, m)) < p
    score = rng.normal(separation * right, 1.0)
    clone = rng.random((PROBLEMS, m)) < cloned(p)
    question = Question(10_000, min(N, m), cloned=_traces(1.0 * clone, 1, "clone"), seed=int(rng.integers(2**31)))
    settings = {"a": a, "b": b, "separation": separation, "shift": shift, "N": N, "m": m}
    J_VF, J_VB = float(cloned(rates).mean()), float(best_under_scores(rates, N, separation).mean())
    return Case("measured", 1, _traces(1.0 * right, 1, "base", score), question, J_VF, J_VB, settings)


def _curves(rng: np.random.Generator) -> Case:
    of = _codebook(rng) if rng.random() < 0.3 else _outside(rng)
    learners: _Codebook | _Outside
    names = {"mu", "sigma", "epsilon", "log2_M", "N"} if of.kind == "codebook" else {"H", "V", "p_e", "log2_M", "N"}
    kept = {name: value for name, value in of.settings.items() if name in names}
    learners = _Codebook(**kept) if of.kind == "codebook" else _Outside(**kept)  # type: ignore[arg-type]
    reach = float(rng.choice([1.0, 0.5]))  # the largest n measured, as a share of the n asked for
    ns = np.unique(np.maximum((of.question.n * reach * 2.0 ** -np.arange(6.0)).astype(np.int64), 1))
    methods = np.repeat(["VF", "VB"], ns.size)
    n = np.tile(ns, 2)
    J = np.array([getattr(learners, method.lower())(int(size)) for method, size in zip(methods, n, strict=True)])
    se = np.full(n.size, 0.01 * of.H)
    shown = LearningCurves(
        method=tuple(methods.tolist()),
        n=n.astype(np.float64),
        H=np.full(n.size, of.H),
        J=J + rng.normal(0.0, se),
        se=se,
    )
    question = dataclasses.replace(of.question, log_policies=None, log_verifiers=None, curves=shown)
    return dataclasses.replace(of, kind="curves", question=question, settings={**of.settings, "reach": reach})


KINDS: dict[str, Callable[[np.random.Generator], Case]] = {
    "codebook": _codebook,
    "outside": _outside,
    "measured": _measured,
    "curves": _curves,
}


def cases(count: int, seed: int) -> Iterator[Case]:
    """``count`` cases with a winner, kinds in turn; case i depends on (seed, i) only."""
    draws = list(KINDS.values())
    for i in range(count):
        rng = np.random.default_rng([seed, 0xCA5E, i])
        while True:
            case = draws[i % len(draws)](rng)
            if abs(case.J_VB - case.J_VF) >= MARGIN * case.H:
                break
        yield case


def judged(case: Case) -> dict[str, Any]:
    """What the diagnosis says of a case, beside the truth: one row."""
    decision = decide(case.traces, case.H, case.question, brief=True)
    decided = decision.verdict != "undecided"
    return {
        "kind": case.kind,
        "H": case.H,
        "n": case.question.n,
        "J_VF": case.J_VF,
        "J_VB": case.J_VB,
        "winner": case.winner,
        "verdict": decision.verdict,
        "decided": decided,
        "right": decided and decision.verdict == case.winner,
        "by": next((e.name for e in decision.evidence if e.verdict == decision.verdict), ""),
        "settings": repr({name: round(float(value), 4) for name, value in case.settings.items()}),
    }
