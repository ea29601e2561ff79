from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.cells import DataRule, EpsilonRule, SweepConfig


@given(st.integers(1, 512), st.decimals("0.01", "40", places=2))
def test_a_linear_rule_is_rounded_up_exactly(H: int, constant: object) -> None:
    """n = C*H is the exact product rounded up: 0.1*30 is 3, not 4."""
    assert DataRule.parse(f"n={constant}*H")(H) == max(math.ceil(Fraction(str(constant)) * H), 1)


@pytest.mark.parametrize(
    ("text", "H", "n"),
    [
        ("n=H", 7, 7),
        ("n=256", 7, 256),
        ("n=16*H", 3, 48),
        ("n=H^0.5", 16, 4),
        ("n=2*H^2", 5, 50),
        ("n=0.001*H", 5, 1),
        ("n=H^-1", 9, 1),
    ],
)
def test_every_form_of_rule(text: str, H: int, n: int) -> None:
    """n=C, n=C*H, n=C*H^p, rounded up, at least 1."""
    assert DataRule.parse(text)(H) == n


@pytest.mark.parametrize("text", ["n=Q", "H", "n=", "n=-1*H", "n=0", "n=H^99", "n=H*2", "n=1e400"])
def test_other_rules_are_refused(text: str) -> None:
    """A rule that is none of the forms raises one line naming it."""
    with pytest.raises(ValueError, match="--rule"):
        DataRule.parse(text)(512)


@pytest.mark.parametrize(
    "text", ["2", "0", "-0.1", "capacity:0", "capacity:-1", "capacity:inf", "nan", "best", "capacity:"]
)
def test_other_epsilons_are_refused(text: str) -> None:
    """epsilon is optimal, capacity:A with A > 0, or a number in (0, 1]."""
    with pytest.raises(ValueError, match="--epsilon"):
        EpsilonRule.parse(text)


def test_capacity_is_capped_where_the_expert_would_be_truncated() -> None:
    """epsilon^2 = A log M / n, and never above sigma/rho."""
    cells = SweepConfig.checked("8,512", law="uniform", log2_M=16).cells()
    assert cells[0].epsilon == pytest.approx(cells[0].sigma / cells[0].rho, rel=1e-12)
    assert cells[1].epsilon == pytest.approx(math.sqrt(16 * math.log(2) / 512), rel=1e-12)


def test_a_fixed_epsilon_beyond_truncation_names_the_horizon() -> None:
    """A fixed epsilon that one horizon cannot carry is refused, naming that horizon."""
    with pytest.raises(ValueError, match="H = 4"):
        SweepConfig.checked("1,4", law="uniform", log2_M=4, epsilon="0.8").cells()


def test_identity_ignores_what_is_only_reported() -> None:
    """N and the learners do not enter the identity; every other field does."""
    base = SweepConfig.checked("64").cells()[0]
    assert SweepConfig.checked("64", N=3, learners=("base",)).cells()[0].key_words == base.key_words
    for change in (
        {"seed": 1},
        {"epsilon": "0.5"},
        {"rule": "n=65"},
        {"log2_M": 63},
        {"instance": "parity", "log2_M": 8},
    ):
        assert SweepConfig.checked("64", **change).cells()[0].key_words != base.key_words
