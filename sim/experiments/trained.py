r"""Learners that train, on a token task, as experiments use them: J and errors of verifiers over seeds, upper bounds.

Traces and coins of a trial derive from the cell's key and the trial's number: all verifier-free learners of a cell see
the same expert traces, all others the same labelled base traces, and a trial is the same in any company.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.experiments.experiment import Cell
from sim.mdp import TokenMDP
from sim.tasks.token_task import TokenTask
from sim.training.data import draw_base, draw_expert
from sim.training.problem import Problem, Settings, tabular_features, value_of_law
from sim.training.registry import BATCH, LEARNERS, VERIFIERS
from sim.training.search import verifier_error
from sim.verdict import Side
from theory.theorem import Instance
from theory.verifier import VERIFIER_ERM
from theory.verifier_based import VB_UPPER_BEST_OF_N, VB_UPPER_TOP_C
from theory.verifier_free import VF_UPPER

__all__ = [
    "anti_concentration",
    "best_of_n_side",
    "chosen_learners",
    "erm_side",
    "features_with_intercept",
    "keys_of",
    "problem_of",
    "top_c_side",
    "trained_samples",
    "trained_values",
    "unrolled",
    "verifier_errors",
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


def chosen_learners(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """The names that ``--learners`` gives, in the order of ``known``; ``all`` is all of these.

    Raises ``ValueError`` with one line on a name that is not among them.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name != "all" and name not in known:
            raise ValueError(f"--learners {name}: expected all or some of {', '.join(known)}")
    return tuple(name for name in known if "all" in names or name in names)


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
        law.anti_concentration(float(np.sqrt(max(kappa, 0.0)))) if law.sd > 0.0 else 1.0
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
