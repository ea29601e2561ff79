"""Planned numbers of problems and samples: unbiased variances, promised widths that are met, worst cases that hold."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_validation.concentration import concentration, mean_concentration
from llm_validation.moments import bootstrap_mean, moments, problem_moments
from llm_validation.pilot import Stretch, _fourth_cumulant, _Urn, of_concentration, of_difference, of_mean, of_variance
from llm_validation.plan import Plan, Target, _Wanted, plan, plan_assumed
from llm_validation.traces import Group, TraceError, Traces

H = 32


def traces(returns: np.ndarray, horizon: int = H) -> Traces:
    """Returns (X, m) at the budget as one run."""
    X, m = returns.shape
    value = returns.reshape(-1).astype(float)
    return Traces(
        problem=np.repeat(np.arange(X), m),
        problems=tuple(f"p{x}" for x in range(X)),
        group=np.zeros(X * m, dtype=np.int64),
        groups=(Group("m", ""),),
        correct=np.where(value > 0, 1.0, 0.0),
        tokens=np.where(value > 0, horizon + 1 - value, horizon),
        truncated=np.zeros(X * m, dtype=bool),
        score=np.full(X * m, math.nan),
    )


def sampled(X: int, m: int, rng: np.random.Generator, p: np.ndarray | None = None) -> np.ndarray:
    """Problems that are solved with probability Beta(1, 1.5), after tokens whose law differs by problem too."""
    solved = rng.random((X, m)) < (rng.beta(1.0, 1.5, X) if p is None else p)[:, None]
    return solved * (1.0 + rng.binomial(H - 1, rng.beta(2.0, 2.0, X)[:, None], (X, m)))


def law_moments(values: np.ndarray, law: np.ndarray) -> tuple[float, float, float]:
    """Variance, fourth cumulant and fourth central moment."""
    centred = values - values @ law
    variance, fourth = float(centred**2 @ law), float(centred**4 @ law)
    return variance, fourth - 3.0 * variance**2, fourth


@pytest.mark.parametrize("m", [4, 5])
def test_statistics_of_the_pilot_are_unbiased(m: int) -> None:
    """Over all samples of a law on three returns: k4, sigma^4 and the sampling variance average to the law's."""
    values, law = np.array([0.0, 1.0, 5.0]), np.array([0.5, 0.2, 0.3])
    variance, k4, _ = law_moments(values, law)
    picks = np.array(list(itertools.product(range(3), repeat=m)))
    weight = law[picks].prod(axis=1)
    problem, returns = np.repeat(np.arange(len(picks)), m), values[picks].reshape(-1)
    found = problem_moments(problem, returns)
    cumulant = _fourth_cumulant(problem, returns, found)
    assert cumulant @ weight == pytest.approx(k4)
    fourth = (m - 1) / (m + 1) * (found.variance**2 - cumulant / m)
    assert fourth @ weight == pytest.approx(variance**2)
    spread = found.variance**2 @ weight - variance**2
    assert spread == pytest.approx(k4 / m + 2.0 * variance**2 / (m - 1))


def test_models_of_means_and_variances_are_right() -> None:
    """A large pilot gives the variances of a problem's mean and of its unbiased variance at other numbers of samples.

    Two kinds of problems, laws known: B is the variance over the kinds; both kinds of noise are exact at every m.
    """
    values = np.array([0.0, 4.0, 16.0])
    laws = np.array([[0.7, 0.2, 0.1], [0.2, 0.3, 0.5]])
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 40_000)
    returns = values[(rng.random((kind.size, 6))[:, :, None] > laws.cumsum(axis=1)[kind][:, None, :2]).sum(axis=2)]
    exact = [law_moments(values, law) for law in laws]
    means, options = laws @ values, (2, 3, 6, 30)
    found = of_mean(traces(returns, 16), 16, options, 0)[0]
    for m in options:
        truth = np.var(means) + np.mean([e[0] for e in exact]) / m
        assert abs(found[m].variance[0] - truth) <= 4 * np.std(found[m].variance[1:])
    found = of_variance(traces(returns, 16), 16, options, 0)[0]
    for m in options:
        noise = np.mean([(fourth - (m - 3) / (m - 1) * v**2) / m for v, _, fourth in exact])
        truth = np.var([e[0] for e in exact]) + noise
        assert abs(found[m].variance[0] - truth) <= 4 * np.std(found[m].variance[1:])
        assert found[m].centre[0] == pytest.approx(np.mean([e[0] for e in exact]), rel=0.02)
        assert np.std(found[m].variance[1:]) < 0.03 * truth


def test_the_variance_of_a_paired_difference_is_right() -> None:
    """Difficulty that both runs share is no part of B; the noise of both is."""
    rng = np.random.default_rng(1)
    p = rng.beta(1.0, 1.0, 20_000)
    one = traces(1.0 * (rng.random((p.size, 3)) < p[:, None]), 1)
    two = traces(1.0 * (rng.random((p.size, 5)) < 0.5 * p[:, None]), 1)
    found = of_difference(one, two, 1, (2, 10), 0)[0]
    noise = (p * (1 - p)).mean() + (0.5 * p * (1 - 0.5 * p)).mean()
    for m in (2, 10):
        assert found[m].variance[0] == pytest.approx(0.25 * p.var() + noise / m, rel=0.03)


def width_of(target: Target, returns: np.ndarray, seed: int) -> float:
    """Width of the interval that the diagnosis gives for returns (X, m)."""
    number = np.repeat(np.arange(len(returns)), returns.shape[1])
    if target == "c":
        found = concentration(number, returns.reshape(-1), H, np.array([0.25]), 0.01)
        return mean_concentration(found, seed)[0].width
    return moments(problem_moments(number, returns.reshape(-1)), H, seed)[target].width


@pytest.mark.parametrize(
    ("target", "width", "options", "repeats"),
    [
        ("mu", 3.0, (2, 8), 16),
        ("sigma2", 30.0, (4, 16), 16),
        ("sigma", 1.5, (4, 16), 12),
        ("s", 0.05, (4, 16), 12),
        ("c", 0.65, (64,), 10),
    ],
)
def test_promised_widths_are_met_and_fewer_problems_do_not_do(
    target: Target, width: float, options: tuple[int, ...], repeats: int
) -> None:
    """Pilots of 100 x 16 (seeds 0..): the mean width at X(m) is .85-1.15 of the promised, at X(m)/2 above it."""
    met: dict[int, list[float]] = {m: [] for m in options}
    fewer: dict[int, list[float]] = {m: [] for m in options}
    for repeat in range(repeats):
        rng = np.random.default_rng([repeat, 0x71])
        planned = plan(traces(sampled(100, 16, rng)), H, target, width, seed=repeat, samples_options=options)
        for option in planned.options:
            assert option.problems is not None
            assert option.width <= width
            met[option.samples].append(width_of(target, sampled(option.problems, option.samples, rng), repeat))
            few = math.ceil(0.5 * option.problems)
            fewer[option.samples].append(width_of(target, sampled(few, option.samples, rng), repeat))
    for m in options:
        assert 0.85 <= np.mean(met[m]) / width <= 1.15, (m, np.mean(met[m]) / width)
        assert np.mean(fewer[m]) > width * (1.15 if target != "c" else 1.0), (m, np.mean(fewer[m]) / width)


def test_a_planned_difference_has_its_width() -> None:
    """With pilots of both runs the width is met, with fewer problems than if their difficulties were unrelated."""
    ratios, saved = [], []
    for repeat in range(12):
        rng = np.random.default_rng([repeat, 0x72])

        def pair(X: int, m: int, rng: np.random.Generator = rng) -> tuple[np.ndarray, np.ndarray]:
            p = rng.beta(1.0, 1.5, X)
            return sampled(X, m, rng, p), sampled(X, m, rng, 0.7 * p)

        one, two = pair(100, 16)
        both = plan(traces(one), H, "difference", 4.0, second=traces(two), samples_options=(4,)).options[0]
        alone = plan(traces(one), H, "difference", 4.0, samples_options=(4,))
        assert both.problems is not None
        assert both.traces == 2 * 4 * both.problems
        a, b = pair(both.problems, 4)
        ratios.append(bootstrap_mean(b.mean(axis=1) - a.mean(axis=1), repeat).width / 4.0)
        saved.append(both.problems / (alone.options[0].problems or math.inf))
        assert any("independently" in note for note in alone.notes)
    assert 0.85 <= np.mean(ratios) <= 1.15
    assert np.mean(saved) < 0.8


def test_the_range_of_the_pilot_holds_what_the_population_needs() -> None:
    """The 95% range of X(m) holds, for 8 in 10 of 20 pilots, the number that a pilot of 20,000 problems gives."""
    rng = np.random.default_rng(5)
    large = plan(traces(sampled(20_000, 16, rng)), H, "mu", 3.0, samples_options=(8,)).options[0]
    assert large.problems is not None
    assert large.problems_low is not None
    assert large.problems_high is not None
    assert large.problems_high - large.problems_low <= 0.1 * large.problems
    held = 0
    for repeat in range(20):
        found = plan(traces(sampled(60, 8, rng)), H, "mu", 3.0, seed=repeat, samples_options=(8,)).options[0]
        held += (found.problems_low or 0) <= large.problems <= (found.problems_high or math.inf)
    assert held >= 16


def test_the_number_of_problems_is_the_smallest() -> None:
    """One problem less is refused, and says what width it gives; the width at X is below, at X - 1 above the wanted."""
    pilot = traces(sampled(60, 8, np.random.default_rng(2)))
    (option,) = plan(pilot, H, "mu", 4.0, samples_options=(8,)).options
    assert option.problems is not None
    (less,) = plan(pilot, H, "mu", 4.0, samples_options=(8,), most_problems=option.problems - 1).options
    assert less.problems is None
    assert less.traces is None
    assert less.width > 4.0 >= option.width
    assert less.says == (
        f"{option.problems} problems are needed at m = 8, more than {option.problems - 1}, "
        f"which give a width of {less.width:.3g}"
    )


def test_bounds_of_c_have_a_floor() -> None:
    """Where the floor is above the wanted width no number of problems suffices, and 1,500 of them do not."""
    rng = np.random.default_rng(3)
    planned = plan(traces(sampled(60, 16, rng)), H, "c", 0.7, samples_options=(8, 64))
    eight, many = planned.options
    assert eight.problems is None
    assert eight.says == f"no number of problems suffices at m = 8: the width stays above {eight.floor:.3g}"
    assert many.problems is not None
    assert many.floor < 0.7 < eight.floor
    wide = width_of("c", sampled(1500, 8, rng), 0)
    assert wide > 0.7
    assert wide == pytest.approx(eight.floor, abs=0.06)  # a pilot of 60 problems only
    pilot = traces(sampled(400, 64, rng))
    models = [of_concentration(pilot, H, 0.25, (8,), seed)[0][8] for seed in range(4)]
    sampling = 2 * 1.96 * math.sqrt(models[0].variance[0] / (1500 * models[0].share[0]))
    floor = np.mean([model.floor[0] for model in models])
    assert width_of("c", sampled(1500, 8, rng), 1) - sampling == pytest.approx(floor, abs=0.01)
    assert planned.epsilon == 0.25
    assert planned.cheapest == many


def test_problems_that_never_vary_do_not_count_for_c() -> None:
    """Half of the problems never solved in 32 samples: some are taken not to vary, and as many more are needed."""
    rng = np.random.default_rng(12)
    p = np.concatenate([rng.uniform(0.3, 0.7, 80), np.zeros(80)])
    (model,) = of_concentration(traces(sampled(160, 32, rng, p)), H, 0.25, (64,), 0)[0].values()
    assert 0.5 <= model.share[0] <= 0.85
    wanted, stretch = _Wanted("c", H, 1.1 * model.floor[0], 0.95, None), Stretch.of(model.values, 0.95, 0)
    counting = dataclasses.replace(model, share=np.ones_like(model.share))
    needed, without = (float(wanted.fewest(m, stretch)[0]) for m in (model, counting))
    assert needed == pytest.approx(without / model.share[0], abs=2)


def test_skewed_values_need_more_problems() -> None:
    """Most problems hardly ever solved: the promised width is met on average over 30 pilots, at about 40 problems."""
    ratios = []
    for repeat in range(30):
        rng = np.random.default_rng([repeat, 0x98])
        pilot = traces(sampled(100, 16, rng, rng.beta(0.2, 1.5, 100)))
        X = plan(pilot, H, "mu", 3.0, seed=repeat, samples_options=(8,)).options[0].problems
        assert X is not None
        ratios.append(width_of("mu", sampled(X, 8, rng, rng.beta(0.2, 1.5, X)), repeat) / 3.0)
    assert 0.85 <= np.mean(ratios) <= 1.15


def test_new_samples_of_a_problem_follow_the_posterior() -> None:
    """H = 1: shares of m new samples are Beta-binomial with the own counts and the mass of the pooled share."""
    pilot = traces(np.array([[1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]]), 1)
    mass, m = 6.0, 20
    drawn = _Urn.of(pilot, 1, mass).draw(np.zeros(40_000, dtype=np.int64), m, np.random.default_rng(4))
    a, b = 3.0 + mass * 0.5, 1.0 + mass * 0.5
    mean, variance = a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1))
    assert drawn.mean() == pytest.approx(mean, abs=0.01)
    truth = variance + (mean * (1 - mean) - variance) / m
    assert drawn.mean(axis=1).var() == pytest.approx(truth, rel=0.02)
    assert drawn[:, 0].mean() == pytest.approx(drawn[:, -1].mean(), abs=0.01)


@pytest.mark.parametrize("target", ["mu", "difference", "sigma2"])
@given(st.data())
def test_no_population_exceeds_the_worst_case(target: Target, data: st.DataObject) -> None:
    """Random populations of laws on 0..8: the variance of y given their own sigma, spread and mean is at most assumed.

    What is given is the truth, or any part of it; the planned number of problems is then at least what is needed.
    """
    horizon, m = 8, data.draw(st.sampled_from([2, 3, 4, 9]))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    values = np.arange(horizon + 1.0)
    laws = rng.dirichlet(np.full(horizon + 1, data.draw(st.sampled_from([0.02, 0.1, 1.0]))), size=5)
    mean = laws @ values
    variance = laws @ values**2 - mean**2
    fourth = np.array([law_moments(values, law)[2] for law in laws])
    if target == "sigma2":
        true = variance.var() + ((fourth - (m - 3) / (m - 1) * variance**2) / m).mean()
        given_: dict[str, Any] = {"sigma": math.sqrt(variance.mean()), "spread": float(variance.std())}
    elif target == "mu":
        true = mean.var() + variance.mean() / m
        given_ = {"sigma": math.sqrt(variance.mean()), "spread": float(mean.std()), "mu": float(mean.mean())}
    else:
        other = mean[::-1]
        true = (mean - other).var() + 2 * variance.mean() / m
        given_ = {"sigma": math.sqrt(variance.mean()), "spread": float((mean - other).std())}
    part = {name: value for name, value in given_.items() if data.draw(st.booleans())}
    assert true > 0.0
    wanted = 0.02 * math.sqrt(true)
    (option,) = plan_assumed(horizon, target, wanted, samples_options=(m,), **part).options
    needed = (2 * 1.95996 / wanted) ** 2 * true
    assert option.problems is not None
    assert option.problems >= needed * (1 - 1e-4)
    if len(part) == len(given_) and target != "sigma2":
        assert option.problems <= needed * 1.01 + 5


def test_the_worst_case_is_attained() -> None:
    """Nothing given: problems always or never solved, B = H^2/4; for the variance two-point laws of known sigma."""
    (option,) = plan_assumed(8, "mu", 0.1, samples_options=(4,)).options
    assert option.problems == pytest.approx((2 * 1.95996 * 4.0 / 0.1) ** 2, rel=1e-3)
    m, p = 6, 0.2
    variance = 64 * p * (1 - p)
    fourth = 64**2 * p * (1 - p) * (1 - 3 * p * (1 - p))
    noise = (fourth - (m - 3) / (m - 1) * variance**2) / m
    (option,) = plan_assumed(8, "sigma2", 0.5, sigma=math.sqrt(variance), spread=0.0, samples_options=(m,)).options
    assert option.problems == pytest.approx((2 * 1.95996 / 0.5) ** 2 * noise, rel=1e-2)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 2.0, 4.0])
def test_no_sigma_needs_more_than_the_worst(sigma: float) -> None:
    """The plan for sigma without knowing it takes at least what any sigma takes."""
    for m in (2, 4, 16):
        (worst,) = plan_assumed(8, "sigma", 0.3, samples_options=(m,)).options
        (known,) = plan_assumed(8, "sigma", 0.3, sigma=sigma, samples_options=(m,)).options
        assert (worst.problems or math.inf) >= (known.problems or math.inf) * 0.98


def test_the_bootstrap_is_wider_for_few_and_skewed_values() -> None:
    """The stretch falls towards 1 in X, and is that of bootstrap_mean for values of such a law."""
    rng = np.random.default_rng(7)
    skewed = Stretch.of(rng.exponential(size=2000), 0.95, 0)
    plain = Stretch.of(np.zeros(0), 0.95, 0)
    numbers = np.array([5.0, 12.0, 20.0, 100.0, 1000.0, 10**8])
    assert (np.diff(skewed.at(numbers)) <= 0).all()
    assert skewed.at(numbers)[-1] == pytest.approx(1.0, abs=1e-3)
    assert skewed.at(numbers)[2] > plain.at(numbers)[2] >= 1.0
    widths = [bootstrap_mean(rng.exponential(size=20), r).width for r in range(400)]
    mean = 2 * 2.093 * np.mean([rng.exponential(size=20).std(ddof=1) for _ in range(400)]) / math.sqrt(20)
    assert skewed.at(np.array([20.0]))[0] == pytest.approx(np.mean(widths) / mean, rel=0.15)


def test_a_plan_counts_traces_and_tokens_and_is_plain_data() -> None:
    """Cost is X m traces of the pilot's mean length; the cheapest option has fewest; JSON holds it all."""
    pilot = traces(sampled(60, 8, np.random.default_rng(6)))
    found = plan(pilot, H, "s", 0.1, seed=3)
    assert [option.samples for option in found.options] == [4, 8, 16, 32, 64]
    for option in found.options:
        assert option.problems is not None
        assert option.traces == option.problems * option.samples
        assert option.tokens == pytest.approx(option.traces * pilot.tokens.mean())
    assert found.cheapest is not None
    assert found.cheapest.traces == min(option.traces or 0 for option in found.options)
    data = json.loads(json.dumps(found.as_dict()))
    assert data["cheapest"] == found.cheapest.samples
    assert data["options"][0]["problems"] == found.options[0].problems
    assert data == plan(pilot, H, "s", 0.1, seed=3).as_dict()


def test_censored_traces_of_the_pilot_are_said() -> None:
    """Traces cut off below the budget are left out, which the notes say."""
    pilot = traces(sampled(40, 8, np.random.default_rng(8)))
    pilot.correct[:30], pilot.truncated[:30], pilot.tokens[:30] = 0.0, True, 5.0
    found = plan(pilot, H, "mu", 3.0)
    assert "30 traces of unknown return are left out, 30 cut off: the spread may be larger" in found.notes


def made(**changed: object) -> Plan:
    """A plan from a small pilot, with something changed."""
    arguments: dict[str, object] = {"pilot": traces(sampled(20, 4, np.random.default_rng(9))), "target": "mu"}
    arguments |= {"horizon": H, "width": 3.0} | changed
    return plan(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"width": 0.0}, "width 0: expected a positive number"),
        ({"width": math.nan}, "width nan: expected a positive number"),
        ({"level": 1.0}, r"level 1: expected a number in \[0.5, 1\)"),
        ({"target": "mean"}, "target mean: expected one of mu, sigma, sigma2, s, c, difference"),
        ({"samples_options": ()}, "samples 0: expected whole numbers of at least 1 for mu"),
        ({"samples_options": (1,), "target": "s"}, "samples 1: expected whole numbers of at least 2 for s"),
        ({"most_problems": 3}, "most problems 3: expected at least 5"),
        ({"target": "c", "epsilon": -1.0}, "epsilon -1: expected a number of at least 0"),
        ({"pilot": traces(np.ones((9, 4)))}, "the pilot shows no spread that matters for mu: nothing can be planned"),
        ({"pilot": traces(np.ones((9, 4))), "target": "c"}, "the pilot shows no spread within problems"),
        ({"pilot": traces(np.ones((9, 1)))}, "the pilot has 0 problems with at least 2 samples"),
        ({"pilot": traces(np.eye(3)), "target": "sigma"}, "the pilot has 0 problems with at least 4 samples"),
        (
            {"second": traces(np.ones((4, 1))), "target": "difference"},
            "the pilots share 0 problems with at least 2 samples in both, expected 2",
        ),
    ],
)
def test_what_cannot_be_planned_gives_one_line(changed: dict[str, object], line: str) -> None:
    """Options out of range and pilots too small: one line that says what was expected."""
    with pytest.raises(TraceError, match=f"^{line}") as caught:
        made(**changed)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"target": "c"}, "c cannot be planned without a pilot"),
        ({"target": "mu", "sigma": 20.0}, r"sigma = 20: expected a number in \[0, 16\] at H = 32"),
        ({"target": "mu", "sigma": 16.0, "spread": 9.0}, "sigma and spread give more than the largest variance"),
        ({"target": "s", "sigma": 0.1, "spread": 100.0}, "no returns in 0..32 have such a spread of their variances"),
    ],
)
def test_what_no_returns_have_gives_one_line(arguments: dict[str, float], line: str) -> None:
    """Assumptions that contradict the range of the return, and c, are refused."""
    with pytest.raises(TraceError, match=f"^{line}"):
        plan_assumed(H, width=0.1, **arguments)  # type: ignore[arg-type]
