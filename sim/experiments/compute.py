r"""``compute``: one long trace or many short ones, at equal tokens and at equal FLOPs, on the planted task.

A prompt may cost as much as one trace of B tokens (``horizon``). With traces of h tokens there are
:math:`N(h)=\lfloor\mathrm{cost}(B)/\mathrm{cost}(h)\rfloor` of them:

* ``tokens``: cost(h) = h;
* ``flops``: :math:`\mathrm{cost}(h)=h+h^2/h_0`, :math:`h_0=12d`, in units of a token's dense FLOPs. A layer of width d
  multiplies and adds once for each of :math:`4d^2` weights of attention and :math:`8d^2` of the feed-forward part:
  :math:`24d^2` a token. Scores and mixing over the t tokens before it cost 2td each, on average over a trace
  :math:`2hd`: a share of h/(12d). Embeddings, the prompt, memory traffic, batching, the verifier and the traces that it
  was trained on cost nothing here.

``solved`` is the chance that what is handed in solves the prompt, the mean over prompts:

* ``base``: one trace, no verifier: more of them are of no use, P(T <= h);
* ``base-verified``: the base with the true verifier, :math:`1-P(T>h|x)^N`, gamma drawn once a trace;
* ``base-erm``: the best of N by a verifier of the class of maps, fitted to n labelled base traces
  (:mod:`sim.training.planted_parallel`): what is handed in solves or not; one value a data set, the mean over ties;
* ``clone-ball``, ``clone-ball-verified``: the same of the best policy of the chi-squared ball at B, exactly reweighted:
  what cloning infinitely many of the expert's traces comes to.

``J`` is the budget left once solved, where traces run one after the other until one solves, in the budget's unit: at
equal tokens and h = B the return itself.

All mixtures have one mean return at B: gammas :math:`\gamma\pm d`, weights that make up the mean (the dial of
:func:`sim.tasks.planted.heterogeneity_dial`, by its distance d).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.ball_expert import ball_expert
from sim.cells import EpsilonRule
from sim.experiments.experiment import Cell, Experiment, Measurement, Samples, Settings, chosen_learners, require_range
from sim.experiments.planted import cyclic_prompts
from sim.ranges import parse_range
from sim.rollout import rollout_traces
from sim.tasks.planted import Planted
from sim.training.planted_class import MapClass, Traces, best_maps, completions, disagreements
from sim.training.planted_parallel import Declarations
from sim.verdict import Side
from theory.chi2_ball import CHI2_EXPERT
from theory.theorem import Instance
from theory.verifier_based import VB_UPPER_BEST_OF_N

__all__ = [
    "EXPERIMENT",
    "Compute",
    "ComputeSettings",
    "best_length",
    "budget_left",
    "constant_hazard_length",
    "cost",
    "traces_at",
]

Floats = NDArray[np.float64]

ACCOUNTINGS = ("tokens", "flops")
BASE, VERIFIED, ERM, CLONE, CLONE_VERIFIED = METHODS = (
    "base", "base-verified", "base-erm", "clone-ball", "clone-ball-verified",
)  # fmt: skip
MAX_BUDGET = 2**17
MAX_LABELS = 2**22
#: Values at most this far below the best count as best.
_TIE = 1e-12
_PLANTED = Instance("planted")


@dataclass(frozen=True)
class ComputeSettings(Settings):
    """``horizon`` is the budget B; ``epsilon`` the root of the ball's radius; ``n`` labelled traces of ``label_length``
    tokens; ``spreads`` the distances d of the mixtures; 2^log2_M permutations of V tokens, golds of ell."""

    horizon: str = "16384"
    epsilon: str = "0.5"
    log2_M: int = 4
    learners: str = "all"
    lengths: str = "8..16384x2"
    spreads: tuple[float, ...] = (0.0, 0.5, 1.0)
    gamma: float = 0.5
    n: int = 16
    label_length: int = 512
    d_model: int = 768
    V: int = 8
    ell: int = 6
    prompts: int = 4

    def __post_init__(self) -> None:
        """Checks every field."""
        super().__post_init__()
        require_range("--log2-M", self.log2_M, 1, 10)
        require_range("d_model", self.d_model, 1, 10**6)
        require_range("V", self.V, 2, 64)
        require_range("ell", self.ell, 1, min(self.V, 8))
        require_range("prompts", self.prompts, 1, self.V)
        require_range("--horizon", self.B, self.ell, MAX_BUDGET)
        require_range("label_length", self.label_length, self.ell, 2**16)
        require_range("n", self.n, 1, MAX_LABELS)
        if self.n * self.seeds > MAX_LABELS:
            raise ValueError(
                f"--seeds {self.seeds}: {self.n} labelled traces each, expected at most {MAX_LABELS} in all"
            )
        if EpsilonRule.parse(self.epsilon).kind != "fixed":
            raise ValueError(f"--epsilon {self.epsilon}: expected a number in (0, 1]")
        if not self.spreads or min(self.spreads) < 0.0 or len(set(self.spreads)) < len(self.spreads):
            raise ValueError(f"spreads {self.spreads}: expected different numbers, none below 0")
        _ = self.sizes, self.chosen, self.task

    @property
    def B(self) -> int:
        """The budget of a prompt, in tokens of one trace."""
        found = _whole("--horizon", self.horizon)
        if len(found) != 1:
            raise ValueError(f"--horizon {self.horizon}: expected one budget")
        return found[0]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Lengths h of a trace, increasing: those asked for from ell to B, and B."""
        found = {h for h in _whole("lengths", self.lengths) if self.ell <= h <= self.B}
        return tuple(sorted(found | {self.B}))

    @property
    def chosen(self) -> tuple[str, ...]:
        """Methods that are measured."""
        return chosen_learners(self.learners, METHODS)

    @property
    def strength(self) -> float:
        """epsilon."""
        return EpsilonRule.parse(self.epsilon).value

    @property
    def scale(self) -> int:
        """h_0: the length at which attention costs as much as all else, tokens."""
        return 12 * self.d_model

    @property
    def task(self) -> Planted:
        """The task of one gamma."""
        return Planted(
            V=self.V,
            ell=self.ell,
            H=self.B,
            gammas=(self.gamma, self.gamma),
            weights=(0.5, 0.5),
            M=2**self.log2_M,
            prompts=cyclic_prompts(self.V, self.ell, self.prompts),
            seed=self.seed,
        )


def _whole(name: str, text: str) -> tuple[int, ...]:
    try:
        return parse_range(text)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


def cost(accounting: str, h: ArrayLike, scale: float) -> Floats:
    """Cost of a trace of ``h`` tokens, in tokens or in dense tokens; ``scale`` is h_0."""
    length = np.asarray(h, dtype=np.float64)
    return np.asarray(length if accounting == "tokens" else length + length**2 / scale)


def traces_at(accounting: str, B: int, h: int, scale: int) -> int:
    """N(h), exactly: whole numbers throughout."""
    return B // h if accounting == "tokens" else (B * (scale + B)) // (h * (scale + h))


def budget_left(masses: Floats, accounting: str, B: int, N: int, scale: int) -> float:
    """Mean budget left when the first of N traces, one after the other, solves; the solving token is still to be paid.

    ``masses`` (h,) of T = 1..h.
    """
    h = masses.size
    budget, each = float(cost(accounting, B, scale)), float(cost(accounting, h, scale))
    solved = float(masses.sum())
    first = float(masses @ (budget - cost(accounting, np.arange(h), scale)))
    before = np.arange(N)
    unsolved = max(1.0 - solved, 0.0)
    return float(np.sum(unsolved**before * (first - before * each * solved)))


def best_length(lengths: Sequence[int], values: Sequence[float]) -> int:
    """The shortest length of the largest value."""
    most = max(values)
    return next(h for h, value in zip(lengths, values, strict=True) if value >= most - _TIE)


class _Exact(NamedTuple):
    """What is exact of one mixture at every length."""

    config: Planted
    sigma: float  # root of E_x Var(R|x) at B, tokens
    laws: Floats  # (B + 1, X) of T = 1..B and never
    clones: Floats  # the same under the ball's best policy


@functools.lru_cache(maxsize=16)
def _exact(settings: ComputeSettings, spread: float) -> _Exact:
    config = mixture_of(settings, spread)
    laws = np.stack([np.append(law.masses, law.never) for law in config.solve_time_laws()], axis=1)
    returns = np.append(np.arange(settings.B, 0.0, -1.0), 0.0)
    return _Exact(config, config.moments()[1], laws, ball_expert(laws, returns, settings.strength**2).law)


def mixture_of(settings: ComputeSettings, spread: float) -> Planted:
    """gamma +- spread, weights of the same mean return as gamma alone."""
    task = settings.task
    if spread == 0.0:
        return task
    gammas = (settings.gamma - spread, settings.gamma + spread)
    found = task.mixed([settings.gamma, *gammas])
    mean, low, high = (float(value) for value in found.copies @ found.means)
    upper = (mean - low) / (high - low)
    return dataclasses.replace(task, gammas=gammas, weights=(1.0 - upper, upper))


class _Searched(NamedTuple):
    """Of every map of the class, at every length."""

    kept: dict[tuple[str, int], Floats]  # (M,) chance that the kept trace solved, by accounting and length
    error: dict[int, Floats]  # (M,) E_x P(the verifier is wrong on whether the trace is solved)


@functools.lru_cache(maxsize=16)
def _searched(settings: ComputeSettings, spread: float) -> _Searched:
    members = MapClass(_exact(settings, spread).config)
    found = Declarations.of(members.pairs("truth"), settings.sizes)
    kept, error = {}, {}
    for h, declared in zip(settings.sizes, found, strict=True):
        error[h] = members.of_maps(declared.error)
        for accounting in ACCOUNTINGS:
            N = traces_at(accounting, settings.B, h, settings.scale)
            kept[accounting, h] = members.of_maps(declared.kept(N))
    return _Searched(kept, error)


@functools.lru_cache(maxsize=16)
def _fitted(settings: ComputeSettings, spread: float) -> Floats:
    """Law (seeds, M) of the map whose verifier agrees with all labels, of each data set."""
    config = dataclasses.replace(_exact(settings, spread).config, H=settings.label_length)
    task = config.build()
    own = Cell(Compute.name, {"mixture": _name(spread)}, settings.seed)
    numbers = np.arange(settings.seeds * settings.n, dtype=np.int32)
    with jax.enable_x64(True):
        outcomes, traces = rollout_traces(task.mdp, task.base, own.key(), numbers)
        prompts, tokens = task.prompt[np.asarray(outcomes.prompt)], np.asarray(traces.tokens)
    data = Traces(tokens, prompts.astype(np.int64), numbers.astype(np.int64) // settings.n, settings.seeds)
    members = MapClass(config)
    return best_maps(-disagreements(members, data, completions(members, data)))


def _name(spread: float) -> str:
    return "homogeneous" if spread == 0.0 else f"gamma +- {spread:g}"


class Compute(Experiment[ComputeSettings]):
    """Chance of solving against the length of a trace."""

    name = "compute"
    question = "Is a budget better spent on one long trace or on many short ones?"
    axes = ("mixture", "accounting", "length")
    batch = 8

    def cells(self, settings: ComputeSettings) -> tuple[Cell, ...]:
        """Lengths innermost."""
        return tuple(
            self.cell(settings, mixture=_name(spread), accounting=accounting, length=h)
            for spread in settings.spreads
            for accounting in ACCOUNTINGS
            for h in settings.sizes
        )

    def measure(self, settings: ComputeSettings, cells: Sequence[Cell]) -> list[Samples]:
        """Of each data set: the chance that the kept trace solved, and how often its verifier is wrong."""
        return [self._learned(settings, cell) if ERM in settings.chosen else {} for cell in cells]

    def _learned(self, settings: ComputeSettings, cell: Cell) -> Samples:
        spread = _spread(settings, cell)
        searched, picked = _searched(settings, spread), _fitted(settings, spread)
        return {
            "solved": picked @ searched.kept[cell["accounting"], cell["length"]],
            "error": picked @ searched.error[cell["length"]],
        }

    def judge(self, settings: ComputeSettings, cell: Cell, samples: Samples) -> list[Measurement]:
        """Chances of solving, exact but for the learned verifier; the budget left."""
        accounting, h = cell["accounting"], cell["length"]
        found, N = _exact(settings, _spread(settings, cell)), traces_at(accounting, settings.B, h, settings.scale)
        alone, cloned = found.laws[:h].sum(axis=0), found.clones[:h].sum(axis=0)
        within = _ball_side(alone, settings.strength, N=1)
        exact = {
            BASE: (alone, None),
            VERIFIED: (_any(alone, N), None),
            CLONE: (cloned, within),
            CLONE_VERIFIED: (_any(cloned, N), _ball_side(alone, settings.strength, N)),
        }
        rows = []
        for name in settings.chosen:
            if name == ERM:
                lower = _search_side(alone, N, float(samples["error"].mean()))
                rows.append(Measurement("solved", ERM, "probability", samples["solved"], lower=lower, reach=(0.0, 1.0)))
            else:
                value, upper = exact[name]
                rows.append(Measurement("solved", name, "probability", exact=float(value.mean()), upper=upper))
        unit = "tokens" if accounting == "tokens" else "dense tokens"
        budget = float(cost(accounting, settings.B, settings.scale))
        for name, laws in ((VERIFIED, found.laws), (CLONE_VERIFIED, found.clones)):
            if name in settings.chosen:
                left = [budget_left(law, accounting, settings.B, N, settings.scale) for law in laws[:h].T]
                rows.append(Measurement("J", name, unit, exact=float(np.mean(left)), scale=budget))
        rows.append(Measurement("traces", "N", "traces", exact=float(N)))
        if ERM in settings.chosen:
            rows.append(Measurement("verifier_error", ERM, "probability", samples["error"], reach=(0.0, 1.0)))
        return rows

    def summarise(
        self, settings: ComputeSettings, measured: Sequence[tuple[Cell, list[Measurement]]]
    ) -> dict[str, Any]:
        """The best length of each mixture, accounting and method; heterogeneity; claims that do not hold."""
        rows = []
        for spread in settings.spreads:
            for name in settings.chosen:
                found = {a: _curve(measured, _name(spread), a, name) for a in ACCOUNTINGS}
                if all(found.values()):
                    rows.append(_best(_name(spread), name, found))
        return {
            "h0": settings.scale,
            "cost_of_the_budget_in_dense_tokens": float(cost("flops", settings.B, settings.scale)),
            "heterogeneity": {_name(d): _exact(settings, d).sigma for d in settings.spreads},
            "best_length_of_constant_hazard": constant_hazard_length(settings.ell, settings.scale),
            "best": rows,
            "broken": _broken(measured),
        }

    def violated(self, summary: Mapping[str, Any]) -> list[str]:
        """One of N traces that solved must have been there; more traces of one length solve no less."""
        return list(summary.get("broken", []))

    def lines(self, settings: ComputeSettings, measured: Sequence[tuple[Cell, list[Measurement]]]) -> list[str]:
        """The table, and the best lengths."""
        lines = super().lines(settings, measured)
        for row in self.summarise(settings, measured)["best"]:
            found = "; ".join(
                f"{a}: h = {row[a]['length']}, {row[a]['solved']:.4f} (one trace: {row[a]['sequential']:.4f})"
                for a in ACCOUNTINGS
            )
            lines.append(f"{row['mixture']}, {row['method']}: best at {found}")
        return lines

    def estimated_seconds(self, settings: ComputeSettings) -> float:
        """Recursions over B tokens for each mixture, and labelled traces."""
        pairs = settings.prompts * 2.0**settings.log2_M
        recursion = settings.B * (6e-5 + 5e-7 * pairs * (ERM in settings.chosen))
        labels = 1e-7 * settings.seeds * settings.n * settings.label_length
        return 4.0 + len(settings.spreads) * (recursion + labels)


def _spread(settings: ComputeSettings, cell: Cell) -> float:
    return next(d for d in settings.spreads if _name(d) == cell["mixture"])


def _any(chance: Floats, N: int) -> Floats:
    """1 - (1 - chance)^N."""
    with np.errstate(divide="ignore"):
        return np.asarray(-np.expm1(N * np.log1p(-np.minimum(chance, 1.0))))


def _ball_side(alone: Floats, epsilon: float, N: int) -> Side:
    """``chi2-expert`` on the reward 1{T <= h}: no policy of the ball solves more often; so of N of its traces.

    ``alone`` (X,): P(T <= h) under the base. Where that is 0 or 1 nothing is proven.
    """
    bounds, proven = [], True
    for p in alone:
        spread = math.sqrt(p * max(1.0 - p, 0.0))
        found = CHI2_EXPERT.evaluate(mu=p, sigma=spread, epsilon=epsilon, H=1)
        proven = proven and found.assumptions_hold
        bounds.append(min(found.value, 1.0))
    bound = float(_any(np.array(bounds), N).mean())
    proven = proven and CHI2_EXPERT.speaks_of(_PLANTED)
    return Side(CHI2_EXPERT.label, bound, proven, proven and bound < 1.0)


def _search_side(alone: Floats, N: int, error: float) -> Side | None:
    """``vb-upper-best-of-n`` on the reward 1{T <= h}, against a policy that always solves: a lower side of ``solved``.

    That policy is in the ball of radius 1/p - 1, p = min_x P(T <= h|x), whose margin is the largest reward.
    The kept trace is one of largest declared reward; which of several does not enter the proof.
    """
    p = float(alone.min())
    if not 0.0 < p < 1.0:
        return None
    found = VB_UPPER_BEST_OF_N.evaluate(
        mu=p, sigma=math.sqrt(p * (1.0 - p)), epsilon=math.sqrt((1.0 - p) / p), c=p, N=N, epsilon_ver=error
    )
    side = Side.of(found, VB_UPPER_BEST_OF_N.speaks_of(_PLANTED), 1.0 - found.value)
    return dataclasses.replace(side, valid=side.proven and side.bound > 0.0)


def constant_hazard_length(ell: int, scale: float) -> float:
    """The h that makes (h - a)/(h + h^2/h_0) largest, a = ell - 1: traces that cannot solve in their first a tokens and
    then do at a small constant rate, at equal FLOPs. At equal tokens it is the longest there is."""
    wasted = ell - 1
    return float(wasted + math.sqrt(wasted**2 + wasted * scale))


def _curve(
    measured: Sequence[tuple[Cell, list[Measurement]]], mixture: str, accounting: str, method: str
) -> dict[int, float]:
    """Mean of ``solved`` by length."""
    return {
        cell["length"]: m.mean
        for cell, row in measured
        if (cell["mixture"], cell["accounting"]) == (mixture, accounting)
        for m in row
        if (m.quantity, m.method) == ("solved", method)
    }


def _best(mixture: str, method: str, found: Mapping[str, Mapping[int, float]]) -> dict[str, Any]:
    row: dict[str, Any] = {"mixture": mixture, "method": method}
    for accounting, curve in found.items():
        best = best_length(tuple(curve), tuple(curve.values()))
        row[accounting] = {"length": best, "solved": curve[best], "sequential": curve[max(curve)]}
    return row | {"shift": row["flops"]["length"] / row["tokens"]["length"]}


def _broken(measured: Sequence[tuple[Cell, list[Measurement]]]) -> list[str]:
    found = []
    tokens: dict[tuple[Any, Any, str], float] = {}
    for cell, row in measured:
        where = f"{cell['mixture']}, {cell['accounting']}, h = {cell['length']}"
        solved = {m.method: m for m in row if m.quantity == "solved"}
        if VERIFIED in solved and ERM in solved:
            samples = solved[ERM].samples
            assert samples is not None  # it is learned from data
            if float(samples.max()) > solved[VERIFIED].exact + 1e-9:
                found.append(f"{where}: a learned verifier keeps a solved trace more often than there is one")
        for method in {VERIFIED, CLONE_VERIFIED} & set(solved):
            place = cell["mixture"], cell["length"], method
            if cell["accounting"] == "tokens":
                tokens[place] = solved[method].exact
            elif solved[method].exact < tokens.get(place, 0.0) - 1e-9:
                found.append(f"{where}, {method}: more traces than at equal tokens solve less")
    return found


EXPERIMENT = Compute(ComputeSettings())
