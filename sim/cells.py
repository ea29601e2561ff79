r"""What a sweep is: one frozen configuration, and one cell for each horizon.

A cell is a pure function of its *identity* (instance, law, s, H, n, log2 M, the rule for epsilon, seed): its random
keys derive from the identity and from the number of the trial, never from the order or the company in which it runs.

* data budget ``n = rule(H)``, rounded up, at least 1: ``n=C``, ``n=C*H``, ``n=C*H^p``;
* expert ``epsilon``: ``capacity:A`` is :math:`\varepsilon^2=A\log M/n`, capped at sigma/rho where the expert would be
  truncated; ``optimal`` maximises the lower bound on the VF regret; a number is itself.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from sim.ranges import parse_horizons

if TYPE_CHECKING:
    from theory.laws import ReturnLaw
    from theory.theorem import Instance, Theorem

__all__ = ["INSTANCES", "LAWS", "Cell", "DataRule", "EpsilonRule", "SweepConfig"]

INSTANCES = ("codebook", "parity")
LAWS = ("two-point", "symmetric-two-point", "uniform")
MAX_LOG2_M = {("codebook", "two-point"): 4096, ("codebook", "symmetric-two-point"): 4096, ("codebook", "uniform"): 20}
MAX_PARITY_BITS = 20
MAX_N = 1_000_000
MIN_S = 1e-6  # below, mu +- sigma loses its digits to mu


@dataclass(frozen=True, slots=True)
class DataRule:
    """n = ceil(constant * H^power), at least 1. ``text`` is the rule as written."""

    text: str
    constant: Fraction
    power: Fraction

    @classmethod
    def parse(cls, text: str) -> DataRule:
        """``n=C``, ``n=H``, ``n=C*H``, ``n=H^p``, ``n=C*H^p`` with C > 0. Raises ``ValueError``."""
        number = r"[0-9]{1,12}(?:\.[0-9]{1,12})?(?:e[+-]?[0-9]{1,2})?"
        match = re.fullmatch(rf"n=(?:({number})|(?:({number})\*)?H(?:\^(-?{number}))?)", text.replace(" ", ""))
        if match is None:
            raise ValueError(f"--rule {text}: expected n=C, n=C*H or n=C*H^p")
        constant = Fraction(match[1] or match[2] or 1)
        power = Fraction(0) if match[1] else Fraction(match[3] or 1)
        if constant <= 0:
            raise ValueError(f"--rule {text}: expected a constant above 0")
        if abs(power) > 8:
            raise ValueError(f"--rule {text}: expected a power between -8 and 8")
        return cls(text, constant, power)

    def __call__(self, H: int) -> int:
        """n at horizon H. Raises ``ValueError`` above a million traces."""
        if self.power.denominator == 1:
            n = math.ceil(self.constant * Fraction(H) ** int(self.power))  # exact: 0.1*30 is 3, not 4
        else:
            real = float(self.constant) * float(H) ** float(self.power)
            n = math.ceil(real - 1e-9 * real)
        if n > MAX_N:
            raise ValueError(f"--rule {self.text}: n = {float(n):.6g} at H = {H}, expected at most {MAX_N}")
        return max(n, 1)


@dataclass(frozen=True, slots=True)
class EpsilonRule:
    """How strong the expert is: ``kind`` is ``optimal``, ``capacity`` (value A) or ``fixed`` (value epsilon)."""

    text: str
    kind: str
    value: float

    @classmethod
    def parse(cls, text: str) -> EpsilonRule:
        """``optimal``, ``capacity:A`` with A > 0, or a number in (0, 1]. Raises ``ValueError``."""
        if text == "optimal":
            return cls(text, "optimal", math.nan)
        kind, _, number = text.rpartition(":")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if kind == "capacity" and 0.0 < value < math.inf:
            return cls(text, "capacity", value)
        if kind == "" and 0.0 < value <= 1.0:
            return cls(text, "fixed", value)
        raise ValueError(f"--epsilon {text}: expected optimal, capacity:A with A > 0, or a number in (0, 1]")


@dataclass(frozen=True, slots=True)
class SweepConfig:
    """Everything that decides the numbers of a sweep; ``learners`` and ``N`` decide only which are reported."""

    horizons: tuple[int, ...]
    rule: str = "n=H"
    instance: str = "codebook"
    law: str = "two-point"
    s: float = 0.5
    log2_M: int = 64
    epsilon: str = "capacity:1"
    seeds: int = 256
    seed: int = 0
    N: int = 16
    learners: tuple[str, ...] = ()

    @classmethod
    def checked(cls, horizon: str, **values: Any) -> SweepConfig:
        """A valid configuration from the command line's values. Raises ``ValueError`` with one line."""
        config = cls(horizons=parse_horizons(horizon), **values)
        DataRule.parse(config.rule)
        EpsilonRule.parse(config.epsilon)
        _choice("--instance", config.instance, INSTANCES)
        _choice("--law", config.law, LAWS)
        if not MIN_S <= config.s <= 0.5:
            raise ValueError(f"--s {config.s:g}: expected {MIN_S:g} <= s <= 0.5")
        if config.law != "symmetric-two-point" and config.s != 0.5:
            raise ValueError(
                f"--s {config.s:g}: only --law symmetric-two-point takes a spread, {config.law} has its own"
            )
        largest = MAX_PARITY_BITS if config.instance == "parity" else MAX_LOG2_M["codebook", config.law]
        if not 1 <= config.log2_M <= largest:
            what = f"{config.instance} with law {config.law}"
            raise ValueError(f"--log2-M {config.log2_M}: expected a whole number in 1..{largest} for {what}")
        for name, value, low, high in (("--seeds", config.seeds, 2, 10**7), ("--N", config.N, 1, 10**9)):
            if not low <= value <= high:
                raise ValueError(f"{name} {value}: expected a whole number in {low}..{high}")
        if not 0 <= config.seed < 2**63:
            raise ValueError(f"--seed {config.seed}: expected a whole number in 0..2^63-1")
        for H in config.horizons:
            DataRule.parse(config.rule)(H)
        return config

    def as_dict(self) -> dict[str, Any]:
        """Plain data for manifests."""
        return {**asdict(self), "horizons": list(self.horizons), "learners": list(self.learners)}

    def cells(self) -> tuple[Cell, ...]:
        """One cell a horizon, increasing. Raises ``ValueError`` where a fixed epsilon would be truncated."""
        rule = DataRule.parse(self.rule)
        found = tuple(
            Cell(self.instance, self.law, self.s, H, rule(H), self.log2_M, self.epsilon, self.seed, self.N)
            for H in self.horizons
        )
        fixed = EpsilonRule.parse(self.epsilon)
        if fixed.kind == "fixed":
            for cell in found:
                if fixed.value > cell.return_law.max_epsilon * (1.0 + 1e-12):
                    limit = cell.return_law.max_epsilon
                    raise ValueError(
                        f"--epsilon {self.epsilon}: expected at most sigma/rho = {limit:.6g} at H = {cell.H}"
                    )
        return found


def _choice(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{option} {value}: expected one of {', '.join(known)}")


@dataclass(frozen=True)
class Cell:
    """One horizon of a sweep. Derived quantities (tokens, probabilities) are computed once and kept."""

    instance: str
    law: str
    s: float
    H: int
    n: int
    log2_M: int
    epsilon_rule: str
    seed: int
    N: int

    @property
    def identity(self) -> str:
        """Canonical text of what the random numbers may depend on (not N, not the learners, not the company)."""
        names = ("instance", "law", "s", "H", "n", "log2_M", "epsilon_rule", "seed")
        return json.dumps({name: getattr(self, name) for name in names}, sort_keys=True)

    @property
    def key_words(self) -> tuple[int, int, int, int]:
        """Four 32-bit words of a digest of the identity, to be folded into a key."""
        digest = hashlib.sha256(self.identity.encode()).digest()
        words = [int.from_bytes(digest[4 * i : 4 * i + 4], "big") for i in range(4)]
        return words[0], words[1], words[2], words[3]

    @cached_property
    def return_law(self) -> ReturnLaw:
        """Base law of the return, tokens."""
        from theory.laws import symmetric_two_point, two_point, uniform

        if self.law == "two-point":
            return two_point(self.H)
        return symmetric_two_point(self.H, self.s) if self.law == "symmetric-two-point" else uniform(self.H)

    @cached_property
    def mu(self) -> float:
        """Mean return of the base, tokens."""
        return self.return_law.mean

    @cached_property
    def sigma(self) -> float:
        """Heterogeneity of the base, tokens."""
        return self.return_law.sd

    @cached_property
    def rho(self) -> float:
        """Half-range of the return, tokens."""
        return self.return_law.half_range

    @cached_property
    def vf_lower(self) -> Theorem:
        """The sharpest lower bound on the VF regret that speaks of this law."""
        from theory.verifier_free import VF_LOWER, VF_LOWER_TRUNCATED

        return VF_LOWER_TRUNCATED if self.return_law.is_symmetric_two_point else VF_LOWER

    @cached_property
    def epsilon(self) -> float:
        """Square root of the radius of the chi-squared ball; the expert is never truncated."""
        from theory.notation import log_M

        rule = EpsilonRule.parse(self.epsilon_rule)
        limit = self.return_law.max_epsilon
        if rule.kind == "fixed":
            return min(rule.value, limit)
        if rule.kind == "capacity":
            return min(math.sqrt(rule.value * log_M(self.log2_M) / self.n), limit)
        bound = self.vf_lower.evaluate(H=self.H, n=self.n, log2_M=self.log2_M, sigma=self.sigma, rho=self.rho)
        return float(bound.extras["epsilon"])

    @cached_property
    def kappa(self) -> float:
        """Radius of the ball."""
        return self.epsilon**2

    @cached_property
    def c(self) -> float:
        """Anti-concentration of the base at epsilon."""
        return self.return_law.anti_concentration(self.epsilon)

    @property
    def expert_value(self) -> float:
        """J of the best policy in the ball, tokens."""
        return self.mu + self.epsilon * self.sigma

    @cached_property
    def expert_sd(self) -> float:
        """sigma_e: standard deviation of the return under the expert, the same on every prompt, tokens."""
        return self.return_law.tilted(self.epsilon).sd

    @cached_property
    def described(self) -> Instance:
        """This cell as a statement of :mod:`theory` sees it."""
        from theory.theorem import Instance

        signs: Literal["independent", "pairwise-independent"]
        signs = "independent" if self.instance == "codebook" else "pairwise-independent"
        return Instance(self.instance, signs, self.return_law)

    @cached_property
    def uninformative(self) -> float:
        """P(R = mu): the share of labelled base traces whose return does not reveal the sign."""
        centred = abs(self.return_law.values - self.mu)
        return float(self.return_law.probabilities[centred <= 1e-12 * self.H].sum())
