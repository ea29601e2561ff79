r"""Measured learning curves of both recipes: J against the number n of training traces, read, compared and continued.

A file has one row a training run: ``method``, ``n``, ``H``, ``J`` (tokens), and ``se`` (error of J) or ``seed``. Rows
of one (method, n, H) are averaged. The error of such a mean is the largest of what is known: the given ones; the sd of
its own rows; that of all rows of the method at this H, pooled, over the root of their number. Spread between seeds
holds what chance in training does, which the error of one evaluation does not.

At an n the prediction is

* *measured*: the point's own interval (Student's where the error comes from seeds);
* *between* two measured ones: from the lower of their lower ends to the upper of their upper ends, both intervals at
  half the error. Assumption: the curve is monotone there, in either direction; it need not be elsewhere;
* *extrapolated*, at most 4 times beyond the largest: a power law that was fitted on the smaller half of the n's and
  judged on the larger (:mod:`llm_validation.power_law`);
* *refused*, with reasons. Nothing is said of an H at which nothing was measured: no exponent in H is fitted.

**Readings of complexity.** If cloning loses :math:`a\,n^{-1/2}` to its limit and the class were as hard as the
codebook of ``vf-lower``, :math:`\sigma\sqrt{\log|\Pi|/8n}\le a\,n^{-1/2}` would bound :math:`\log|\Pi|` above. Upper
bounds (``vf-upper``; ``vb-upper-top-c`` for a loss :math:`a/n`) bound complexities below, where their assumptions hold:
a learner that loses so much cannot come from a smaller class. Both are readings, not measurements of a class.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from llm_validation.power_law import REACH, Curve, forecast, reject, resampled_amplitudes
from llm_validation.traces import TraceError

__all__ = [
    "Crossover",
    "CurvePrediction",
    "LearningCurves",
    "Reading",
    "crossover",
    "effective_complexity",
    "predict",
    "read_curves",
]

Floats = NDArray[np.float64]
Side = Literal["VF", "VB"]
How = Literal["measured", "between", "extrapolated", "refused"]

#: What methods are called, in small letters with hyphens.
_NAMES: Mapping[str, Side] = {
    **dict.fromkeys(("vf", "verifier-free", "clone", "cloning", "bc", "behavior-cloning", "behaviour-cloning"), "VF"),
    **dict.fromkeys(("sft", "rft", "imitation", "distillation"), "VF"),
    **dict.fromkeys(("vb", "verifier-based", "verify", "verifier", "rl", "ppo", "grpo"), "VB"),
    **dict.fromkeys(("best-of-n", "bon", "top-c", "search"), "VB"),
}
#: Exponents that theory gives the loss in n.
_NU: Mapping[Side, float] = {"VF": 0.5, "VB": 1.0}
#: Errors below this share of H count as this: no curve is known better.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class LearningCurves:
    """Measured points, (P,) each: ``method`` VF or VB, ``n`` traces, ``H`` and ``J`` in tokens, ``se`` of J.

    ``freedom``: degrees of freedom of ``se``, inf where it is known; None: known everywhere.
    """

    method: tuple[str, ...]
    n: Floats
    H: NDArray[np.int64]
    J: Floats
    se: Floats
    freedom: Floats | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises :class:`TraceError` if columns differ in length or hold values they cannot."""
        size = len(self.method)
        for name, column, least in (
            ("n", self.n, 1.0),
            ("H", self.H, 1.0),
            ("J", self.J, -math.inf),
            ("se", self.se, 0),
        ):
            if column.shape != (size,):
                raise TraceError(f"{name}: {column.size} values, expected one for each of {size} points")
            if not (np.isfinite(column) & (column >= least)).all():
                raise TraceError(f"{name}: expected finite numbers of at least {least:g}")
        unknown = set(self.method) - set(_NU)
        if unknown:
            raise TraceError(f"method {sorted(unknown)[0]!r}: expected VF or VB")

    def horizons(self, method: str) -> list[int]:
        """Budgets at which a method was measured, increasing."""
        return sorted({int(H) for H, name in zip(self.H, self.method, strict=True) if name == method})

    def curve(self, method: str, H: int) -> Curve | None:
        """The points of a method at one budget by n; None if there are none.

        Raises :class:`TraceError` if an n occurs twice.
        """
        mine = np.flatnonzero((np.array(self.method) == method) & (self.H == H))
        if not mine.size:
            return None
        mine = mine[np.argsort(self.n[mine], kind="stable")]
        if (np.diff(self.n[mine]) <= 0.0).any():
            raise TraceError(f"{method} at H = {H}: an n occurs twice, expected one point for each")
        freedom = math.inf if self.freedom is None else float(self.freedom[mine].min())
        se = np.maximum(self.se[mine], _ROUNDING * H)
        return Curve(self.n[mine].astype(np.float64), self.J[mine].astype(np.float64), se, freedom, float(H))

    def as_dict(self) -> dict[str, Any]:
        """Plain data: one list a column."""
        columns = {name: getattr(self, name).tolist() for name in ("n", "H", "J", "se")}
        return {"method": list(self.method), **columns, "notes": list(self.notes)}


@dataclass(frozen=True, slots=True)
class CurvePrediction:
    """J of a method at n and H, tokens, within [low, high] at ``level``; refused: [0, H] without an estimate."""

    method: str
    n: float
    H: int
    low: float
    estimate: float
    high: float
    how: How
    reasons: tuple[str, ...]
    level: float
    nu: float | None = None  # free exponent of an extrapolation

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**dataclasses.asdict(self), "reasons": list(self.reasons)}


# -- reading --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    side: Side
    n: float
    H: int
    J: float
    se: float  # NaN where not given
    seed: str | None


def read_curves(path: Path | str) -> LearningCurves:
    """Learning curves of a file. Raises :class:`TraceError` with one line that begins with its name."""
    from llm_validation.reading.files import read_columns

    where = Path(path)
    columns = read_columns(where)
    missing = [name for name in ("method", "n", "H", "J") if name not in columns]
    if missing:
        raise TraceError(f"{where}: has no column {missing[0]}; it has {', '.join(columns)}")
    if not {"se", "seed"} & columns.keys():
        raise TraceError(f"{where}: has no column se or seed, expected one of them: J without an error says nothing")
    try:
        return _averaged(list(_rows(columns)))
    except TraceError as error:
        raise TraceError(f"{where}: {error}") from None


def _rows(columns: Mapping[str, list[Any]]) -> Iterator[_Row]:
    size = len(columns["method"])
    nothing: list[Any] = [None] * size
    called: dict[Side, str] = {}
    for i in range(size):
        word = str(columns["method"][i])
        side = _NAMES.get(word.strip().lower().replace("_", "-").replace(" ", "-"))
        if side is None:
            raise TraceError(f"row {i + 1}: method is {word!r}, expected one of {', '.join(_NAMES)}")
        if called.setdefault(side, word) != word:
            raise TraceError(f"row {i + 1}: {called[side]!r} and {word!r} are both {side}, expected one method a side")
        n, J = _number(columns["n"][i], "n", i, 1.0), _number(columns["J"][i], "J", i, 0.0)
        H = _number(columns["H"][i], "H", i, 1.0)
        if not H.is_integer():
            raise TraceError(f"row {i + 1}: H is {H:g}, expected a whole number")
        if J > H:
            raise TraceError(f"row {i + 1}: J is {J:g}, expected at most H = {H:g} (tokens, not a share)")
        se = columns.get("se", nothing)[i]
        seed = columns.get("seed", nothing)[i]
        known = math.nan if se is None else _number(se, "se", i, 0.0)
        yield _Row(side, n, int(H), J, known, None if seed is None else str(seed))


def _number(value: Any, name: str, row: int, least: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not (math.isfinite(number) and number >= least):
        raise TraceError(f"row {row + 1}: {name} is {value!r}, expected a number of at least {least:g}")
    return number


def _averaged(rows: Sequence[_Row]) -> LearningCurves:
    """Points with the errors of their means."""
    points: dict[tuple[Side, int, float], list[_Row]] = {}
    for row in rows:
        points.setdefault((row.side, row.H, row.n), []).append(row)
    for (side, H, n), mine in points.items():
        seeds = [row.seed for row in mine if row.seed is not None]
        if len(set(seeds)) < len(seeds):
            raise TraceError(f"{side} at n = {n:g}, H = {H}: a seed occurs twice")
    pooled = {key: _pooled(points, *key) for key in dict.fromkeys((side, H) for side, H, _ in points)}
    errors = [_error(mine, pooled[side, H], f"{side} at n = {n:g}, H = {H}") for (side, H, n), mine in points.items()]
    columns = list(points)
    from_seeds = sum(math.isfinite(freedom) for _, freedom in errors)
    notes = (f"errors of {from_seeds} points are from the spread between seeds",) if from_seeds else ()
    return LearningCurves(
        method=tuple(side for side, _, _ in columns),
        n=np.array([n for _, _, n in columns]),
        H=np.array([H for _, H, _ in columns], dtype=np.int64),
        J=np.array([float(np.mean([row.J for row in mine])) for mine in points.values()]),
        se=np.array([se for se, _ in errors]),
        freedom=np.array([freedom for _, freedom in errors]),
        notes=notes,
    )


def _pooled(points: Mapping[tuple[Side, int, float], Sequence[_Row]], side: Side, H: int) -> tuple[float, int]:
    """Variance between rows of equal n, and its degrees of freedom; NaN and 0 where no n has two."""
    groups = [[row.J for row in mine] for (s, h, _), mine in points.items() if (s, h) == (side, H)]
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum(len(group) * float(np.var(group)) for group in groups)
    return (squares / freedom if freedom else math.nan), freedom


def _error(rows: Sequence[_Row], pooled: tuple[float, int], where: str) -> tuple[float, float]:
    """Error of the mean of the rows of one point, and its degrees of freedom."""
    size = len(rows)
    given = math.sqrt(sum(row.se**2 for row in rows)) / size
    own = float(np.var([row.J for row in rows], ddof=1)) if size > 1 else 0.0
    variance, freedom = pooled
    seeded = math.sqrt(max(variance, own) / size) if freedom else math.nan
    if math.isnan(given) and math.isnan(seeded):
        raise TraceError(f"{where}: one J without se, and no n with several seeds: its error is not known")
    if math.isnan(seeded) or given >= seeded:
        return given, math.inf
    return seeded, float(freedom)


# -- prediction -----------------------------------------------------------------------------------------------------


def predict(
    curves: LearningCurves, method: str, n: float, H: int, seed: int = 0, level: float = 0.95
) -> CurvePrediction | None:
    """J of ``method`` (VF or VB) at n traces and budget H; None if the method was not measured at all."""
    if not curves.horizons(method):
        return None

    def refused(reason: str) -> CurvePrediction:
        return CurvePrediction(method, n, H, 0.0, math.nan, float(H), "refused", (reason,), level)

    curve = curves.curve(method, H)
    if curve is None:
        measured = ", ".join(map(str, curves.horizons(method)))
        return refused(f"measured at H = {measured}, not at {H}; no exponent in H is fitted")
    if n < curve.n[0] * (1.0 - 1e-9):
        return refused(f"n = {n:g} is below the smallest measured, {curve.n[0]:g}")
    if n > curve.n[-1] * REACH:
        return refused(f"n = {n:g} is more than {REACH:g} times the largest measured, {curve.n[-1]:g}")
    if n > curve.n[-1] * (1.0 + 1e-9):
        return _beyond(curve, method, n, seed, level, refused)
    return _within(curve, method, n, level)


def _interval(curve: Curve, i: int, level: float) -> tuple[float, float]:
    half = curve.quantile(0.5 + level / 2.0) * float(curve.se[i])
    return max(float(curve.J[i]) - half, 0.0), min(float(curve.J[i]) + half, curve.H)


def _within(curve: Curve, method: str, n: float, level: float) -> CurvePrediction:
    H = int(curve.H)
    at = int(np.argmin(np.abs(curve.n - n)))
    if math.isclose(curve.n[at], n, rel_tol=1e-9):
        low, high = _interval(curve, at, level)
        return CurvePrediction(method, n, H, low, float(curve.J[at]), high, "measured", (), level)
    right = int(np.searchsorted(curve.n, n))
    ends = [_interval(curve, i, 1.0 - (1.0 - level) / 2.0) for i in (right - 1, right)]
    estimate = float(np.interp(math.log(n), np.log(curve.n), curve.J))
    reason = f"assumes that the curve is monotone between n = {curve.n[right - 1]:g} and {curve.n[right]:g}"
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    return CurvePrediction(method, n, H, low, estimate, high, "between", (reason,), level)


def _beyond(
    curve: Curve, method: str, n: float, seed: int, level: float, refused: Callable[[str], CurvePrediction]
) -> CurvePrediction:
    nu = _NU["VF" if method == "VF" else "VB"]
    rng = np.random.default_rng([seed, 0xC4B5, method == "VF"])
    reason = reject(curve, nu, rng)
    if reason is not None:
        return refused(f"n = {n:g} is beyond the largest measured, {curve.n[-1]:g}, and {reason}")
    found = forecast(curve, nu, n, level, rng)
    says = (
        f"assumes that the power law through {curve.n.size} points goes on from n = {curve.n[-1]:g} to {n:g}",
        f"nu = {nu:g} by theory and {found.nu:.2g} fitted: the interval holds both",
    )
    H = int(curve.H)
    return CurvePrediction(method, n, H, found.low, found.estimate, found.high, "extrapolated", says, level, found.nu)


# -- comparison -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Crossover:
    """J(VB) - J(VF) changes its sign between the measured ``n_low`` and ``n_high``, where it is certain.

    ``estimate``: where the measured difference, linear in log n, does so last; ``after``: the side that wins at
    ``n_high``; ``changes``: of certain sign along all n's (this is the first).
    """

    n_low: float
    estimate: float
    n_high: float
    after: Side
    changes: int
    level: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)


def crossover(curves: LearningCurves, H: int, level: float = 0.95) -> Crossover | None:
    """The first change of sign of J(VB) - J(VF) along the n's at which both were measured; None if none is certain.

    Signs are certain at once (Bonferroni over the n's). The difference of continuous curves then vanishes in between:
    nothing else is assumed.
    """
    vb, vf = curves.curve("VB", H), curves.curve("VF", H)
    if vb is None or vf is None:
        return None
    n, i, j = np.intersect1d(vb.n, vf.n, return_indices=True)
    if not n.size:
        return None
    gap = vb.J[i] - vf.J[j]
    each = 0.5 + (1.0 - (1.0 - level) / n.size) / 2.0
    freedom = min(vb.freedom, vf.freedom)
    half = dataclasses.replace(vb, freedom=freedom).quantile(each) * np.hypot(vb.se[i], vf.se[j])
    certain = np.flatnonzero(np.abs(gap) > half)
    signs = np.sign(gap[certain])
    turns = np.flatnonzero(signs[1:] != signs[:-1])
    if not turns.size:
        return None
    left, right = int(certain[turns[0]]), int(certain[turns[0] + 1])
    inside = slice(left, right + 1)
    u, d = np.log(n[inside]), gap[inside] * signs[turns[0] + 1]
    last = int(np.flatnonzero(d <= 0.0)[-1])
    root = u[last] + (u[last + 1] - u[last]) * (-d[last]) / (d[last + 1] - d[last])
    after: Side = "VB" if gap[right] > 0.0 else "VF"
    return Crossover(float(n[left]), float(np.exp(root)), float(n[right]), after, int(turns.size), level)


@dataclass(frozen=True, slots=True)
class Reading:
    """A complexity in nats as a bound of theory reads it from a curve; None where the curve or the bound says nothing.

    ``bound``: whether the complexity is *at most* or *at least* this. ``low`` and ``high``: from the curve's error.
    """

    name: str
    bound: Literal["at most", "at least"]
    estimate: float | None
    low: float | None
    high: float | None
    says: str

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)


def effective_complexity(
    curves: LearningCurves, sigma: float, c: float, H: int, seed: int = 0, level: float = 0.95
) -> tuple[Reading, ...]:
    """Readings of log|Pi| and log|R| at budget H from the curves' losses a n^-nu, nu = 1/2 (VF) and 1 (VB).

    ``sigma`` (tokens, positive) is that of the cloned expert, ``c`` the anti-concentration at the expert's margin.
    Raises :class:`TraceError` if they are out of range.
    """
    if not (0.0 < sigma <= H / 2.0 and 0.0 < c <= 1.0):
        raise TraceError(f"sigma = {sigma:g}, c = {c:g}: expected 0 < sigma <= {H / 2:g} and 0 < c <= 1")
    wanted: tuple[tuple[Side, Literal["at most", "at least"], str, _Inverse], ...] = (
        ("VF", "at most", "vf-lower, if the class is as hard to clone as the codebook", _vf_lower),
        ("VF", "at least", "vf-upper at the largest n", _vf_upper),
        ("VB", "at least", "vb-upper-top-c at the largest n", _vb_upper),
    )
    found = []
    for side, bound, says, inverse in wanted:
        name = "log|Pi|" if side == "VF" else "log|R|"
        losses, why_not = _losses(curves, side, H, seed, level)
        if losses is None:
            found.append(Reading(name, bound, None, None, None, f"{says}: not read, {why_not}"))
            continue
        curve = curves.curve(side, H)
        assert curve is not None
        values = [inverse(loss, float(curve.n[-1]), sigma, c, H) for loss in losses]
        found.append(Reading(name, bound, values[1], values[0], values[2], says))
    return tuple(found)


def _losses(
    curves: LearningCurves, side: Side, H: int, seed: int, level: float
) -> tuple[tuple[float, float, float] | None, str]:
    """Low, estimate and high of what is lost to the limit at the largest n, tokens; or why that is not known."""
    curve = curves.curve(side, H)
    if curve is None:
        return None, f"{side} was not measured at H = {H}"
    rng = np.random.default_rng([seed, 0xC1A5, side == "VF"])
    reason = reject(curve, _NU[side], rng)
    if reason is not None:
        return None, reason
    estimate, drawn, why_not = resampled_amplitudes(curve, _NU[side], rng)
    if why_not is not None:
        return None, why_not
    low, high = np.quantile(drawn, [0.5 - level / 2.0, 0.5 + level / 2.0])
    return (float(low), estimate, float(high)), ""


_Inverse = Callable[[float, float, float, float, int], float | None]
_NATS = (math.log(2.0), 1e9)


def _vf_lower(loss: float, n: float, sigma: float, c: float, H: int) -> float | None:
    """L at which the closed form of ``vf-lower`` equals the loss: it grows as the root of L."""
    from theory.notation import LN2
    from theory.verifier_free import closed_form_window

    one = closed_form_window({"n": n, "log2_M": 1.0 / LN2, "sigma": sigma, "rho": H / 2.0})["value"]
    return (loss / one) ** 2


def _vf_upper(loss: float, n: float, sigma: float, c: float, H: int) -> float | None:
    from theory.notation import LN2
    from theory.verifier_free import VF_UPPER

    return _smallest(lambda L: VF_UPPER.evaluate(H=H, n=round(n), log2_M=L / LN2, sigma=sigma).value, loss)


def _vb_upper(loss: float, n: float, sigma: float, c: float, H: int) -> float | None:
    from theory.notation import LN2
    from theory.verifier_based import VB_UPPER_TOP_C

    return _smallest(lambda L: VB_UPPER_TOP_C.evaluate(H=H, c=c, n=round(n), log2_M=L / LN2).value, loss)


def _smallest(bound: Callable[[float], float], loss: float) -> float | None:
    """The smallest L whose bound allows the loss; None if that of two members does already."""
    low, high = _NATS
    if bound(low) >= loss:
        return None
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if bound(middle) >= loss else (middle, high)
    return high
