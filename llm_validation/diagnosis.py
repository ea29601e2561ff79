r"""The diagnosis of traces: every run of every model on its own, all estimates with intervals, and the decision.

``diagnose(traces, options)`` is what ``python -m llm_validation.diagnose`` prints. Per run: findings of quality,
:math:`\mu,\sigma^2,\sigma,s=\sigma/H`, anti-concentration, what is reachable by search, where in the trace the
heterogeneity arises, diversity of texts, effects of censoring, quality of the verifier, curves of test-time search,
and J(VB) - J(VF) with the decision. The budget H of a run is the one asked for, else its longest trace.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.censoring import censored
from llm_validation.concentration import (
    Concentration,
    concentration,
    least_concentration,
    lower_quantile,
    mean_concentration,
)
from llm_validation.decision import Anticoncentrated, Decision, decide
from llm_validation.decomposition import decomposition
from llm_validation.diversity import diversity
from llm_validation.evidence import Question, value_bands
from llm_validation.learning_curves import LearningCurves, Reading, crossover, effective_complexity
from llm_validation.moments import Interval, Moments, moments, problem_moments
from llm_validation.quality import Finding, quality, with_caps
from llm_validation.reach import reach
from llm_validation.test_time import curve_notes, curves
from llm_validation.traces import Group, TraceError, Traces
from llm_validation.verifier_quality import verifier_quality

__all__ = ["Options", "RunDiagnosis", "diagnose", "plain"]

#: Largest size of a class, nats, and number of parameters.
_LARGEST = 1e15
#: Margins epsilon at which c is reported.
EPSILONS = (0.0, 0.25, 0.5, 0.75, 1.0)
#: Error of the bound on the smallest c, and of each problem's bound in means and quantiles.
_ALPHA, _PER_PROBLEM = 0.05, 0.01
#: Quantile over problems of c that is bounded below.
_LOWER_QUANTILE = 0.1
#: Draws at deployment unless asked otherwise, where that many samples are there.
_DRAWS = 16
#: Budgets, relative to H, at which the decision is tried again.
_BUDGETS = (0.25, 0.5, 2.0, 4.0)


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """What is asked, the same for every run. Complexities in nats; ``n`` training traces; ``N`` draws at deployment."""

    horizon: int | None = None
    n: int | None = None
    N: int | None = None
    kappa: float = 1.0
    log_policies: float | None = None
    log_verifiers: float | None = None
    expert: Traces | None = None
    cloned: Traces | None = None
    curves: LearningCurves | None = None
    trust_prediction: bool = False
    params: float | None = None
    verifier_params: float | None = None
    embed: Callable[[Sequence[str]], Any] | None = None
    seed: int = 0
    level: float = 0.95
    detail: bool = True  # texts, decomposition, reach and verifier as well

    def __post_init__(self) -> None:
        """Raises :class:`TraceError` with one line that names the option."""
        checks: Iterable[tuple[str, Any, bool, str]] = (
            ("--horizon", self.horizon, self.horizon is None or self.horizon >= 1, "a whole number of at least 1"),
            ("--n", self.n, self.n is None or self.n >= 1, "a whole number of at least 1"),
            ("--draws", self.N, self.N is None or self.N >= 1, "a whole number of at least 1"),
            ("--kappa", self.kappa, 0.0 <= self.kappa < math.inf, "a number of at least 0"),
            ("--log-policies", self.log_policies, _positive(self.log_policies), "nats, a positive number up to 1e15"),
            (
                "--log-verifiers",
                self.log_verifiers,
                _positive(self.log_verifiers),
                "nats, a positive number up to 1e15",
            ),
            ("--params", self.params, _positive(self.params), "a positive number"),
            ("--verifier-params", self.verifier_params, _positive(self.verifier_params), "a positive number"),
            ("--seed", self.seed, self.seed >= 0, "a whole number of at least 0"),
            ("--level", self.level, 0.5 <= self.level < 1.0, "a number in [0.5, 1)"),
        )
        for name, value, holds, expected in checks:
            if not holds:
                raise TraceError(f"{name} {value}: expected {expected}")


def _positive(value: float | None) -> bool:
    return value is None or 0.0 < value <= _LARGEST


@dataclass(frozen=True, slots=True, eq=False)
class RunDiagnosis:
    """One run: its plain data, and the decision."""

    group: Group
    H: int
    decision: Decision
    data: Mapping[str, Any] = field(default_factory=dict)


def plain(value: Any) -> Any:
    """Data for JSON: numpy numbers and arrays become Python's, NaN and infinities None."""
    if isinstance(value, Interval):
        return plain(value.as_dict())
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def diagnose(
    traces: Traces, options: Options | None = None, progress: Callable[[int], None] = lambda done: None
) -> list[RunDiagnosis]:
    """Every run of ``traces``. Raises :class:`TraceError` if there is no labelled trace at all."""
    options = options or Options()
    if not np.isfinite(traces.correct).any():
        raise TraceError("no trace has a label: expected correct or reward in some")
    others = {
        name: other for name, other in (("expert", options.expert), ("cloned", options.cloned)) if other is not None
    }
    for name, other in others.items():
        _check_units(traces, other, name)
    longest = max((other.longest for other in others.values()), default=1)
    runs = [(group, mine, options.horizon or max(mine.longest, longest)) for group, mine in traces.by_group()]
    marked = [with_caps(mine) for _, mine, _ in runs]
    bounds = _concentrations([(mine, H) for mine, (_, _, H) in zip(marked, runs, strict=True)])
    found = []
    for (group, given, H), mine, pair in zip(runs, marked, bounds, strict=True):
        found.append(_run(group, given, mine, H, pair, options))
        progress(1)
    return found


def _check_units(traces: Traces, other: Traces, name: str) -> None:
    """Raises :class:`TraceError` where tokens are known of one file and not of the other: returns differ in unit."""
    for group, mine in traces.by_group():
        if mine.has_tokens != other.has_tokens:
            which = ("known", "not known") if mine.has_tokens else ("not known", "known")
            raise TraceError(
                f"--{name}: tokens are {which[1]} of it and {which[0]} of {group}: expected the same, or --answers"
            )


def _concentrations(runs: Sequence[tuple[Traces, int]]) -> list[tuple[Concentration, Concentration]]:
    """Of each run c at level alpha (for the smallest) and at that of one problem (for means and quantiles).

    Returns are put in units of H, so that all runs are worked on together.
    """
    scaled = [(traces.problem, traces.returns(H) / H) for traces, H in runs]
    return list(zip(_together(scaled, _ALPHA), _together(scaled, _PER_PROBLEM), strict=True))


def _together(parts: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]], alpha: float) -> list[Concentration]:
    """``concentration`` of several runs in one call."""
    stride = max((int(problem.max(initial=0)) for problem, _ in parts), default=0) + 1
    problem = np.concatenate([problem + i * stride for i, (problem, _) in enumerate(parts)])
    returns = np.concatenate([returns for _, returns in parts])
    found = concentration(problem, returns, 1, np.array(EPSILONS), alpha)
    runs = []
    for i in range(len(parts)):
        mine = found.take(found.problem // stride == i)
        runs.append(dataclasses.replace(mine, problem=mine.problem - i * stride))
    return runs


def _run(
    group: Group, given: Traces, traces: Traces, H: int, pair: tuple[Concentration, Concentration], options: Options
) -> RunDiagnosis:
    seed = options.seed
    found = problem_moments(traces.problem, traces.returns(H))
    estimates = moments(found, H, seed, options.level)
    of_least, each = pair
    least = least_concentration(of_least)
    question = _question(traces, options)
    anti = [
        Anticoncentrated(estimates["sigma"].low, float(c), float(e))
        for e, c in zip(EPSILONS, least, strict=True)
        if e > 0.0 and c > 0.0 and estimates["sigma"].low > 0.0
    ]
    decision = decide(traces, H, question, anti, options.trust_prediction)
    decision = dataclasses.replace(decision, sensitivity=_sensitivity(traces, H, question, decision, options))
    data = {
        "run": {"model": group.model, "run_id": group.run_id, "label": str(group)},
        "H": H,
        "unit": "tokens" if H > 1 else "answers",
        "traces": traces.size,
        "problems": found.problem.size,
        "samples": _spread_of(found.samples),
        "findings": [dataclasses.asdict(finding) for finding in _findings(given, H, options)],
        "estimates": estimates,
        "spread": _spread(found, of_least, H),
        "per_problem": _per_problem(traces, found, each, H),
        "concentration": _concentration_block(of_least, each, least, seed, options.level),
        "censoring": _block(censored(given, H, seed)),
        "curve_notes": list(curve_notes(traces, H)),
        "curves": [point.as_dict() for point in curves(traces, H, seed, options.params, options.verifier_params)],
        "prediction": _prediction(decision, traces, H, question, estimates["sigma"].estimate, _usual_c(each)),
        "decision": decision.as_dict(),
    }
    if options.detail:
        data |= {
            "kappa": _block(reach(traces, H, seed, bounds=each)),
            "decomposition": _block(decomposition(traces, H, seed)),
            "diversity": _block(diversity(traces, H, seed, options.embed)),
            "verifier": _block(verifier_quality(traces, H, seed)),
        }
    return RunDiagnosis(group, H, decision, plain(data))


def _usual_c(each: Concentration) -> float:
    """Mean plug-in c at the largest margin over problems that vary; NaN if none does."""
    return float(each.plug_in[-1, each.varies].mean()) if each.varies.any() else math.nan


def _findings(traces: Traces, H: int, options: Options) -> list[Finding]:
    """Of the run, and of the expert's or clone's traces under their name."""
    found = quality(traces, H)
    for name, other in (("expert", options.expert), ("cloned", options.cloned)):
        if other is not None:
            found += [dataclasses.replace(finding, name=f"{name}: {finding.name}") for finding in quality(other, H)]
    return found


def _block(found: Any) -> dict[str, Any] | None:
    return None if found is None else dict(found.as_dict())


def _question(traces: Traces, options: Options) -> Question:
    """What is asked of this run: n is its problems unless given, N at most the samples that nearly all of them have."""
    counts = np.bincount(traces.problem[np.isfinite(traces.correct)])
    usual = int(np.quantile(counts[counts > 0], 0.05, method="lower")) if counts.any() else 1
    draws = min(options.N or _DRAWS, 2 ** int(math.log2(max(usual, 1))))  # no more than were sampled
    return Question(
        n=options.n or int((counts > 0).sum()) or 1,
        N=draws,
        kappa=options.kappa,
        log_policies=options.log_policies,
        log_verifiers=options.log_verifiers,
        expert=None if options.expert is None else with_caps(options.expert),
        cloned=None if options.cloned is None else with_caps(options.cloned),
        curves=options.curves,
        seed=options.seed,
        level=options.level,
    )


def _sensitivity(
    traces: Traces, H: int, question: Question, decision: Decision, options: Options
) -> tuple[tuple[int, str, str], ...]:
    """The verdict at other budgets, where anything can be said at all."""
    rows = [(H, decision.verdict, _why(decision))]
    if traces.has_tokens and decision.evidence:
        others = sorted({max(1, round(H * factor)) for factor in _BUDGETS} - {H})
        tried = [decide(traces, other, question, brief=True) for other in others]
        rows += [(other.H, other.verdict, _why(other)) for other in tried]
    return tuple(sorted(rows))


def _why(decision: Decision) -> str:
    said = [e for e in decision.evidence if e.verdict is not None]
    if not decision.evidence:
        return "no evidence"
    return said[0].name if said else "every interval holds 0"


def _spread_of(counts: NDArray[np.int64]) -> dict[str, float]:
    if not counts.size:
        return {"min": 0, "median": 0, "max": 0}
    return {"min": int(counts.min()), "median": float(np.median(counts)), "max": int(counts.max())}


def _spread(found: Moments, varies: Concentration, H: int) -> dict[str, Any]:
    known = found.variance[found.known_spread]
    s = np.sqrt(known) / H
    return {
        "within": float(known.mean()) if known.size else math.nan,
        "between": found.between,
        "constant_problems": int((~varies.varies).sum()),
        "s_quartiles": np.quantile(s, [0.25, 0.5, 0.75]).tolist() if s.size else [math.nan] * 3,
    }


def _per_problem(traces: Traces, found: Moments, each: Concentration, H: int) -> dict[str, Any]:
    sigma = np.sqrt(found.variance)
    columns: dict[str, Any] = {
        "name": [traces.problems[i] for i in found.problem],
        "samples": found.samples,
        "mu": found.mean,
        "sigma": sigma,
        "s": sigma / H,
        "varies": np.isin(found.problem, each.problem[each.varies]),
    }
    place = np.searchsorted(found.problem, each.problem)
    for i, epsilon in enumerate(EPSILONS):
        for name, table in (("c", each.plug_in), ("c_low", each.low), ("c_high", each.high)):
            column = np.full(found.problem.size, math.nan)
            column[place] = table[i]
            columns[f"{name}({epsilon:g})"] = column
    return columns


def _concentration_block(
    of_least: Concentration, each: Concentration, least: NDArray[np.float64], seed: int, level: float
) -> dict[str, Any] | None:
    if not of_least.varies.any():
        return None
    quantile = lower_quantile(each, _LOWER_QUANTILE, level)
    return {
        "epsilon": list(EPSILONS),
        "mean": mean_concentration(each, seed, level),
        "least": least,
        "plug_in_least": each.plug_in[:, each.varies].min(axis=1),
        "lower_quantile": {"q": _LOWER_QUANTILE, "low": quantile},
        "constant": int((~of_least.varies).sum()),
        "problems": int(of_least.varies.size),
    }


def _from_curves(question: Question, H: int, sigma: float, c: float) -> dict[str, Any] | None:
    """What learning curves say beside J at n: where they cross, and class sizes that bounds read from them (nats)."""
    if question.curves is None:
        return None
    crossing = crossover(question.curves, H, question.level)
    sizes: Sequence[Reading] = ()
    if 0.0 < sigma <= H / 2.0 and 0.0 < c <= 1.0:
        sizes = effective_complexity(question.curves, sigma, c, H, question.seed, question.level)
    return {
        "crossing": None if crossing is None else crossing.as_dict(),
        "complexities": [reading.as_dict() for reading in sizes],
    }


def _prediction(
    decision: Decision, traces: Traces, H: int, question: Question, sigma: float, c: float
) -> dict[str, Any] | None:
    """Bands of both values against n, around the n asked for; None where no problem has enough samples."""
    if decision.sampled is None:
        return None
    ns = sorted({max(1, round(question.n * 2.0**k)) for k in range(-6, 13)})
    assumptions = [part.says for part in decision.parts if part.kind == "assumption"]
    return {
        "n": question.n,
        "N": decision.sampled.contrasts[-1].N,
        "kappa": question.kappa,
        "log_policies": question.log_policies,
        "log_verifiers": question.log_verifiers,
        "assumptions": assumptions,
        "bands": value_bands(traces, decision.sampled, question, ns),
        "crossover": decision.n_star,
        "from_curves": _from_curves(question, H, sigma, c),
        "ceiling": H,
    }
