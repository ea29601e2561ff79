"""Trained learners by name, all of one signature: from data and a key to the law of the solve time they attain.

``vf`` learners see traces of the expert and no rewards, ``vb`` and ``between`` labelled traces of the base policy
(``between`` clones or compares its own traces instead of searching with a verifier). ``bounds`` are the labels of the
upper bounds of :mod:`theory` that speak of a learner, each where its assumptions hold: ``verifier-noisy`` in place of
``verifier-erm`` where labels are flipped; ``vb-upper-*`` with the measured error of the verifier where it is not ERM's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp

from sim.training.bayes import best_policy, posterior_of_labels, posterior_of_traces
from sim.training.best_of_n import best_of_n
from sim.training.class_erm import class_erm
from sim.training.class_mle import class_mle
from sim.training.count_mle import count_mle
from sim.training.data import Data, draw_base, draw_expert, tally
from sim.training.dpo import dpo
from sim.training.expert_iteration import expert_iteration
from sim.training.logistic_verifier import logistic_verifier
from sim.training.policy_gradient import Divergence, policy_gradient
from sim.training.problem import Problem, Settings, law_of_policy, value_of_law
from sim.training.reinforce import reinforce
from sim.training.softmax_sft import softmax_sft
from sim.training.top_c import top_c

__all__ = ["BATCH", "LEARNERS", "VERIFIERS", "TrainedLearner", "VerifierLearner", "values_over_keys"]

#: Keys that one batch holds. A batch of another size may be compiled to another order of sums.
BATCH = 8

Kind = Literal["vf", "vb", "between"]


@dataclass(frozen=True, slots=True)
class TrainedLearner:
    """``law(problem, settings, data, key)`` is (steps + 1, X): the solve time, T = 1..steps and never, by prompt."""

    name: str
    kind: Kind
    law: Callable[[Problem, Settings, Data, jax.Array], jax.Array]
    bounds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VerifierLearner:
    """``table(problem, settings, data, key)``: 0 or 1 for every token, (S, A) or (steps, S, A)."""

    name: str
    table: Callable[[Problem, Settings, Data, jax.Array], jax.Array]
    bounds: tuple[str, ...] = ()


def _erm(problem: Problem, settings: Settings, data: Data, key: jax.Array) -> Any:
    members = problem.verifiers
    return class_erm(members, tally(data, members[0]), key)


def _logistic(problem: Problem, settings: Settings, data: Data, key: jax.Array) -> Any:
    counts = tally(data, jnp.zeros(problem.features.shape[:2]))
    return jnp.where(logistic_verifier(problem, counts, settings) > 0.5, 1.0, 0.0)


def _count_mle(problem: Problem, settings: Settings, data: Data, key: jax.Array) -> Any:
    return law_of_policy(problem, count_mle(problem, tally(data, problem.initial)))


def _class_mle(problem: Problem, settings: Settings, data: Data, key: jax.Array) -> Any:
    members = problem.policies
    return law_of_policy(problem, class_mle(members, tally(data, members[0]), key))


def _softmax_sft(problem: Problem, settings: Settings, data: Data, key: jax.Array) -> Any:
    return law_of_policy(problem, softmax_sft(problem, tally(data, problem.initial), settings))


def _bayes_traces(problem: Problem, settings: Settings, data: Data, key: jax.Array) -> Any:
    members = problem.policies
    return law_of_policy(problem, best_policy(problem, posterior_of_traces(members, tally(data, members[0]))))


def _bayes_labels(problem: Problem, settings: Settings, data: Data, key: jax.Array) -> Any:
    posterior = posterior_of_labels(problem.verifiers, data, settings.eta)
    return law_of_policy(problem, best_policy(problem, posterior))


def _expert_iteration(problem: Problem, settings: Settings, data: Data, key: jax.Array) -> Any:
    return law_of_policy(problem, expert_iteration(problem, settings, key, data.rows.sum())[-1])


def _dpo(problem: Problem, settings: Settings, data: Data, key: jax.Array) -> Any:
    return law_of_policy(problem, dpo(problem, data, settings))


def _searching(learner: VerifierLearner) -> list[TrainedLearner]:
    """The ways of using a verifier, for one way of learning it."""

    def searched(search: Callable[[Problem, Settings, Any, jax.Array], Any], *bounds: str, name: str) -> TrainedLearner:
        def law(problem: Problem, settings: Settings, data: Data, key: jax.Array) -> jax.Array:
            ties, draws = jax.random.split(key)
            found: jax.Array = search(problem, settings, learner.table(problem, settings, data, ties), draws)
            return found

        return TrainedLearner(f"vb-{learner.name}-{name}", "vb", law, bounds)

    def descended(divergence: Divergence, problem: Problem, settings: Settings, table: Any, key: jax.Array) -> Any:
        return law_of_policy(problem, policy_gradient(problem, table, settings, divergence))

    def sampled(divergence: Divergence, problem: Problem, settings: Settings, table: Any, key: jax.Array) -> Any:
        return law_of_policy(problem, reinforce(problem, table, settings, key, divergence))

    return [
        searched(lambda p, s, table, _: top_c(p, table, s.c), "vb-upper-top-c", name="top-c"),
        searched(lambda p, s, table, _: best_of_n(p, table, s.N), "vb-upper-best-of-n", name="best-of-n"),
        searched(partial(descended, "chi2"), name="policy-gradient-chi2"),
        searched(partial(descended, "kl"), name="policy-gradient-kl"),
        searched(partial(sampled, "chi2"), name="reinforce-chi2"),
        searched(partial(sampled, "kl"), name="reinforce-kl"),
    ]


#: Verifiers by name.
VERIFIERS: Mapping[str, VerifierLearner] = MappingProxyType(
    {
        learner.name: learner
        for learner in (
            VerifierLearner("erm", _erm, ("verifier-erm", "verifier-noisy")),
            VerifierLearner("logistic", _logistic),
        )
    }
)

#: Learners by name: verifier-free, verifier-based, between.
LEARNERS: Mapping[str, TrainedLearner] = MappingProxyType(
    {
        learner.name: learner
        for learner in (
            TrainedLearner("vf-count-mle", "vf", _count_mle),
            TrainedLearner("vf-class-mle", "vf", _class_mle, ("vf-upper",)),
            TrainedLearner("vf-softmax-sft", "vf", _softmax_sft),
            TrainedLearner("vf-bayes-class", "vf", _bayes_traces),
            *_searching(VERIFIERS["erm"]),
            *_searching(VERIFIERS["logistic"]),
            TrainedLearner("vb-bayes-class", "vb", _bayes_labels),
            TrainedLearner("expert-iteration", "between", _expert_iteration),
            TrainedLearner("dpo", "between", _dpo),
        )
    }
)


@partial(jax.jit, static_argnames=("name", "size"))
def values_over_keys(
    name: str, problem: Problem, settings: Settings, keys: jax.Array, n: Any, size: int, eta: Any = 0.0
) -> jax.Array:
    """J, tokens, of the learner called ``name`` on ``n`` <= ``size`` traces of its kind, for each of ``keys``.

    Keys are mapped in batches of one size, the last one filled up: a key has the same bits in any company.
    """
    learner = LEARNERS[name]

    def one(key: jax.Array) -> jax.Array:
        drawn, coins = jax.random.split(key)
        vf = learner.kind == "vf"
        data = draw_expert(problem, drawn, n, size) if vf else draw_base(problem, drawn, n, size, eta)
        return value_of_law(problem, learner.law(problem, settings, data, coins))

    blocks = -(-keys.size // BATCH)
    padded = keys[jnp.arange(blocks * BATCH) % keys.size].reshape(blocks, BATCH)
    found = jax.lax.map(jax.vmap(one), padded)
    return jnp.asarray(found.reshape(-1)[: keys.size])
