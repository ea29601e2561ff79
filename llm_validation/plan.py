r"""How many problems times samples give an interval of a wanted width.

An unbiased :math:`y_x` of what is asked has, from m samples of a problem, the variance :math:`B+W_m` over problems
(:mod:`llm_validation.pilot` says what they are and how a pilot tells them); the interval of its mean over X problems
has the full width

.. math:: w(X,m)=2\,t_{X-1}\,q_X\sqrt{(B+W_m)/X},

t the quantile of Student's law, :math:`q_X\ge1` by what the studentised bootstrap is wider where problems are few and y
is skewed. For :math:`\sigma` the width is :math:`\sqrt{v+w/2}-\sqrt{v-w/2}`, v the mean variance. The interval of c is
one of averaged bounds, whose width falls with X to a floor only. X(m) is the smallest number of problems that gives the
width; the cost is X m traces. It is the width to expect: that of a run varies around it.

**Without a pilot** the worst laws on {0..H} stand for what is not given: the variance of a mean is at most
:math:`\mu(H-\mu)\le H^2/4` less what is within problems; with :math:`r=\frac{m-3}{m-1}` and
:math:`\mu_4\le\sigma^2(H^2-3\sigma^2)` (as in ``expert-heterogeneity``; two-point laws attain it) that of an unbiased
variance is at most

.. math:: \Bigl(1-\frac{3+r}m\Bigr)E_x\sigma_x^4+\frac{vH^2}m-v^2,\qquad v^2\le E_x\sigma_x^4\le vH^2/4.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from llm_validation.pilot import (
    FEWEST_PROBLEMS,
    Stretch,
    Variances,
    of_concentration,
    of_difference,
    of_mean,
    of_variance,
)
from llm_validation.traces import TraceError, Traces

__all__ = ["SAMPLES", "Plan", "PlanOption", "Target", "plan", "plan_assumed"]

Floats = NDArray[np.float64]
Target = Literal["mu", "sigma", "sigma2", "s", "c", "difference"]

#: Samples of a problem that are tried unless asked otherwise.
SAMPLES = (4, 8, 16, 32, 64)
#: Problems beyond which a number of them counts as none.
_MOST = 10**9
#: Mean variances tried for the worst one.
_GRID = 400
#: Nothing is known of the skewness.
_UNKNOWN = np.zeros(0)


@dataclass(frozen=True, slots=True)
class PlanOption:
    """What ``samples`` samples of each problem cost; ``problems`` is None where no number of them (allowed) will do.

    ``problems_low`` and ``problems_high``: what the pilot leaves possible, the 95% percentile interval over its
    problems; None without a pilot or beyond 10^9. ``width`` is to be expected at ``problems``, else at the most
    allowed; ``floor`` is what no number of problems goes below.
    """

    samples: int
    problems: int | None
    problems_low: int | None
    problems_high: int | None
    traces: int | None  # of all runs together
    tokens: float | None  # None where the pilot has none
    width: float
    floor: float
    says: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Numbers of problems for each number of samples, for an interval of full ``width`` at ``level``."""

    target: Target
    H: int
    width: float
    level: float
    unit: str
    epsilon: float | None
    options: tuple[PlanOption, ...]
    notes: tuple[str, ...]

    @property
    def cheapest(self) -> PlanOption | None:
        """The option of fewest traces; None if there is none."""
        possible = [(option.traces, i) for i, option in enumerate(self.options) if option.traces is not None]
        return self.options[min(possible)[1]] if possible else None

    def as_dict(self) -> dict[str, Any]:
        """Plain data; ``cheapest`` is its number of samples."""
        cheapest = self.cheapest
        return {
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
            "options": [dataclasses.asdict(option) for option in self.options],
            "notes": list(self.notes),
            "cheapest": None if cheapest is None else cheapest.samples,
        }


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked of every option."""

    target: Target
    H: int
    width: float
    level: float
    most: int | None
    seed: int = 0
    tokens: float | None = None  # of a trace

    @property
    def runs(self) -> int:
        return 2 if self.target == "difference" else 1

    def widths(self, model: Variances, X: Floats, stretch: Stretch) -> Floats:
        """Full widths at ``X`` problems, (1 + B,) each."""
        from scipy.special import stdtrit

        counted = np.maximum(X * model.share, FEWEST_PROBLEMS)
        half = stdtrit(counted - 1.0, 0.5 + self.level / 2.0) * np.sqrt(model.variance / counted) * stretch.at(counted)
        if self.target not in ("sigma", "s"):
            return np.asarray(model.floor + 2.0 * half)
        v, most = model.centre, self.H**2 / 4.0
        root = np.sqrt(np.minimum(v + half, most)) - np.sqrt(np.maximum(v - half, 0.0))
        return np.asarray(root / self.H if self.target == "s" else root)

    def fewest(self, model: Variances, stretch: Stretch) -> Floats:
        """The smallest numbers of problems that give the width, (1 + B,); inf beyond 10^9."""
        low, high = np.ones(model.variance.size), np.full(model.variance.size, float(_MOST))
        possible = self.widths(model, high, stretch) <= self.width
        while (high - low > 1.0).any():
            middle = np.floor(np.where(high > 4.0 * low, np.sqrt(low * high), 0.5 * (low + high)))
            met = self.widths(model, middle, stretch) <= self.width
            low, high = np.where(met, low, middle), np.where(met, middle, high)
        return np.where(possible, np.maximum(high, FEWEST_PROBLEMS), math.inf)

    def options(self, models: Mapping[int, Variances]) -> tuple[PlanOption, ...]:
        """One row for each number of samples."""
        shapes = {id(model.values): model.values for model in models.values()}
        stretches = {key: Stretch.of(values, self.level, self.seed) for key, values in shapes.items()}
        return tuple(self.option(m, model, stretches[id(model.values)]) for m, model in models.items())

    def option(self, m: int, model: Variances, stretch: Stretch) -> PlanOption:
        """The row of m samples."""
        needed = self.fewest(model, stretch)
        most, floor = float(_MOST if self.most is None else self.most), float(model.floor[0])
        at = min(float(needed[0]), most)
        width = float(self.widths(model, np.full(model.variance.size, at), stretch)[0])
        low, high = (_whole(needed[1:], q) for q in (0.025, 0.975))
        if needed[0] > most:
            says = self._impossible(m, float(needed[0]), floor, width)
            return PlanOption(m, None, low, high, None, None, width, floor, says)
        X = int(at)
        traces = X * m * self.runs
        tokens = None if self.tokens is None else traces * self.tokens
        return PlanOption(m, X, low, high, traces, tokens, width, floor, f"{X} problems, {traces} traces")

    def _impossible(self, m: int, needed: float, floor: float, width: float) -> str:
        if floor >= self.width:
            return f"no number of problems suffices at m = {m}: the width stays above {floor:.3g}"
        if not math.isfinite(needed):
            return f"more than {_MOST:.0e} problems are needed at m = {m}"
        return f"{needed:.0f} problems are needed at m = {m}, more than {self.most}, which give a width of {width:.3g}"


def _whole(numbers: Floats, q: float) -> int | None:
    """A quantile as a number of problems; None if there is none or it is beyond 10^9."""
    if not numbers.size:
        return None
    found = float(np.quantile(numbers, q, method="higher" if q > 0.5 else "lower"))
    return int(found) if math.isfinite(found) else None


def plan(
    pilot: Traces,
    horizon: int,
    target: Target,
    width: float,
    level: float = 0.95,
    seed: int = 0,
    *,
    epsilon: float = 0.25,
    samples_options: Sequence[int] = SAMPLES,
    second: Traces | None = None,
    most_problems: int | None = None,
) -> Plan:
    """Problems needed at each of ``samples_options`` samples, from a pilot of one run at budget ``horizon``.

    ``width`` is the full width of the interval wanted: tokens for mu, sigma and difference, tokens^2 for sigma2, a
    number for s and c. ``epsilon`` is that of c. The difference is that of the mean returns of two runs (what VB and
    what VF deploys) on the same problems, m samples of each; ``second`` is a pilot of the other run, problems matched
    by name. No option takes more than ``most_problems``.

    Raises :class:`TraceError` with one line for options out of range, and if the pilot is too small or shows no spread.
    """
    options = _checked(target, width, level, samples_options, most_problems)
    for which, traces in (("pilot", pilot), ("second pilot", second)):
        if traces is not None and (count := np.unique(traces.group).size) > 1:
            raise TraceError(f"the {which} holds {count} runs, expected one")
    if not 0.0 <= epsilon < math.inf:
        raise TraceError(f"epsilon {epsilon:g}: expected a number of at least 0")
    found, notes = _from_pilot(pilot, second, horizon, target, epsilon, options, seed)
    if all(model.variance[0] <= 0.0 and model.floor[0] <= 0.0 for model in found.values()):
        raise TraceError(f"the pilot shows no spread that matters for {target}: nothing can be planned from it")
    lengths = [float(np.nanmean(t.tokens)) for t in (pilot, second) if t is not None and t.has_tokens]
    tokens = sum(lengths) / len(lengths) if lengths else None
    wanted = _Wanted(target, horizon, width, level, most_problems, seed, tokens)
    at = epsilon if target == "c" else None
    return Plan(
        target,
        horizon,
        width,
        level,
        _unit(target, horizon),
        at,
        wanted.options(found),
        (*notes, *_left_out(pilot, horizon)),
    )


def _from_pilot(
    pilot: Traces,
    second: Traces | None,
    horizon: int,
    target: Target,
    epsilon: float,
    options: Sequence[int],
    seed: int,
) -> tuple[dict[int, Variances], tuple[str, ...]]:
    if target == "c":
        return of_concentration(pilot, horizon, epsilon, options, seed)
    if target == "mu":
        return of_mean(pilot, horizon, options, seed)
    if target != "difference":
        return of_variance(pilot, horizon, options, seed)
    if second is not None:
        return of_difference(pilot, second, horizon, options, seed)
    found, notes = of_mean(pilot, horizon, options, seed, runs=2)
    alike = "no pilot of the second run: assumed to vary as the first does, between problems independently of it"
    return found, (*notes, f"{alike} (less where the same problems are hard for both)")


def _left_out(pilot: Traces, horizon: int) -> tuple[str, ...]:
    unknown = np.isnan(pilot.returns(horizon))
    if not unknown.any():
        return ()
    cut = int((pilot.truncated & unknown).sum())
    return (f"{int(unknown.sum())} traces of unknown return are left out, {cut} cut off: the spread may be larger",)


def _checked(target: Target, width: float, level: float, samples: Sequence[int], most: int | None) -> tuple[int, ...]:
    """Numbers of samples in increasing order. Raises :class:`TraceError`."""
    fewest = 1 if target in ("mu", "difference") else 2
    smallest = min(samples, default=0)
    checks = (
        (f"target {target}", target in get_args(Target), f"one of {', '.join(get_args(Target))}"),
        (f"width {width:g}", 0.0 < width < math.inf, "a positive number"),
        (f"level {level:g}", 0.5 <= level < 1.0, "a number in [0.5, 1)"),
        (f"samples {smallest}", smallest >= fewest, f"whole numbers of at least {fewest} for {target}"),
        (f"most problems {most}", most is None or most >= FEWEST_PROBLEMS, f"at least {FEWEST_PROBLEMS}"),
    )
    for what, holds, expected in checks:
        if not holds:
            raise TraceError(f"{what}: expected {expected}")
    return tuple(sorted(set(samples)))


def _unit(target: Target, horizon: int) -> str:
    unit = "tokens" if horizon > 1 else "answers"
    return {"sigma2": f"{unit}^2", "s": "1", "c": "probability"}.get(target, unit)


def plan_assumed(
    horizon: int,
    target: Target,
    width: float,
    level: float = 0.95,
    *,
    mu: float | None = None,
    sigma: float | None = None,
    spread: float | None = None,
    samples_options: Sequence[int] = SAMPLES,
    most_problems: int | None = None,
) -> Plan:
    """The same without a pilot; what is not given is taken at its worst over returns in 0..H.

    ``sigma`` is the root of E_x sigma_x^2, tokens (of each run for a difference); ``spread`` the sd over problems of
    what is estimated for each: of mu_x (tokens; of the difference of both runs' means for a difference), of sigma_x^2
    (tokens^2) for sigma, sigma2 and s; ``mu`` the mean return, used for mu only.

    Raises :class:`TraceError` with one line for c, which needs a pilot, and for values that no returns can have.
    """
    options = _checked(target, width, level, samples_options, most_problems)
    if target == "c":
        raise TraceError("c cannot be planned without a pilot: its interval depends on the whole law of the returns")
    H = float(horizon)
    tops = {"mu": H, "sigma": H / 2.0, "spread": {"mu": H / 2.0, "difference": H}.get(target, H * H / 8.0)}
    given = {name: value for name, value in (("mu", mu), ("sigma", sigma), ("spread", spread)) if value is not None}
    for name, value in given.items():
        if not 0.0 <= value <= tops[name]:
            raise TraceError(f"{name} = {value:g}: expected a number in [0, {tops[name]:g}] at H = {horizon}")
    wanted = _Wanted(target, horizon, width, level, most_problems)
    of_values = target in ("mu", "difference")
    worst = _worst_mean if of_values else _worst_variance
    rows = wanted.options({m: worst(m, wanted, given) for m in options})
    used = [name for name in ("mu", "sigma", "spread") if name != "mu" or target == "mu"]
    stated = ", ".join(f"{name} = {given[name]:g}" for name in used if name in given)
    missing = ", ".join(name for name in used if name not in given)
    notes = ["no pilot", f"assumed: {stated or 'nothing'}"]
    notes += [f"at its worst over returns in 0..{horizon}: {missing}"] if missing else []
    notes += [] if of_values else ["fourth moments at their worst, those of two-point laws"]
    return Plan(target, horizon, width, level, _unit(target, horizon), None, rows, tuple(notes))


def _worst_mean(m: int, wanted: _Wanted, given: dict[str, float]) -> Variances:
    """Largest variance of a problem's mean of m samples, or of the difference of two such."""
    H, runs = float(wanted.H), float(wanted.runs)
    mu = given.get("mu", H / 2.0)
    total = H * H if wanted.target == "difference" else mu * (H - mu)
    within = runs * given["sigma"] ** 2 if "sigma" in given else 0.0
    between = given["spread"] ** 2 if "spread" in given else total - within
    if between < 0.0 or between + within > total * (1.0 + 1e-9):
        raise TraceError(f"sigma and spread give more than the largest variance of returns in 0..{H:g}, {total:g}")
    within = within if "sigma" in given else total - between
    return Variances.without_floor(np.array([between + within / m]), np.zeros(1), _UNKNOWN)


def _worst_variance(m: int, wanted: _Wanted, given: dict[str, float]) -> Variances:
    """Largest variance of the unbiased variance of m samples, at the mean variance that needs most problems."""
    most = wanted.H**2 / 4.0
    v = np.array([given["sigma"] ** 2]) if "sigma" in given else most * np.linspace(0.0, 1.0, _GRID + 1)[1:]
    weight = 1.0 - (3.0 + (m - 3.0) / (m - 1.0)) / m
    fourth = v * most if weight > 0.0 else v**2  # E sigma_x^4
    if "spread" in given:
        fourth = v**2 + given["spread"] ** 2
        v, fourth = v[fourth <= v * most * (1.0 + 1e-9)], fourth[fourth <= v * most * (1.0 + 1e-9)]
        if not v.size:
            raise TraceError(f"no returns in 0..{wanted.H} have such a spread of their variances over problems")
    found = Variances.without_floor(np.maximum(weight * fourth + 4.0 * v * most / m - v**2, 0.0), v, _UNKNOWN)
    worst = int(np.argmax(wanted.fewest(found, Stretch.of(found.values, wanted.level, wanted.seed))))
    return Variances.without_floor(found.variance[[worst]], v[[worst]], found.values)
