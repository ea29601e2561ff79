"""Symbols of the project: name in code, letter in the mathematics, unit, domain.

One fact, one place: every parameter of every statement, every option of a command and every column of a
table that is a symbol of the theory takes its meaning and its unit from here.

Setting (Setlur, Rajaraman, Levine & Kumar, ICML 2025, arXiv 2502.12118): a prompt x, a trace of H tokens, a
bi-level reward r_h in {0, 1} nondecreasing in h, the return R = sum_h r_h in {0, ..., H}, a base policy with
mean mu and standard deviation sigma of R, and experts within chi-squared radius kappa = epsilon^2 of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["LN2", "SYMBOLS", "Symbol", "log_M", "log_M_minus_1"]

LN2 = math.log(2.0)


@dataclass(frozen=True, slots=True)
class Symbol:
    """One symbol: ``name`` in code, ``latex``, ``meaning``, ``unit``, and the interval it lives in.

    ``low`` and ``high`` are inclusive unless ``open_low``; ``integer`` symbols take whole numbers only.
    """

    name: str
    latex: str
    meaning: str
    unit: str
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    integer: bool = False

    def check(self, value: float) -> float:
        """Return ``value`` as a float; raise ``ValueError`` naming the value and what was expected."""
        number = float(value)
        low_ok = number > self.low if self.open_low else number >= self.low
        whole_ok = not self.integer or number.is_integer()
        if not (math.isfinite(number) and low_ok and number <= self.high and whole_ok):
            raise ValueError(f"{self.name} = {value:.12g}: expected {self.domain}")
        return number

    @property
    def domain(self) -> str:
        """The interval in words, such as ``a whole number in [1, inf)``."""
        left = "(" if self.open_low or self.low == -math.inf else "["
        right = ")" if self.high == math.inf else "]"
        kind = "a whole number" if self.integer else "a number"
        return f"{kind} in {left}{self.low:g}, {self.high:g}{right}"


SYMBOLS: dict[str, Symbol] = {
    symbol.name: symbol
    for symbol in (
        Symbol("H", "H", "token budget (horizon)", "tokens", low=1, integer=True),
        Symbol("n", "n", "number of training traces", "traces", low=1, integer=True),
        Symbol("log2_M", r"\log_2 M", "size of the policy or verifier class, in bits", "bits", 0, open_low=True),
        Symbol("mu", r"\mu", "mean of the return under the base policy", "tokens", 0),
        Symbol("sigma", r"\sigma", "standard deviation of the return (heterogeneity)", "tokens", 0),
        Symbol("rho", r"\rho", "half-range of the return", "tokens", 0, open_low=True),
        Symbol("epsilon", r"\varepsilon", "square root of the radius of the chi-squared ball", "-", 0),
        Symbol("kappa", r"\kappa", "radius of the chi-squared ball, epsilon^2", "-", 0),
        Symbol("c", "c", "anti-concentration: P[R >= mu + epsilon sigma] under the base", "probability", 0, 1, True),
        Symbol("delta", r"\delta", "failure probability", "probability", 0, 1, open_low=True),
        Symbol("epsilon_ver", r"\varepsilon_{\mathrm{ver}}", "mean absolute error of the verifier", "tokens", 0),
        Symbol("N", "N", "number of draws of best-of-N", "traces", low=1, integer=True),
        Symbol("R_min", r"R_{\min}", "smallest return in the support of the base", "tokens", 0),
        Symbol(
            "symmetric", r"\mathrm{sym}", "1 if the return is symmetric about its mean, else 0", "-", 0, 1, integer=True
        ),
        Symbol("psi", r"\psi", "probability that the fitted verifier is the true one", "probability", 0, 1),
        Symbol(
            "K",
            "K",
            "most agreements of a hypothesis with the data that a truncated bound keeps",
            "traces",
            -1,
            integer=True,
        ),
        Symbol("eta", r"\eta", "probability that a label is flipped", "probability", 0, 0.5),
        Symbol("p_e", "p_e", "probability that the outside expert solves a prompt", "probability", 0, 1, True),
        Symbol("V", r"\lvert V\rvert", "size of the vocabulary", "tokens", 2, integer=True),
        Symbol("ell", r"\ell", "length of the gold subsequence", "tokens", 1, integer=True),
        Symbol("gamma", r"\gamma", "focus of the procedural policy: log odds of the next gold token", "nats"),
    )
}


def log_M(log2_M: float) -> float:
    """L = log M in nats."""
    return log2_M * LN2


def log_M_minus_1(log2_M: float) -> float:
    """log(M - 1) in nats, without forming M; ``-inf`` at M = 1."""
    fraction = 2.0 ** (-log2_M) if log2_M < 1074 else 0.0
    return log_M(log2_M) + math.log1p(-fraction) if fraction < 1.0 else -math.inf
