"""Token MDPs: what is refused, what a pytree of one is, and prompts told apart."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdps import KINDS, random_mdp, random_policy
from sim.enumeration import expectation, traces
from sim.mdp import TokenMDP, checked_policy, owners, require_float64, returns, told_apart

pytestmark = pytest.mark.usefixtures("quick_to_compile")

#: From state 0, token 1 solves and leads to state 1, where every token is rewarded.
START = [1.0, 0.0, 0.0]
NEXT = [[2, 1], [1, 1], [0, 2]]
REWARD = [[0, 1], [1, 1], [0, 0]]
KERNEL = np.eye(3)[np.array(NEXT)]


def build(**changed: Any) -> TokenMDP:
    given = {"start": START, "transitions": NEXT, "rewards": REWARD, "horizon": 3, "steps": None, **changed}
    return TokenMDP.of(**given)


def put(table: Any, index: tuple[int, ...], value: Any) -> np.ndarray:
    changed = np.array(table)
    changed[index] = value
    return changed


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"start": [0.5, 0.4, 0.0]}, "start: expected probabilities >= 0 of sum 1"),
        ({"start": [1.5, -0.5, 0.0]}, "start: expected probabilities"),
        ({"start": [np.nan, 1.0, 0.0]}, "start: expected probabilities"),
        ({"start": [1.0, 0.0]}, r"start: shape \(2,\), expected \(3,\)"),
        ({"transitions": put(NEXT, (0, 0), 3)}, r"transitions: 0..3, expected next states in 0..2"),
        ({"transitions": put(NEXT, (0, 0), -1)}, r"transitions: -1..2, expected"),
        ({"transitions": np.zeros((2, 2), int)}, r"transitions: shape \(2, 2\)"),
        ({"transitions": np.zeros((3, 2))}, r"transitions: shape \(3, 2\), expected \(3, 2, 3\)"),
        ({"transitions": put(KERNEL, (0, 0, 0), 0.1)}, "transitions: expected probabilities >= 0 of sum 1"),
        ({"transitions": put(KERNEL, (0, 0, 0), np.nan)}, "transitions: expected probabilities"),
        ({"rewards": put(np.array(REWARD, float), (0, 0), 0.5)}, "rewards: expected every one to be 0 or 1"),
        ({"rewards": put(np.array(REWARD, float), (0, 0), np.nan)}, "rewards: expected every one"),
        ({"rewards": [0, 1]}, r"rewards: shape \(2,\)"),
        ({"rewards": np.zeros((3, 0))}, r"rewards: shape \(3, 0\)"),
        ({"rewards": put(REWARD, (1, 0), 0)}, "state 1 at step 2 follows a rewarded token and token 0"),
        ({"horizon": 0}, r"horizon = 0: expected a whole number in 1..0"),
        ({"horizon": 4, "steps": 3}, "horizon = 4: expected a whole number in 1..3"),
        ({"horizon": 2.5}, r"horizon = 2.5: expected"),
        ({"rewards": [REWARD] * 2, "transitions": [NEXT] * 3}, r"steps: \[2, 3\] of transitions, rewards"),
        ({"rewards": [REWARD] * 2, "steps": 4}, r"steps: \[2, 4\] of"),
    ],
)
def test_errors_are_one_line(changed: dict[str, Any], message: str) -> None:
    """Whatever is no process is refused with one line that names it."""
    with pytest.raises(ValueError, match=message) as caught:
        build(**changed)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("transitions", [NEXT, KERNEL, [NEXT] * 3, [KERNEL] * 3])
@pytest.mark.parametrize("by_step", [False, True])
def test_a_reward_that_ends_is_refused(transitions: Any, by_step: bool) -> None:
    """Solving by a path of two steps to a state with an unrewarded token is an error, however the arrays come."""
    lost = put(REWARD, (1, 1), 0)
    good, bad = ([REWARD] * 3, [REWARD, REWARD, lost]) if by_step else (REWARD, lost)
    build(transitions=transitions, rewards=good)
    with pytest.raises(ValueError, match="token 1 is not rewarded there"):
        build(transitions=transitions, rewards=bad)


def test_only_reachable_paths_must_keep_their_reward() -> None:
    """An unreachable or impossible loss of reward, or one after the last step, is no error."""
    lost = put(REWARD, (1, 0), 0)
    build(start=[0.0, 0.0, 1.0], transitions=[[2, 1], [1, 1], [2, 2]], rewards=lost)
    build(rewards=lost, horizon=1)
    with pytest.raises(ValueError, match="stay 1"):
        build(rewards=lost, horizon=1, steps=2)


def test_reward_is_checked_for_impossible_tokens_of_a_policy_too() -> None:
    """The reward is bi-level whatever the policy: every token counts as possible."""
    with pytest.raises(ValueError, match="state 1 at step 3"):
        build(start=[0.0, 0.0, 1.0], rewards=put(REWARD, (1, 0), 0))


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (np.full((2, 2), 0.5), r"policy: shape \(2, 2\), expected \(3, 2\) or \(3, 3, 2\)"),
        (np.full((2, 3, 2), 0.5), r"policy: shape \(2, 3, 2\)"),
        (np.full((3, 2), 0.4), "policy: expected probabilities"),
        (put(np.full((3, 2), 0.5), (0,), [1.5, -0.5]), "policy: expected probabilities"),
        (put(np.full((3, 2), 0.5), (0, 0), np.nan), "policy: expected probabilities"),
    ],
)
def test_policies_are_checked(policy: Any, message: str) -> None:
    """A table of the wrong shape, or whose rows are no laws, is no policy."""
    with pytest.raises(ValueError, match=message):
        checked_policy(build(), policy)


def test_arrays_are_copies_that_cannot_change() -> None:
    """What was checked stays what it is."""
    reward, policy = np.array(REWARD, dtype=float), np.full((3, 2), 0.5)
    mdp = build(rewards=reward)
    table = checked_policy(mdp, policy)
    reward[0], policy[0] = 1, 0
    assert mdp.rewards[0, 0] == 0
    assert table[0, 0] == 0.5
    for array in (*jax.tree.leaves(mdp), table):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        mdp.steps = 4  # type: ignore[misc]


def test_host_arrays_are_double_precision() -> None:
    """Probabilities and rewards are float64, states int32."""
    mdp = build(transitions=KERNEL.astype(np.float32))
    assert {mdp.weights.dtype, mdp.transitions.dtype, mdp.rewards.dtype} == {np.dtype(np.float64)}
    assert {build().prompts.dtype, build().transitions.dtype, build().horizon.dtype} == {np.dtype(np.int32)}


def test_horizons_share_a_compilation() -> None:
    """A process is a pytree whose horizon is data; ``steps`` is not."""
    mdp = build(steps=3)
    leaves, structure = jax.tree.flatten(mdp)
    again = jax.tree.unflatten(structure, leaves)
    assert again.steps == 3
    assert len(leaves) == 5
    seen = jax.jit(lambda m: m.horizon + jnp.asarray(m.rewards).shape[0])
    assert [int(seen(mdp.at(h))) for h in (1, 2, 3)] == [4, 5, 6]
    assert seen._cache_size() == 1
    for h in (0, 4):
        with pytest.raises(ValueError, match=f"horizon = {h}: expected a whole number in 1..3"):
            mdp.at(h)


def test_returns_follow_solve_times() -> None:
    """R = (H - T + 1)^+, the last entry for traces that never solve."""
    np.testing.assert_array_equal(returns(build(horizon=3, steps=5)), [3, 2, 1, 0, 0, 0])


def test_prompts_are_the_possible_first_states() -> None:
    """States of start probability 0 are no prompts; sums are made exact."""
    mdp = build(start=[0.25, 0.0, 0.75 + 1e-10])
    np.testing.assert_array_equal(mdp.prompts, [0, 2])
    assert mdp.weights.sum() == 1.0


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_prompts_told_apart_leave_every_trace_as_it_was(kind: Any) -> None:
    """With states of their own for each prompt, traces have the same probabilities, tokens and rewards."""
    rng = np.random.default_rng(2)
    for _ in range(4):
        mdp = random_mdp(rng, kind)
        policy = random_policy(rng, mdp, kind.stationary)
        apart = told_apart(mdp)
        wide = np.concatenate([policy] * len(mdp.prompts), axis=-2)
        before, after = traces(mdp, policy), traces(apart, wide)
        assert [dataclasses.replace(t, states=()) for t in before] == [dataclasses.replace(t, states=()) for t in after]
        assert all(
            np.array_equal(np.array(t.states) % mdp.states, s.states) for t, s in zip(after, before, strict=True)
        )
        assert all(s // mdp.states == t.prompt for t in after for s in t.states)


def test_owners_say_who_gets_where() -> None:
    """By enumeration: the prompt from which a state is met unsolved, 0 where it is not; two prompts raise."""
    rng = np.random.default_rng(3)
    shared = 0
    for _ in range(60):
        mdp = random_mdp(rng, KINDS[0])
        policy = random_policy(rng, mdp)
        met: dict[tuple[int, int], set[int]] = {}
        for t in traces(mdp, policy):
            for h in range(min(len(t.states), t.solve_time or len(t.states))):
                met.setdefault((h, t.states[h]), set()).add(t.prompt)
        if any(len(who) > 1 for who in met.values()):
            shared += 1
            with pytest.raises(ValueError, match="two prompts lead to it"):
                owners(mdp, policy)
            continue
        expected = np.zeros((mdp.steps + 1, mdp.states))
        for place, (who,) in met.items():
            expected[place] = who
        np.testing.assert_array_equal(owners(mdp, policy), expected)
    assert 0 < shared < 60


def test_owners_need_deterministic_transitions() -> None:
    """A policy does not reweight random transitions."""
    with pytest.raises(ValueError, match="transitions: random ones"):
        owners(build(transitions=KERNEL), np.full((3, 2), 0.5))


def test_single_precision_is_refused() -> None:
    """Outside jax.enable_x64 nothing is computed."""
    with pytest.raises(RuntimeError, match="float64 is off"):
        require_float64()
    with jax.enable_x64(True):
        require_float64()


def test_enumeration_is_a_law() -> None:
    """Probabilities of the traces of a prompt sum to 1, to rounding of the rows they come from."""
    rng = np.random.default_rng(4)
    for kind in KINDS:
        mdp = random_mdp(rng, kind)
        for total in expectation(traces(mdp, random_policy(rng, mdp, kind.stationary)), lambda t: 1):
            assert abs(total - 1) < 1e-14
