r"""The planted task as experiments use it: data sets, values of all learners, the bounds that speak of them.

Learners over the finite class of maps are those of :mod:`sim.training.planted_learners`; trainers that need no class
(:mod:`sim.training.registry`) see the prompt and how much of the gold is matched, not gamma. Lower bounds of
:mod:`theory` speak of the codebook: here they are predictions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.cells import EpsilonRule
from sim.experiments.experiment import Cell, Measurement, Samples
from sim.tasks.planted import Planted
from sim.training.planted_class import MapClass, Traces, completions
from sim.training.planted_learners import CLASS_LEARNERS, PlantedLearners
from sim.verdict import Side
from theory.chi2_ball import CHI2_EXPERT
from theory.gap import GAP_FREE
from theory.log_space import log_binomial_pmf
from theory.theorem import Instance
from theory.verifier import VERIFIER_ERM
from theory.verifier_based import VB_UPPER_BEST_OF_N, VB_UPPER_TOP_C
from theory.verifier_free import VF_UPPER, closed_form_window

if TYPE_CHECKING:
    import jax

    from sim.tasks.token_task import TokenTask

__all__ = [
    "GAPS",
    "MAX_N",
    "MAX_SEEDS",
    "TRAINERS",
    "cyclic_prompts",
    "drawn_traces",
    "epsilon_at",
    "gap_samples",
    "judged",
    "learners_at",
    "measured",
]

Floats = NDArray[np.float64]

#: Trainers that need no class.
TRAINERS = ("vf-count-mle", "vb-logistic-best-of-n")
#: Gap -> (minuend, subtrahend): differences of J, or of the expert's value and J.
GAPS = {
    "vf_regret": ("expert", "vf-class-mle"),
    "ball_gap": ("vb-erm-ball", "vf-class-mle"),
    "free_gap": ("vb-erm-top-c", "vf-class-mle"),
    "equal_draws_gap": ("vb-erm-top-c", "vf-rejection"),
    "trained_gap": ("vb-logistic-best-of-n", "vf-count-mle"),
}
#: Traces of a data set, and data sets, at most: their product numbers the draws of a key.
MAX_N, MAX_SEEDS = 2**14, 2**16
#: Traces that are drawn in one call, whose shape is compiled once.
_BLOCK = 2**12
_PICKS = {"vf-class-mle": "vf-class-mle", "vf-rejection": "vf-rejection", **dict.fromkeys(CLASS_LEARNERS[2:], "vb-erm")}
_PLANTED = Instance("planted")
#: Steps of the trainers' gradient ascent.
_ITERATIONS = 200
#: Numbers of solved traces that are less probable than this are counted as none.
_RARE = 1e-12


def cyclic_prompts(V: int, ell: int, count: int) -> tuple[tuple[int, ...], ...]:
    """``count`` words i, i + 1, .. mod V of different tokens, first letters spread evenly: one law for all of them."""
    return tuple(tuple((i * V // count + k) % V for k in range(ell)) for i in range(count))


def epsilon_at(rule: EpsilonRule, n: int, M: int) -> float:
    """A number, or of ``capacity:A`` the root of A log M / n, at most 1."""
    return rule.value if rule.kind == "fixed" else min(math.sqrt(rule.value * math.log(M) / n), 1.0)


@lru_cache(maxsize=64)
def learners_at(config: Planted, H: int, epsilon: float, N: int) -> PlantedLearners:
    """The learners at horizon ``H``, in tables as long as the task's."""
    return PlantedLearners(_class(config), H, config.H, epsilon**2, N)


@lru_cache(maxsize=64)
def _class(config: Planted) -> MapClass:
    return MapClass(config)


@lru_cache(maxsize=4)
def _task(config: Planted) -> TokenTask:
    return config.build()


def measured(
    learners: PlantedLearners, names: Sequence[str], cell: Cell, n: int, seeds: int
) -> dict[str, NDArray[np.float64]]:
    """J of each learner called, how often its pick plays as the truth, and the verifier's error: (seeds,) each.

    Given the data they are means over ties. Verifier-based learners and ``vf-rejection`` see the same base traces.
    """
    import jax

    task = _task(learners.config).at(learners.H)
    expert = task.reweighted(learners.expert.weights[:, learners.own])
    found: dict[str, NDArray[np.float64]] = {}
    with jax.enable_x64(True):
        if "vf-class-mle" in names:
            data = drawn_traces(expert, np.asarray(expert.base), cell.key(0), n, seeds, learners.H)
            _picked(learners, found, "vf-class-mle", learners.cloned(data), names)
        if set(names) & set(CLASS_LEARNERS[1:]):
            wide = np.broadcast_to(task.base, (task.mdp.steps, *task.base.shape))
            data = drawn_traces(task, wide, cell.key(1), n, seeds, learners.H)
            read = completions(learners.members, data)
            if "vf-rejection" in names:
                _picked(learners, found, "vf-rejection", learners.rejected(data, read), names)
            if set(names) & set(CLASS_LEARNERS[2:]):
                _picked(learners, found, "vb-erm", learners.verified(data, read), names)
        for number, name in enumerate(TRAINERS):
            if name in names:
                found[f"J {name}"] = _trained(name, learners, task, expert, cell.key(2 + number), n, seeds)
    return found


def _picked(
    learners: PlantedLearners, found: dict[str, NDArray[np.float64]], pick: str, law: Floats, names: Sequence[str]
) -> None:
    members = learners.members
    as_truth = (members.numbers == members.truth[:, None]).all(axis=0)
    found[f"hit {pick}"] = law @ as_truth
    if pick == "vb-erm":
        found["verifier_error"] = law @ learners.errors
    for name in names:
        if _PICKS.get(name) == pick:
            found[f"J {name}"] = law @ learners.values[name]


def drawn_traces(task: TokenTask, policy: Floats, key: jax.Array, n: int, seeds: int, H: int) -> Traces:
    """``n`` traces of ``policy`` for each of ``seeds`` data sets; a trace has the same tokens in any company."""
    from sim.rollout import rollout_traces

    numbers = (np.arange(seeds)[:, None] * MAX_N + np.arange(n)).reshape(-1).astype(np.int32)
    prompts, tokens = [], []
    for start in range(0, len(numbers), _BLOCK):
        block = np.resize(numbers[start : start + _BLOCK], _BLOCK)
        outcomes, traces = rollout_traces(task.mdp, policy, key, block)
        prompts.append(np.asarray(outcomes.prompt))
        tokens.append(np.asarray(traces.tokens[:, :H]))
    first, words = np.concatenate(prompts)[: len(numbers)], np.concatenate(tokens)[: len(numbers)]
    return Traces(words, task.prompt[first].astype(np.int64), np.repeat(np.arange(seeds), n), seeds)


def _trained(
    name: str, learners: PlantedLearners, task: TokenTask, expert: TokenTask, key: jax.Array, n: int, seeds: int
) -> Floats:
    import jax

    from sim.training.problem import Problem, Settings
    from sim.training.registry import values_over_keys

    problem = Problem.of(
        task.mdp,
        task.base,
        expert=expert.base,
        expert_weights=expert.mdp.weights,
        prompt=task.prompt,
        observed=learners.config.observed,
    )
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, np.arange(seeds))
    settings = Settings(N=float(learners.N), iterations=_ITERATIONS)
    return np.asarray(values_over_keys(name, problem, settings, keys, n, n))


def judged(learners: PlantedLearners, samples: Samples, n: int) -> list[Measurement]:
    """Regrets against the ball's best policy, J, gaps, hits and the verifier's error, with the bounds proven there."""
    H, best = learners.H, learners.expert_moments[0]
    names = [name.removeprefix("J ") for name in samples if name.startswith("J ")]
    found = [_regret(learners, name, samples[f"J {name}"], n) for name in names]
    found += [
        Measurement("J", "base", "tokens", exact=learners.moments[0], scale=H),
        Measurement("J", "expert", "tokens", exact=best, scale=H),
    ]
    found += [Measurement("J", name, "tokens", samples[f"J {name}"], reach=(0.0, H), scale=H) for name in names]
    found += _gaps(learners, samples, n)
    if "verifier_error" in samples:
        bound = VERIFIER_ERM.evaluate(H=H, n=n, log2_M=_bits(learners))
        side = Side.of(bound, VERIFIER_ERM.speaks_of(_PLANTED))
        error = samples["verifier_error"]
        found.append(Measurement("verifier_error", "vb-erm", "tokens", error, upper=side, reach=(0.0, H), scale=H))
    found += [
        Measurement("hit", name.removeprefix("hit "), "probability", values, reach=(0.0, 1.0))
        for name, values in samples.items()
        if name.startswith("hit ")
    ]
    return [*found, *_known(learners)]


def _known(learners: PlantedLearners) -> list[Measurement]:
    """What is exact of base and expert: spread, and anti-concentration at the expert's radius."""
    return [
        Measurement("sigma", "base", "tokens", exact=learners.moments[1], scale=learners.H),
        Measurement("sigma", "expert", "tokens", exact=learners.expert_moments[1], scale=learners.H),
        Measurement("anti_concentration", "base", "probability", exact=learners.c),
        Measurement("solve_rate", "base", "probability", exact=1.0 - float(learners.laws[-1][learners.own].mean())),
    ]


def _bits(learners: PlantedLearners) -> float:
    return math.log2(learners.config.size)


def _regret(learners: PlantedLearners, name: str, values: Floats, n: int) -> Measurement:
    H, best = learners.H, learners.expert_moments[0]
    lower, upper = None, None
    if name == "vf-class-mle":
        upper = _vf_upper(learners, n, learners.expert_moments[1])
    elif name == "vf-rejection":
        upper = _rejection_upper(learners, n)
    elif name == "vb-erm-ball":
        mu, sigma = learners.moments
        ball = CHI2_EXPERT.evaluate(mu=mu, sigma=sigma, epsilon=math.sqrt(learners.kappa), H=H)
        # The claim "best": no policy of the ball is worth more than the ball's best one.
        lower = Side.of(ball, CHI2_EXPERT.speaks_of(_PLANTED), 0.0)
    elif name in ("vb-erm-top-c", "vb-erm-best-of-n"):
        upper = _search_upper(learners, n, name)
    prediction = closed_form(learners, n) if name == "vf-class-mle" else math.nan
    label = "vf-lower, closed form" if name == "vf-class-mle" else ""
    return Measurement(
        "regret", name, "tokens", best - values, math.nan, lower, upper, (best - H, best), H, prediction, label
    )


def closed_form(learners: PlantedLearners, n: int) -> float:
    """sigma sqrt(L/(8n)), tokens, which ``vf-lower`` proves on the codebook."""
    sigma = learners.moments[1]
    return closed_form_window({"n": n, "log2_M": _bits(learners), "sigma": sigma, "rho": learners.H / 2})["value"]


def _vf_upper(learners: PlantedLearners, n: int, sigma: float) -> Side:
    found = VF_UPPER.evaluate(H=learners.H, n=n, log2_M=_bits(learners), sigma=sigma)
    return Side.of(found, VF_UPPER.speaks_of(_PLANTED))


def _rejection_upper(learners: PlantedLearners, n: int) -> Side:
    """``vf-upper`` averaged over how many of n base traces are solved; H for none.

    Given their number these are traces of the base given solved, prompts as likely as before where all are solved
    equally often: else nothing is claimed.
    """
    H, best = learners.H, learners.expert_moments[0]
    own, sigma = learners.solved_moments
    rates = 1.0 - learners.laws[-1][learners.own]
    rate = float(rates.mean())
    pmf = np.exp(log_binomial_pmf(n, rate)) if 0.0 < rate < 1.0 else np.eye(n + 1)[round(n * rate)]
    sides = {int(m): _vf_upper(learners, int(m), sigma) for m in np.flatnonzero(pmf > _RARE) if m > 0}
    told = sum(min(side.bound, H) * pmf[m] for m, side in sides.items())
    bound = best - own + float(told) + H * (1.0 - float(sum(pmf[m] for m in sides)))
    proven = all(side.proven for side in sides.values()) and float(np.ptp(rates)) <= _RARE
    return Side("vf-upper", bound, proven, proven and bound < H)


def _search_upper(learners: PlantedLearners, n: int, name: str) -> Side:
    H, (mu, sigma), c = learners.H, learners.moments, learners.kept
    if name == "vb-erm-top-c":
        top = VB_UPPER_TOP_C.evaluate(H=H, n=n, log2_M=_bits(learners), c=c, epsilon=learners.radius)
        return Side.of(top, learners.c > 0.0 and VB_UPPER_TOP_C.speaks_of(_PLANTED))
    kept = VB_UPPER_BEST_OF_N.evaluate(
        H=H, n=n, log2_M=_bits(learners), c=c, epsilon=learners.radius, mu=mu, sigma=sigma, N=learners.N
    )
    return Side.of(kept, learners.c > 0.0 and VB_UPPER_BEST_OF_N.speaks_of(_PLANTED))


def gap_samples(learners: PlantedLearners, samples: Samples, gap: str) -> Floats | None:
    """The difference (trials,) that a gap is, tokens, if its learners were measured."""
    minuend, subtrahend = GAPS[gap]
    if f"J {subtrahend}" not in samples or (minuend != "expert" and f"J {minuend}" not in samples):
        return None
    more = learners.expert_moments[0] if minuend == "expert" else samples[f"J {minuend}"]
    return np.asarray(more - samples[f"J {subtrahend}"])


def _gaps(learners: PlantedLearners, samples: Samples, n: int) -> list[Measurement]:
    found = []
    for gap, (minuend, subtrahend) in GAPS.items():
        values = gap_samples(learners, samples, gap)
        if values is None:
            continue
        upper = _gap_upper(learners, gap, n)
        prediction, label = _gap_prediction(learners, gap, n)
        found.append(
            Measurement(
                gap,
                f"{minuend} - {subtrahend}",
                "tokens",
                values,
                upper=upper,
                reach=(-float(learners.H), float(learners.H)),
                scale=learners.H,
                prediction=prediction,
                prediction_label=label,
            )
        )
    return found


def _gap_upper(learners: PlantedLearners, gap: str, n: int) -> Side | None:
    """What stays in the ball is worth at most its best policy; top-c lies in the ball of radius 1/c - 1."""
    if gap not in ("vf_regret", "ball_gap", "free_gap"):
        return None
    cloned = _vf_upper(learners, n, learners.expert_moments[1])
    if gap != "free_gap":
        return cloned
    (mu, sigma), H = learners.moments, learners.H
    ball = CHI2_EXPERT.evaluate(mu=mu, sigma=sigma, epsilon=math.sqrt(1.0 / learners.kept - 1.0), H=H)
    side = Side.of(ball, cloned.proven and CHI2_EXPERT.speaks_of(_PLANTED))
    bound = min(ball.value, H) - learners.expert_moments[0] + cloned.bound
    return dataclasses.replace(
        side, label="vf-upper + chi2-expert", bound=bound, valid=side.proven and cloned.valid and bound < H
    )


def _gap_prediction(learners: PlantedLearners, gap: str, n: int) -> tuple[float, str]:
    if gap in ("vf_regret", "ball_gap"):
        return closed_form(learners, n), "vf-lower, closed form"
    if gap != "free_gap":
        return math.nan, ""
    epsilon = min(math.sqrt(math.log(learners.config.size) / (2.0 * n)), 1.0)
    found = GAP_FREE.evaluate(n=n, log2_M=_bits(learners), sigma=learners.moments[1], epsilon=epsilon)
    return found.value, GAP_FREE.label
