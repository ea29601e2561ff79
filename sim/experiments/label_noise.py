r"""``label-noise``: learning from labels flipped with probability eta, against learning from none.

**Task** ``codebook``: R in {0, H}, one label a trace. ERM is the hypothesis that disagrees with fewest labels, ties at
random. The truth agrees with each with probability :math:`1-\eta`, wrong ones with 1/2: the data tell what traces of an
expert of :math:`\varepsilon'=1-2\eta` tell, and

* P(hit) of ERM is exactly that of maximum likelihood there, ``mle_success_codebook``;
* the best learner from such labels gains :math:`\rho E|w|` at :math:`\varepsilon'` (``vb-bayes``, which knows eta), and
  ``vf-lower-truncated`` at :math:`\varepsilon'` bounds every learner from them;
* labels flipped more are a garbling of labels flipped less. So the best learner from labels is at least as good as the
  best from n traces of expert epsilon if and only if :math:`\eta\le(1-\varepsilon)/2`, and so is ``vb-ball`` beside
  ``vf-mle``.

Verifier-free learners see no labels: their lines are flat. Regrets are against the ball's best expert.

**Task** ``rare-success``: |V| tokens, the first decides, R in {0, H}, classes of M members and a few prompts. Learners
train: on labels of whole traces, flipped together. A state tells the first token, so that a verifier may say at every
later one what it says of the trace. The class is drawn once, the truth anew for every trial. The expert is the best
policy of the ball of :math:`\sqrt\kappa=(p_e-c)/\sqrt{c(1-c)}`; to filter n such traces takes more than n base draws.

At one eta and over all of them, all learners of a kind see the same traces: differences are those of the labels.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sim.cells import MAX_N, DataRule, EpsilonRule
from sim.cells import Cell as CodebookCell
from sim.experiments.codebook import codebook_cell, regrets_of, sampled, values_of
from sim.experiments.experiment import Cell, Experiment, Measurement, Samples, Settings, chosen_learners, require_range
from sim.experiments.trained import (
    best_of_n_side,
    keys_of,
    top_c_side,
    vf_upper_side,
)
from sim.mdp import TokenMDP
from sim.ranges import one_horizon
from sim.tasks.rare_success import RareSuccess
from sim.training.data import draw_base, draw_expert
from sim.training.problem import Problem, value_of_law
from sim.training.problem import Settings as Numbers
from sim.training.registry import BATCH, LEARNERS, VERIFIERS
from sim.training.search import verifier_error
from sim.verdict import STANDARD_ERRORS, Side, bounds_of
from theory.crossover import vf_cloning_value
from theory.laws import ReturnLaw
from theory.theorem import Evaluation, Instance
from theory.verifier import VERIFIER_NOISY
from theory.verifier_based import VB_UPPER_BEST_OF_N, VB_UPPER_TOP_C
from theory.verifier_free import VF_LOWER_TRUNCATED, mle_success_codebook

__all__ = ["EXPERIMENT", "LabelNoise", "LabelNoiseSettings", "crossing", "first_token_problem"]

Floats = NDArray[np.float64]

CODEBOOK, RARE = "codebook", "rare-success"
FREE, NOISY = ("vf-bayes", "vf-mle"), ("vb-bayes", "vb-ball", "vb-top-c", "vb-best-of-n")
TRAINED = (
    "vf-class-mle", "vf-count-mle", "vf-bayes-class",
    "vb-bayes-class", "vb-erm-top-c", "vb-erm-best-of-n", "vb-logistic-top-c", "vb-logistic-best-of-n",
)  # fmt: skip
METHODS = (*FREE, *NOISY, *TRAINED)
#: Name of what is measured of ERM's verifier itself.
ERROR = "erm_error"
#: Exact Bayes, and who sees the same data.
FLOORS = {
    "vf-bayes": ("vf-mle",),
    "vb-bayes": NOISY[1:],
    "vf-bayes-class": ("vf-class-mle", "vf-count-mle"),
    "vb-bayes-class": tuple(name for name in TRAINED if name.startswith("vb") and name != "vb-bayes-class"),
}
_RARE = RareSuccess(V=8, M=64, H=8, prompts=8)
#: Learners from labels and from none that do the same with their data.
_ALIKE = (("vb-bayes", "vf-bayes"), ("vb-ball", "vf-mle"))
#: The eta at which one curve leaves the other, or why there is none.
Crossing = tuple[float | None, str]
_NEVER, _ALWAYS = "worse at every eta", "as good at every eta"
#: Exact numbers are compared up to this.
EXACT = 1e-9
#: Trials from which on sampled means are compared. On the codebook what decides a mean may be rare: of a hundred trials
#: the standard error may be far too small.
FEWEST = {CODEBOOK: 256, RARE: 32}


@dataclass(frozen=True)
class LabelNoiseSettings(Settings):
    """``etas`` in [0, 1/2); ``horizon``, ``rule``, ``log2_M``, ``epsilon``, ``N`` are the codebook's, ``rare`` and
    ``n``, ``p_e``, ``trained_seeds`` the trained learners' (every second eta)."""

    horizon: str = "512"
    rule: str = "n=H"
    log2_M: int = 64
    epsilon: str = "capacity:1"
    N: int = 16
    learners: str = "all"
    etas: tuple[float, ...] = tuple(i / 50 for i in range(25))
    rare: RareSuccess = _RARE
    n: int = 64
    p_e: float = 0.5
    trained_seeds: int = 64

    def __post_init__(self) -> None:
        """Checks every field."""
        super().__post_init__()
        require_range("--log2-M", self.log2_M, 1, 4096)
        require_range("--N", self.N, 1, 10**9)
        require_range("n", self.n, 1, MAX_N)
        require_range("trained_seeds", self.trained_seeds, 2, 10**7)
        _ = self.chosen, self.H, EpsilonRule.parse(self.epsilon), DataRule.parse(self.rule)(self.H)
        if not self.etas or not all(0.0 <= eta < 0.5 for eta in self.etas) or sorted(set(self.etas)) != [*self.etas]:
            raise ValueError(f"etas {self.etas}: expected increasing numbers in [0, 0.5)")
        if not self.rare.c < self.p_e < 1.0:
            raise ValueError(f"p_e {self.p_e:g}: expected more than the base's {self.rare.c:g} and less than 1")

    @property
    def H(self) -> int:
        """Horizon of the codebook, tokens."""
        return one_horizon(self.horizon)

    @property
    def chosen(self) -> tuple[str, ...]:
        """Learners that are run, in their own order."""
        return chosen_learners(self.learners, METHODS)

    def of_task(self, task: str) -> tuple[str, ...]:
        """Those of one task."""
        return tuple(name for name in self.chosen if (name in TRAINED) == (task == RARE))


class LabelNoise(Experiment[LabelNoiseSettings]):
    """Regret against eta."""

    name = "label-noise"
    question = "How many wrong labels make verification worth less than no labels at all?"
    axes = ("task", "eta")
    batch = 16

    def cells(self, settings: LabelNoiseSettings) -> tuple[Cell, ...]:
        """Every eta on the codebook, every second one with learners that train."""
        grids = ((CODEBOOK, settings.etas), (RARE, settings.etas[::2]))
        return tuple(
            self.cell(settings, task=task, eta=eta) for task, etas in grids if settings.of_task(task) for eta in etas
        )

    def instance(self, settings: LabelNoiseSettings) -> CodebookCell:
        """The codebook, with the expert that verifier-free learners see."""
        H = settings.H
        n = DataRule.parse(settings.rule)(H)
        return codebook_cell(H, n, settings.log2_M, epsilon=settings.epsilon, seed=settings.seed, N=settings.N)

    def labelled(self, settings: LabelNoiseSettings, cell: Cell) -> CodebookCell:
        """The codebook whose expert tells as much as noisy labels do; its random numbers are this cell's own."""
        told = self.instance(settings)
        seed = int.from_bytes(cell.digest[:8], "big") >> 1
        return codebook_cell(told.H, told.n, told.log2_M, epsilon=1.0 - 2.0 * cell["eta"], seed=seed, N=told.N)

    def measure(self, settings: LabelNoiseSettings, cells: Sequence[Cell]) -> list[Samples]:
        """Evidence of both kinds of data on the codebook; values and errors of what was trained."""
        drawn = [cell for cell in cells if cell["task"] == CODEBOOK]
        collapsed = iter(self._evidence(settings, drawn) if drawn else [])
        return [next(collapsed) if cell["task"] == CODEBOOK else _trained(settings, cell) for cell in cells]

    def _evidence(self, settings: LabelNoiseSettings, cells: Sequence[Cell]) -> list[Samples]:
        told = self.instance(settings)
        found = sampled([told, *(self.labelled(settings, c) for c in cells)], settings.seeds, told.n)
        free, noisy = found[0], found[1:]
        return [
            {
                "vf_posterior_sign": free["posterior_sign"],
                "vf_mle_hit": free["mle_hit"],
                "vb_posterior_sign": one["posterior_sign"],
                "vb_erm_hit": one["mle_hit"],
            }
            for one in noisy
        ]

    def judge(self, settings: LabelNoiseSettings, cell: Cell, samples: Samples) -> list[Measurement]:
        """Regret of every learner; the verifier's error; their bounds."""
        if cell["task"] == RARE:
            return _judged(settings, cell, samples)
        told, names = self.instance(settings), settings.of_task(CODEBOOK)
        blind = np.full(settings.seeds, math.nan)
        free = {"posterior_sign": samples["vf_posterior_sign"], "mle_hit": samples["vf_mle_hit"], "erm_hit": blind}
        found = regrets_of(told, free, [name for name in FREE if name in names])
        noisy = {"posterior_sign": samples["vb_posterior_sign"], "mle_hit": blind, "erm_hit": samples["vb_erm_hit"]}
        return found + _noisy_regrets(told, cell["eta"], noisy, [name for name in NOISY if name in names])

    def summarise(
        self, settings: LabelNoiseSettings, measured: Sequence[tuple[Cell, list[Measurement]]]
    ) -> dict[str, Any]:
        """Where each learner from labels stops beating the verifier-free ones, and what theorems say of it."""
        summary: dict[str, Any] = {}
        on_codebook = [(c, row) for c, row in measured if c["task"] == CODEBOOK]
        if on_codebook:
            summary |= self._of_codebook(settings, on_codebook)
        trained = [(c, row) for c, row in measured if c["task"] == RARE]
        crossings = [
            _row(RARE, vb, vf, _measured_crossing(trained, vb, vf))
            for vb in TRAINED
            for vf in TRAINED
            if trained and vb.startswith("vb") and vf.startswith("vf") and {vb, vf} <= set(settings.chosen)
        ]
        summary["crossings"] = summary.get("crossings", []) + crossings
        summary["wrong_order"] = summary.get("wrong_order", []) + _below_floors(measured)
        return summary

    def _of_codebook(
        self, settings: LabelNoiseSettings, measured: Sequence[tuple[Cell, list[Measurement]]]
    ) -> dict[str, Any]:
        told, names = self.instance(settings), settings.chosen
        break_even = (1.0 - told.epsilon) / 2.0
        crossings = []
        for vf in (name for name in FREE if name in names):
            level = next(m for m in measured[0][1] if m.method == vf)
            for vb in (name for name in NOISY if name in names):
                known = level.mean if math.isnan(level.exact) else level.exact
                sampled_only = vb == "vb-bayes"
                found = _measured_crossing(measured, vb, vf) if sampled_only else _exact_crossing(told, vb, known)
                crossings.append(_row(CODEBOOK, vb, vf, found, break_even if (vb, vf) in _ALIKE else None))
        return {
            "epsilon": told.epsilon,
            "break_even_eta": break_even,
            "crossings": crossings,
            "wrong_order": _wrong_order(measured, break_even),
        }

    def violated(self, summary: Mapping[str, Any]) -> list[str]:
        """More noise never helps, and the order changes at the break-even: garbling. Nobody is better than Bayes."""
        return list(summary.get("wrong_order", []))

    def lines(self, settings: LabelNoiseSettings, measured: Sequence[tuple[Cell, list[Measurement]]]) -> list[str]:
        """A table for each task, and where lines cross."""
        lines = []
        for task in (CODEBOOK, RARE):
            mine = [(cell, row) for cell, row in measured if cell["task"] == task]
            lines += super().lines(settings, mine) if mine else []
        for row in self.summarise(settings, measured)["crossings"]:
            where = row["reason"] if row["eta"] is None else f"as good up to eta = {row['eta']:.4f}"
            proven = f" (proven: {row['proven']:.4f})" if row["proven"] is not None else ""
            lines.append(f"{row['task']}: {row['labels']} beside {row['none']}: {where}{proven}")
        return lines

    def estimated_seconds(self, settings: LabelNoiseSettings) -> float:
        """A batch of the sampler, and compilation and training of each learner."""
        grown = max(1.0, settings.seeds / 256)
        trained = settings.of_task(RARE)
        one = 0.3 * settings.trained_seeds / 64 * sum(1.0 if "logistic" in name else 0.1 for name in trained)
        sampled = 6.0 + 0.02 * len(settings.etas) * grown if settings.of_task(CODEBOOK) else 0.0
        return 2.0 + sampled + 1.0 * len(trained) + one * len(settings.etas[::2])


def _row(task: str, vb: str, vf: str, found: Crossing, proven: float | None = None) -> dict[str, Any]:
    eta, reason = found
    return {"task": task, "labels": vb, "none": vf, "eta": eta, "reason": reason, "proven": proven}


def _noisy(H: int, n: int, log2_M: float, eta: float) -> Evaluation:
    return VERIFIER_NOISY.evaluate(H=H, n=n, log2_M=log2_M, eta=eta)


def _put_in(found: Evaluation, error: Evaluation, speaks: bool) -> Side:
    """A bound that has the value of another one in it: proven where both are."""
    return Side.of(found, speaks and error.assumptions_hold, label=f"{found.label} + {error.label}")


def _noisy_regrets(told: CodebookCell, eta: float, samples: Samples, names: Sequence[str]) -> list[Measurement]:
    """Regrets of the learners from labels on the codebook, and ERM's error, tokens."""
    H, ball, seen = told.H, bounds_of(told), told.described
    error = _noisy(H, told.n, told.log2_M, eta)
    speaks = VERIFIER_NOISY.speaks_of(seen)
    top_c = VB_UPPER_TOP_C.evaluate(H=H, c=told.c, epsilon=told.epsilon, epsilon_ver=error.value)
    best = VB_UPPER_BEST_OF_N.evaluate(
        H=H, c=told.c, epsilon=told.epsilon, epsilon_ver=error.value, mu=told.mu, sigma=told.sigma, N=told.N
    )
    known = VF_LOWER_TRUNCATED.evaluate(
        H=H, n=told.n, log2_M=told.log2_M, sigma=told.sigma, rho=told.rho, epsilon=1.0 - 2.0 * eta
    )
    beyond = (told.epsilon - (1.0 - 2.0 * eta)) * told.sigma  # the regret there is against that expert
    sides = {
        "vb-bayes": (Side.of(known, VF_LOWER_TRUNCATED.speaks_of(seen), known.value + beyond), None),
        "vb-ball": (ball.in_ball, None),
        "vb-top-c": (None, _put_in(top_c, error, speaks and VB_UPPER_TOP_C.speaks_of(seen))),
        "vb-best-of-n": (None, _put_in(best, error, speaks and VB_UPPER_BEST_OF_N.speaks_of(seen))),
    }
    hit = mle_success_codebook(told.n, told.log2_M, 1.0 - 2.0 * eta)
    reach = (told.expert_value - H, told.expert_value - told.mu)
    found = []
    for name in names:
        known_as = "vf-bayes" if name == "vb-bayes" else name  # the same reply to another posterior
        J = values_of(told, samples, (known_as,))[known_as]
        exact = math.nan if name == "vb-bayes" else told.expert_value - _value_at(told, name, hit)
        lower, upper = sides[name]
        found.append(Measurement("regret", name, "tokens", told.expert_value - J, exact, lower, upper, reach, H))
    # A wrong hypothesis is wrong on half of all prompts.
    wrong = 0.5 * H * (1.0 - samples["erm_hit"])
    upper = Side.of(error, speaks)
    found.append(
        Measurement("verifier_error", "erm", "tokens", wrong, 0.5 * H * (1.0 - hit), None, upper, (0.0, 0.5 * H), H)
    )
    return found


def _value_at(told: CodebookCell, name: str, hit: float) -> float:
    """J where ERM finds the truth with probability ``hit``."""
    one = np.array([hit])
    samples = {"posterior_sign": one, "mle_hit": one, "erm_hit": one}
    return float(values_of(told, samples, (name,))[name][0])


def _exact_crossing(told: CodebookCell, name: str, regret: float) -> Crossing:
    """Where the exact regret, which grows with eta, comes to ``regret``."""

    def above(eta: float) -> bool:
        hit = mle_success_codebook(told.n, told.log2_M, 1.0 - 2.0 * eta)
        return told.expert_value - _value_at(told, name, hit) > regret

    low, high = 0.0, 0.5 - 1e-12
    if above(low):
        return None, _NEVER
    if not above(high):
        return None, _ALWAYS
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if above(middle) else (middle, high)
    return low, ""


def crossing(etas: Sequence[float], excess: Sequence[float]) -> Crossing:
    """From where on ``excess``, a regret minus another one, is positive: interpolated between two ``etas``."""
    wins = [i for i, value in enumerate(excess) if value <= 0.0]
    if not wins:
        return None, _NEVER
    last = wins[-1]
    if last == len(etas) - 1:
        return None, _ALWAYS
    share = excess[last] / (excess[last] - excess[last + 1])
    return etas[last] + share * (etas[last + 1] - etas[last]), ""


def _measured_crossing(measured: Sequence[tuple[Cell, list[Measurement]]], vb: str, vf: str) -> Crossing:
    means = [{m.method: m.mean for m in row if m.quantity == "regret"} for _, row in measured]
    return crossing([float(cell["eta"]) for cell, _ in measured], [regret[vb] - regret[vf] for regret in means])


def _wrong_order(measured: Sequence[tuple[Cell, list[Measurement]]], break_even: float) -> list[str]:
    """Cells where more noise helped, or the order of optimal learners is not that of the break-even."""
    found = []
    rows = [(float(c["eta"]), {m.method: m for m in row if m.quantity == "regret"}) for c, row in measured]
    for (eta, one), (after, other) in itertools.pairwise(rows):
        found += [
            f"{name}: less regret at eta = {after:g} than at {eta:g}"
            for name in NOISY
            if name in one and _less(other[name], one[name], FEWEST[CODEBOOK])
        ]
    for eta, regret in rows:
        for vb, vf in _ALIKE:
            if vb in regret and vf in regret:
                pair = (regret[vf], regret[vb]) if eta <= break_even else (regret[vb], regret[vf])
                if _less(*pair, FEWEST[CODEBOOK]):
                    found.append(f"{vb} and {vf} at eta = {eta:g}: not in the order that {break_even:.4f} gives")
    return found


def _below_floors(measured: Sequence[tuple[Cell, list[Measurement]]]) -> list[str]:
    """Learners with less regret than exact Bayes on the same data, truths being as uniform as its prior."""
    found = []
    for cell, row in measured:
        regret = {m.method: m for m in row if m.quantity == "regret"}
        found += [
            f"{name} at eta = {cell['eta']:g}: less regret than {floor}"
            for floor, others in FLOORS.items()
            for name in others
            if floor in regret and name in regret and _less(regret[name], regret[floor], FEWEST[cell["task"]])
        ]
    return found


def _less(one: Measurement, other: Measurement, fewest: int) -> bool:
    """``one`` is less than ``other`` beyond what sampling and rounding explain; exact values where both are.

    Fewer than ``fewest`` trials of either say nothing.
    """
    if math.isfinite(one.exact) and math.isfinite(other.exact):
        return one.exact < other.exact - EXACT * one.scale
    if any(0 < m.trials < fewest for m in (one, other)):
        return False
    return one.mean < other.mean - STANDARD_ERRORS * math.hypot(one.se, other.se) - EXACT * one.scale


@functools.cache
def first_token_problem(rare: RareSuccess, p_e: float) -> Problem:
    """Rare success on states that tell the first token: X first ones, then X + i V + a where prompt i had token a.

    Verifier j says solved where that token is its own, at the first step and at all later ones; policy j plays it with
    probability ``p_e``. Features are the indicators of (prompt, first token).
    """
    X, V, M = rare.prompts, rare.V, rare.M
    after = X + np.arange(X * V).reshape(X, V)
    moves = np.concatenate([after, np.repeat(after.reshape(-1, 1), V, axis=1)])
    own = (rare.words[:, :, None] == np.arange(V)).swapaxes(0, 1).astype(np.float64)  # (M, X, V)
    verifiers = np.concatenate([own, np.repeat(own.reshape(M, X * V, 1), V, axis=2)], axis=1)
    first = np.where(own > 0.0, p_e, (1.0 - p_e) / (V - 1))
    policies = np.concatenate([first, np.full((M, X * V, V), 1.0 / V)], axis=1)
    features = np.zeros((X + X * V, V, X * V))
    features[np.arange(X)[:, None], np.arange(V), after - X] = 1.0
    features[after.reshape(-1), :, np.arange(X * V)] = 1.0
    start = np.append(np.full(X, 1.0 / X), np.zeros(X * V))
    mdp = TokenMDP.of(start, moves, verifiers[rare.truth], rare.H)
    return Problem.of(
        mdp,
        np.full((X + X * V, V), 1.0 / V),
        expert=policies[rare.truth],
        features=features,
        policies=policies,
        verifiers=verifiers,
    )


@functools.partial(jax.jit, static_argnames=("names", "size"))
def _values(
    names: tuple[str, ...], problem: Problem, numbers: Numbers, keys: jax.Array, size: int, eta: Any
) -> jax.Array:
    """J of learners that see the same data, tokens, (seeds, names), for each of ``keys``, whose truth is uniform.

    For the name ``ERROR`` it is E_x E_b|R_hat - R| of the verifier that the learners by ERM search with.
    """

    def one(key: jax.Array) -> jax.Array:
        drawn, coins, which = jax.random.split(key, 3)
        truth = jax.random.randint(which, (), 0, len(problem.verifiers))
        mdp = dataclasses.replace(problem.mdp, rewards=problem.verifiers[truth])
        mine = dataclasses.replace(problem, mdp=mdp, expert=problem.policies[truth])
        free = names[0] in LEARNERS and LEARNERS[names[0]].kind == "vf"
        data = draw_expert(mine, drawn, size, size) if free else draw_base(mine, drawn, size, size, eta)

        def value(name: str) -> Any:
            if name == ERROR:
                ties, _ = jax.random.split(coins)
                return verifier_error(mine, VERIFIERS["erm"].table(mine, numbers, data, ties))
            return value_of_law(mine, LEARNERS[name].law(mine, numbers, data, coins))

        return jnp.stack([value(name) for name in names])

    blocks = -(-keys.size // BATCH)
    padded = keys[jnp.arange(blocks * BATCH) % keys.size].reshape(blocks, BATCH)
    found = jax.lax.map(jax.vmap(one), padded)
    return jnp.asarray(found.reshape(-1, len(names))[: keys.size])


def _trained(settings: LabelNoiseSettings, cell: Cell) -> Samples:
    """J of each learner and the error of ERM's verifier, tokens; traces and truths do not depend on eta."""
    problem, eta = first_token_problem(settings.rare, settings.p_e), cell["eta"]
    numbers = Numbers(N=settings.N, c=settings.rare.c, eta=eta, iterations=200, rate=0.3)
    blind = Cell(cell.experiment, {"task": RARE}, cell.seed)
    chosen = settings.of_task(RARE)
    free = tuple(name for name in chosen if LEARNERS[name].kind == "vf")
    samples: dict[str, Floats] = {}
    with jax.enable_x64(True):
        keys = keys_of(blind, settings.trained_seeds)
        for names in (free, (*(name for name in chosen if name not in free), ERROR)):
            if names:
                found = np.asarray(_values(names, problem, numbers, keys, settings.n, eta))
                samples |= dict(zip(names, found.T.copy(), strict=True))
    return samples


def _judged(settings: LabelNoiseSettings, cell: Cell, samples: Samples) -> list[Measurement]:
    rare, eta, n = settings.rare, cell["eta"], settings.n
    H, c, log2_M = rare.H, rare.c, math.log2(rare.M)
    spread = math.sqrt(c * (1.0 - c))
    epsilon = (settings.p_e - c) / spread  # the expert is the best of this ball
    value = H * settings.p_e
    seen = Instance(RARE, law=ReturnLaw.of([0.0, H], [1.0 - c, c]))
    error = _noisy(H, n, log2_M, eta)
    uppers = {
        "vf-class-mle": vf_upper_side(H, n, rare.M, H * math.sqrt(settings.p_e * (1.0 - settings.p_e))),
        "vb-erm-top-c": _renamed(top_c_side(H, c, epsilon, error.value, c), error),
        "vb-erm-best-of-n": _renamed(
            best_of_n_side(H, settings.N, c, (H * c, H * spread, epsilon), error.value), error
        ),
    }
    prediction = H * (settings.p_e - vf_cloning_value(n, log2_M, c, settings.p_e))
    found = [
        Measurement(
            "regret",
            name,
            "tokens",
            value - samples[name],
            upper=uppers.get(name),
            reach=(value - H, value),
            scale=H,
            prediction=prediction if name == "vf-class-mle" else math.nan,
            prediction_label="vf_cloning_value" if name == "vf-class-mle" else "",
        )
        for name in settings.of_task(RARE)
    ]
    upper = Side.of(error, VERIFIER_NOISY.speaks_of(seen))
    return [
        *found,
        Measurement("verifier_error", "erm", "tokens", samples[ERROR], upper=upper, reach=(0.0, H), scale=H),
    ]


def _renamed(side: Side, error: Evaluation) -> Side:
    return Side(f"{side.label} + {error.label}", side.bound, side.proven and error.assumptions_hold, side.valid)


EXPERIMENT = LabelNoise(LabelNoiseSettings())
