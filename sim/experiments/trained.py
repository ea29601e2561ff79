r"""Learners that train, on a token task, as experiments use them: J and errors of verifiers over seeds, upper bounds.

Traces and coins of a trial derive from the cell's key and the trial's number: all verifier-free learners of a cell see
the same expert traces, all others the same labelled base traces, and a trial is the same in any company.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.ball_expert import BallExpert
from sim.experiments.experiment import Cell, Measurement, Samples
from sim.mdp import TokenMDP
from sim.tasks.planted import Planted
from sim.tasks.token_task import TokenTask
from sim.training.data import draw_base, draw_expert
from sim.training.problem import Problem, Settings, tabular_features, value_of_law
from sim.training.registry import BATCH, LEARNERS, VERIFIERS
from sim.training.search import verifier_error
from sim.verdict import Side
from theory.chi2_ball import CHI2_EXPERT
from theory.theorem import Instance
from theory.verifier import VERIFIER_ERM
from theory.verifier_based import VB_UPPER_BEST_OF_N, VB_UPPER_TOP_C
from theory.verifier_free import VF_UPPER

__all__ = [
    "PlantedClass",
    "Posed",
    "anti_concentration",
    "best_of_n_side",
    "erm_side",
    "features_with_intercept",
    "keys_of",
    "problem_of",
    "top_c_side",
    "trained_samples",
    "trained_values",
    "unrolled",
    "verifier_errors",
    "verifiers_of",
    "vf_upper_side",
]

Floats = NDArray[np.float64]

#: Theorems on any return law are asked about this one.
_ANY = Instance("token task")


def problem_of(task: TokenTask, expert: TokenTask, **fields: Any) -> Problem:
    """What learners are given: traces of ``expert`` (see ``TokenTask.expert``) and of the base of ``task``.

    ``fields`` are those of ``Problem.of`` (observed, features, policies, verifiers, by_step).
    """
    return Problem.of(
        task.mdp, task.base, expert=expert.base, expert_weights=expert.mdp.weights, prompt=task.prompt, **fields
    )


def features_with_intercept(observed: ArrayLike, tokens: int) -> Floats:
    """Indicators of (number observed, token), and 1 for all: what was never met gets the common chance, not 1/2."""
    table = tabular_features(observed, tokens)
    return np.concatenate([table, np.ones((*table.shape[:2], 1))], axis=2)


@dataclass(frozen=True, eq=False)
class Posed:
    """A task with an expert of a chi-squared ball, ready to be learnt."""

    problem: Problem
    base: TokenTask
    expert: TokenTask
    ball: BallExpert

    @classmethod
    def of(cls, task: TokenTask, kappa: float, averaged: bool = False, **fields: Any) -> Posed:
        """The best policy of the ball of radius ``kappa``, of every prompt or ``averaged``.

        ``fields`` are those of :func:`problem_of`; features have an intercept unless they are given.
        """
        expert = task.expert(kappa, averaged)
        seen = fields.get("observed", np.arange(task.mdp.states))
        fields = {"features": features_with_intercept(seen, task.mdp.tokens), **fields}
        return cls(problem_of(task, expert, **fields), task, expert, task.ball(kappa, averaged))

    @property
    def H(self) -> int:
        """Horizon, tokens."""
        return self.base.horizon

    @cached_property
    def value(self) -> float:
        """J of the expert, tokens."""
        return self.expert.value

    @cached_property
    def epsilon(self) -> float:
        """The largest sqrt(kappa_x)."""
        return float(np.sqrt(max(self.ball.divergence.max(), 0.0)))

    @cached_property
    def reached(self) -> float:
        """min_x c_x(sqrt(kappa_x)); 0 where an expert is truncated so much that no theorem speaks of a mass."""
        return anti_concentration(self.base, self.ball.divergence)

    @cached_property
    def c(self) -> float:
        """The mass that top-c keeps: ``reached``, or else what has the largest return on every prompt."""
        tops = [float(law.probabilities[-1]) for law in self.base.return_laws()]
        return self.reached if self.reached > 0.0 else min(tops)

    @cached_property
    def expert_bound(self) -> Side:
        """``chi2-expert`` of every prompt at its own kappa_x, averaged, tokens; a constant return is what it is."""
        radii = np.sqrt(np.maximum(self.ball.divergence, 0.0))
        values, proven = [], CHI2_EXPERT.speaks_of(_ANY)
        for law, epsilon in zip(self.base.return_laws(), radii, strict=True):
            if law.values.size > 1:
                found = CHI2_EXPERT.evaluate(mu=law.mean, sigma=law.sd, epsilon=float(epsilon), H=self.H)
                values.append(found.value)
                proven = proven and found.assumptions_hold
            else:
                values.append(law.mean)
        value = float(self.base.weights @ np.array(values))
        return Side("chi2-expert", value, proven, proven and value < self.H)

    def upper(self, name: str, n: int, numbers: Settings, samples: Samples) -> Side | None:
        """The bound on the regret of a learner; on what searches, with the error of its verifier on the same trials."""
        if "vf-upper" in LEARNERS[name].bounds:
            return vf_upper_side(self.H, n, len(self.problem.policies), self.expert.heterogeneity)
        if not name.startswith("vb-"):
            return None
        error = float(samples[f"error {verifier_of(name)}"].mean())
        if name.endswith("top-c"):
            return top_c_side(self.H, self.c, self.epsilon, error, self.reached)
        if name.endswith("best-of-n"):
            point = (self.base.value, self.base.heterogeneity, self.epsilon)
            return best_of_n_side(self.H, numbers.N, self.reached, point, error)
        return None

    def regrets(self, names: Iterable[str], n: int, numbers: Settings, samples: Samples) -> list[Measurement]:
        """Regrets against the expert, of the learners in ``samples`` (:func:`trained_samples`)."""
        return [
            Measurement(
                "regret",
                name,
                "tokens",
                self.value - samples[f"J {name}"],
                upper=self.upper(name, n, numbers, samples),
                reach=(self.value - self.H, self.value),
                scale=self.H,
            )
            for name in names
            if f"J {name}" in samples
        ]

    def errors(self, names: Iterable[str], n: int, samples: Samples) -> list[Measurement]:
        """Errors of the verifiers ``names``; that of ERM without noise has a bound."""
        return [
            Measurement(
                "verifier_error",
                name,
                "tokens",
                samples[f"error {name}"],
                upper=erm_side(self.H, n, len(self.problem.verifiers)) if name == "erm" else None,
                reach=(0.0, self.H),
                scale=self.H,
            )
            for name in names
        ]


@dataclass(frozen=True)
class PlantedClass:
    """A planted task of uniform base with the class of M permutations: who is the expert is all that traces tell.

    States are (prompt, last ell - 1 tokens), see ``Planted.joint``.
    """

    V: int = 6
    ell: int = 2
    H: int = 16
    M: int = 64
    prompts: int = 8

    def posed(self, kappa: float) -> Posed:
        """With the expert of radius ``kappa`` of every map in the class of policies, that of the truth first."""
        planted = Planted(self.V, self.ell, self.H, (0.0,), (1.0,), M=self.M, prompts=self.prompts)
        joint = planted.joint()
        experts = [planted.build(j).expert(kappa).base[:, joint.seen(j), :] for j in range(self.M)]
        return Posed.of(joint.task, kappa, policies=np.stack(experts), verifiers=joint.verifiers())


def verifier_of(name: str) -> str:
    """The verifier that a learner called vb-VERIFIER-SEARCH searches with."""
    return name.split("-")[1]


def verifiers_of(names: Iterable[str]) -> tuple[str, ...]:
    """Verifiers of the learners that search with one, each once."""
    found = (verifier_of(name) for name in names if name.startswith("vb-"))
    return tuple(name for name in dict.fromkeys(found) if name in VERIFIERS)


def keys_of(cell: Cell, seeds: int, stream: int = 0) -> jax.Array:
    """One key a trial, (seeds,): the first ones are the same for any number. Inside ``jax.enable_x64``."""
    trials = jnp.arange(seeds, dtype=jnp.uint32)
    return jnp.asarray(jax.vmap(jax.random.fold_in, in_axes=(None, 0))(cell.key(stream), trials))


def trained_samples(
    problem: Problem,
    names: Iterable[str],
    verifiers: Iterable[str],
    keys: jax.Array,
    n: int,
    size: int,
    settings: Settings | None = None,
    eta: float = 0.0,
) -> dict[str, Floats]:
    """``J NAME`` of each learner and ``error NAME`` of each verifier on ``n`` <= ``size`` traces, tokens, (seeds,).

    Errors, E_x E_b|R_hat - R|, are of the very verifiers that learners search with. One compilation for what sees
    expert traces and one for what sees labelled ones serve all n, H, eta and problems of one shape. Inside
    ``jax.enable_x64``.
    """
    numbers, chosen = Settings() if settings is None else settings, list(names)
    found: dict[str, Any] = {}
    for vf in (True, False):
        mine = tuple(name for name in chosen if (LEARNERS[name].kind == "vf") == vf)
        errors = () if vf else tuple(verifiers)
        if mine or errors:
            found |= _trained(vf, mine, errors, problem, numbers, keys, n, size, eta)
    return {name: np.asarray(values) for name, values in found.items()}


def trained_values(
    problem: Problem,
    names: Iterable[str],
    keys: jax.Array,
    n: int,
    size: int,
    settings: Settings | None = None,
    eta: float = 0.0,
) -> dict[str, Floats]:
    """J of each learner, as :func:`trained_samples`; by name."""
    found = trained_samples(problem, names, (), keys, n, size, settings, eta)
    return {name.removeprefix("J "): values for name, values in found.items()}


def verifier_errors(
    problem: Problem,
    name: str,
    keys: jax.Array,
    n: int,
    size: int,
    settings: Settings | None = None,
    eta: float = 0.0,
) -> Floats:
    """Errors of the verifier called ``name``, as :func:`trained_samples`."""
    return trained_samples(problem, (), (name,), keys, n, size, settings, eta)[f"error {name}"]


@partial(jax.jit, static_argnames=("vf", "names", "verifiers", "size"))
def _trained(
    vf: bool,
    names: tuple[str, ...],
    verifiers: tuple[str, ...],
    problem: Problem,
    settings: Settings,
    keys: jax.Array,
    n: Any,
    size: int,
    eta: Any,
) -> dict[str, jax.Array]:
    """What learners of one kind of data come to; keys are used as in ``sim.training.registry.values_over_keys``."""

    def one(key: jax.Array) -> dict[str, jax.Array]:
        drawn, coins = jax.random.split(key)
        ties, _ = jax.random.split(coins)
        data = draw_expert(problem, drawn, n, size) if vf else draw_base(problem, drawn, n, size, eta)
        found = {}
        for name in names:
            found[f"J {name}"] = value_of_law(problem, LEARNERS[name].law(problem, settings, data, coins))
        for name in verifiers:
            table = VERIFIERS[name].table(problem, settings, data, ties)
            found[f"error {name}"] = jnp.asarray(verifier_error(problem, table))
        return found

    blocks = -(-keys.size // BATCH)
    padded = keys[jnp.arange(blocks * BATCH) % keys.size].reshape(blocks, BATCH)
    found = jax.lax.map(jax.vmap(one), padded)
    return {name: values.reshape(-1)[: keys.size] for name, values in found.items()}


def anti_concentration(task: TokenTask, divergence: Floats) -> float:
    """min_x P_b[R >= mu_x + sigma_x sqrt(kappa_x)]; ``divergence`` (X,) is kappa_x. A constant return counts 1."""
    found = [
        law.anti_concentration(float(np.sqrt(max(kappa, 0.0)))) if law.values.size > 1 else 1.0
        for law, kappa in zip(task.return_laws(), divergence, strict=True)
    ]
    return min(found)


def vf_upper_side(H: int, n: int, members: int, expert_sd: float) -> Side:
    """``vf-upper`` on the regret of the likelihood's maximiser over ``members`` policies, the expert one of them.

    ``expert_sd`` is the root mean square over prompts of the sd of the return under the expert, tokens.
    """
    found = VF_UPPER.evaluate(H=H, n=n, log2_M=float(np.log2(members)), sigma=expert_sd)
    return Side.of(found, VF_UPPER.speaks_of(_ANY))


def erm_side(H: int, n: int, members: int) -> Side:
    """``verifier-erm`` on the error of a consistent member of ``members`` verifiers, the truth one of them."""
    found = VERIFIER_ERM.evaluate(H=H, n=n, log2_M=float(np.log2(members)))
    return Side.of(found, VERIFIER_ERM.speaks_of(_ANY))


def top_c_side(H: int, c: float, epsilon: float, error: float, reached: float) -> Side:
    """``vb-upper-top-c`` on the regret of the top mass ``c`` of a verifier of this error, tokens.

    ``epsilon`` is the largest sqrt(kappa_x); proven where c <= ``reached`` (:func:`anti_concentration`).
    """
    found = VB_UPPER_TOP_C.evaluate(H=H, c=c, epsilon=epsilon, epsilon_ver=error)
    return Side.of(found, VB_UPPER_TOP_C.speaks_of(_ANY) and c <= reached * (1.0 + 1e-12))


def best_of_n_side(H: int, N: int, c: float, point: tuple[float, float, float], error: float) -> Side:
    """``vb-upper-best-of-n`` on the regret of the best of ``N`` under a verifier of this error, tokens.

    ``c`` as from :func:`anti_concentration`; ``point`` is (mu, sigma, epsilon) of one prompt, or numbers with
    mu + sigma epsilon at least the mean over prompts of mu_x + sigma_x sqrt(kappa_x). Proven where c > 0.
    """
    mu, sigma, epsilon = point
    found = VB_UPPER_BEST_OF_N.evaluate(
        mu=mu, sigma=sigma, epsilon=epsilon, c=max(c, 1e-300), N=N, H=H, epsilon_ver=error
    )
    return Side.of(found, VB_UPPER_BEST_OF_N.speaks_of(_ANY) and c > 0.0)


def unrolled(task: TokenTask) -> TokenTask:
    """The same process on states that tell the step: policies and verifiers by step are tables (S, A) there.

    States are (step, state) as met unsolved, first states first; the last one is solved.
    Raises ``ValueError`` if transitions are random.
    """
    mdp = task.mdp
    if not mdp.is_deterministic:
        raise ValueError("transitions: random ones are not unrolled, expected deterministic ones")
    layers: list[list[int]] = [[int(s) for s in mdp.prompts]]
    rows: list[tuple[Any, Any, Any]] = []
    for h in range(mdp.horizon):
        now = layers[-1]
        kernel, reward, base = _at(mdp.transitions, h), _at(mdp.rewards, h), _at(task.base, h)
        rows.append((kernel[now], reward[now], base[now]))
        layers.append(sorted(set(kernel[now][reward[now] == 0.0].tolist())))
    firsts = np.cumsum([0, *map(len, layers)])
    solved = int(firsts[-1])
    moves, rewards = np.repeat(np.arange(solved + 1)[:, None], mdp.tokens, axis=1), np.zeros((solved + 1, mdp.tokens))
    policy = np.full((solved + 1, mdp.tokens), 1.0 / mdp.tokens)
    rewards[solved] = 1.0
    for h, (after, reward, base) in enumerate(rows):
        here = slice(firsts[h], firsts[h + 1])
        moves[here] = np.where(reward == 1.0, solved, firsts[h + 1] + np.searchsorted(layers[h + 1], after))
        rewards[here], policy[here] = reward, base
    start = np.zeros(solved + 1)
    start[: len(mdp.prompts)] = mdp.weights
    return TokenTask.of(TokenMDP.of(start, moves, rewards, int(mdp.horizon)), policy, task.prompt)


def _at(table: Any, h: int) -> Any:
    return table if table.ndim == 2 else table[h]
