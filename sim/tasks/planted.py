r"""The planted-subsequence task: complete the gold that an unknown map makes of the prompt (``planted-law``).

A prompt is a word :math:`x\in V^\ell`, g an unknown map on V, the gold :math:`y=(g(x_1)..g(x_\ell))`. A trace solves at
the token that completes y as a contiguous run. The base draws gamma once a trace and follows :math:`\mu_\gamma`: with
the longest prefix of y that ends what was emitted k tokens long (Knuth-Morris-Pratt) it emits :math:`y_{k+1}` with
probability q, every other token with o (:func:`theory.planted.token_probabilities`). After solving, where nothing is
left to be won, it emits any token.

* :meth:`Planted.build`: states (prompt, gamma, k) and one for solved. gamma is part of the first state; the learner
  sees x and tokens only.
* :meth:`Planted.marginal`: the same law of traces as one policy that hides nothing. What a trace tells of gamma is how
  many of its tokens were gold ones, so states are (prompt, k, that number), and the policy at step h is the mixture
  under the posterior :math:`\propto w_\gamma q_\gamma^{m}o_\gamma^{h-m}`.
* :meth:`Planted.joint`: the process on states that tell, for every map of a class, how much of its gold is matched (the
  union of their automata, Aho-Corasick): policies and verifiers of all maps are tables there.
* :func:`heterogeneity_dial`: mixtures of one mean return and given standard deviations.

Maps form a finite class, numbered: ``permutations`` in the order of the words they are, ``functions`` as numbers
written in base V, ``shifts`` v -> v + j mod V.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.mdp import TokenMDP
from sim.tasks.token_task import TokenTask, different, drawn_prompts, require_whole, source, uniforms
from theory.planted import SolveTimeLaw, automaton, exit_flow, failure_function, mixture_law, token_probabilities

__all__ = [
    "FAMILIES",
    "Components",
    "Joint",
    "Planted",
    "automaton_table",
    "heterogeneity_dial",
    "heterogeneity_range",
    "pattern_of",
    "solve_times",
    "union_automaton",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FAMILIES = ("permutations", "functions", "shifts")
MAX_TOKENS, MAX_LENGTH, MAX_PROMPTS, MAX_HORIZON, MAX_CLASS = 10_000, 64, 10_000, 100_000, 2**20
#: Entries that a table of the marginal policy may have.
MAX_TABLE = 2**26
_LARGEST_GAMMA = 700.0


def pattern_of(word: Iterable[int]) -> tuple[int, ...]:
    """The word with its letters renamed 0, 1, .. as they first occur."""
    names: dict[int, int] = {}
    return tuple(names.setdefault(int(letter), len(names)) for letter in word)


@dataclass(frozen=True)
class Planted:
    """A planted-subsequence task. ``prompts`` is how many words are drawn, or the words themselves.

    ``M`` of the maps of ``family`` form the class (None: all of them), ``truth`` is the number of g among these.
    ``seed`` draws prompts and class. Raises ``ValueError`` with one line on a field out of range.
    """

    V: int = 30
    ell: int = 5
    H: int = 512
    gammas: tuple[float, ...] = (4.0,)
    weights: tuple[float, ...] = (1.0,)
    family: str = "permutations"
    M: int | None = 64
    truth: int = 0
    prompts: int | tuple[tuple[int, ...], ...] = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks every field."""
        require_whole("V", self.V, 2, MAX_TOKENS)
        require_whole("ell", self.ell, 1, MAX_LENGTH)
        require_whole("H", self.H, 1, MAX_HORIZON)
        require_whole("seed", self.seed, 0, 2**63 - 1)
        _check_mixture(self.gammas, self.weights)
        if self.family not in FAMILIES:
            raise ValueError(f"family = {self.family}: expected one of {', '.join(FAMILIES)}")
        total = family_size(self.family, self.V)
        if self.M is None and total > MAX_CLASS:
            raise ValueError(f"M = None: {self.family} on {self.V} tokens are more than {MAX_CLASS}, expected a number")
        if self.M is not None:
            require_whole("M", self.M, 1, min(total, MAX_CLASS))
        require_whole("truth", self.truth, 0, self.size - 1)
        self._check_prompts()

    def _check_prompts(self) -> None:
        if isinstance(self.prompts, tuple):
            words = set(self.prompts)
            if not 1 <= len(words) == len(self.prompts) <= MAX_PROMPTS:
                raise ValueError(f"prompts: expected 1..{MAX_PROMPTS} different words, found {len(words)} different")
            for word in self.prompts:
                if len(word) != self.ell or not all(0 <= token < self.V for token in word):
                    raise ValueError(f"prompts: {word}, expected words of {self.ell} tokens in 0..{self.V - 1}")
        else:
            require_whole("prompts", self.prompts, 1, min(MAX_PROMPTS, self.V**self.ell))

    @property
    def size(self) -> int:
        """Number of maps in the class."""
        return family_size(self.family, self.V) if self.M is None else self.M

    @cached_property
    def words(self) -> Ints:
        """The prompts, (X, ell); each has probability 1/X."""
        if isinstance(self.prompts, tuple):
            return np.array(self.prompts, dtype=np.int64)
        return drawn_prompts(self.V, self.ell, self.prompts, self.seed)

    @cached_property
    def maps(self) -> Ints:
        """The class, (M, V): row j is the j-th map. All of a family in order, or different ones, drawn."""
        total = family_size(self.family, self.V)
        if self.size == total or self.family == "shifts":
            order = np.arange(total)
            if self.size < total:
                order = np.argsort(uniforms(source(self.seed, 1), total))[: self.size]
            return np.array([map_of_number(self.family, self.V, int(j)) for j in order])
        words = source(self.seed, 1)

        def draw() -> Ints:
            found = uniforms(words, 2 * self.size, self.V)
            return np.argsort(found) if self.family == "permutations" else (self.V * found).astype(np.int64)

        return different(draw, self.size)

    def golds(self, hypothesis: int | None = None) -> Ints:
        """What a map (default: the truth) makes of the prompts, (X, ell)."""
        return np.asarray(self.maps[self.truth if hypothesis is None else hypothesis][self.words])

    def solve_time_laws(self) -> list[SolveTimeLaw]:
        """Exact law of T for every prompt, by ``planted-law``."""
        known: dict[tuple[int, ...], SolveTimeLaw] = {}
        found = []
        for gold in self.golds():
            pattern = pattern_of(gold)
            if pattern not in known:
                known[pattern] = mixture_law(pattern, self.V, self.gammas, self.weights, self.H)
            found.append(known[pattern])
        return found

    def moments(self) -> tuple[float, float]:
        """J of the base and the root of E_x Var(R|x), tokens, by ``planted-law``."""
        return self.mixed(self.gammas).moments(self.weights)

    @cached_property
    def _kinds(self) -> collections.Counter[tuple[int, ...]]:
        """How many prompts have a gold of each pattern."""
        return collections.Counter(map(pattern_of, self.golds()))

    def mixed(self, gammas: Sequence[float]) -> Components:
        """Moments of the return under each of ``gammas`` alone."""
        kinds = self._kinds
        means, variances = [], []
        for pattern in kinds:
            masses, never = exit_flow(automaton(pattern, self.V), *token_probabilities(self.V, gammas), self.H)
            gain = np.arange(self.H, 0.0, -1.0)
            mean = gain @ masses
            means.append(mean)
            variances.append(((gain[:, None] - mean) ** 2 * masses).sum(axis=0) + never * mean**2)
        copies = np.array(list(kinds.values()), dtype=np.float64)
        return Components(copies / copies.sum(), np.array(means), np.array(variances))

    def build(self, hypothesis: int | None = None) -> TokenTask:
        """The task whose gold is that of ``hypothesis`` (default: the truth).

        State ((i G + g) ell + k) is prompt i, gamma number g, k tokens matched; the last state is solved.
        """
        return self._task(self.golds(hypothesis))

    def _task(self, golds: Ints) -> TokenTask:
        count, ell = golds.shape
        hidden, states = len(self.gammas), count * len(self.gammas) * ell + 1
        right, wrong = token_probabilities(self.V, self.gammas)
        moves = np.full((states, self.V), states - 1)
        rewards, base = np.zeros((states, self.V)), np.full((states, self.V), 1.0 / self.V)
        rewards[-1] = 1.0
        for i, gold in enumerate(golds):
            table = automaton_table(gold, self.V)[:ell]
            for g in range(hidden):
                first = (i * hidden + g) * ell
                rows = slice(first, first + ell)
                moves[rows] = np.where(table == ell, states - 1, first + table)
                rewards[rows] = table == ell
                base[rows] = wrong[g]
                base[first + np.arange(ell), gold] = right[g]
        start = np.zeros(states)
        start[:-1:ell] = np.tile(self.weights, count) / count
        return TokenTask.of(TokenMDP.of(start, moves, rewards, self.H), base, np.repeat(np.arange(count), hidden))

    def marginal(self) -> TokenTask:
        """The same traces as :meth:`build`'s base gives, from a policy on what can be seen.

        State ((i ell + k) (H + 1) + m): prompt i, k tokens matched, m gold ones emitted; the last state is solved.
        Raises ``ValueError`` if its table, H times states times tokens, would be too large.
        """
        count, ell, levels = len(self.words), self.ell, self.H + 1
        states = count * ell * levels + 1
        if self.H * states * self.V > MAX_TABLE:
            raise ValueError(f"H = {self.H}: a table of {self.H * states * self.V} entries, at most {MAX_TABLE} serve")
        right, wrong = self._posterior_tokens()
        moves = np.full((states, self.V), states - 1)
        rewards, base = np.zeros((states, self.V)), np.full((self.H, states, self.V), 1.0 / self.V)
        rewards[-1] = 1.0
        emitted = np.arange(levels)
        for i, gold in enumerate(self.golds()):
            table = automaton_table(gold, self.V)[:ell]
            for k, token in enumerate(gold):
                rows = (i * ell + k) * levels + emitted
                gained = np.minimum(emitted[:, None] + (np.arange(self.V) == token), self.H)
                moves[rows] = np.where(table[k] == ell, states - 1, (i * ell + table[k]) * levels + gained)
                rewards[rows] = table[k] == ell
                base[:, rows, :] = wrong[:, :, None]
                base[:, rows, token] = right
        start = np.zeros(states)
        start[np.arange(count) * ell * levels] = 1.0 / count
        return TokenTask.of(TokenMDP.of(start, moves, rewards, self.H), base)

    def _posterior_tokens(self) -> tuple[Floats, Floats]:
        """Probability of the gold token and of each other one at step h + 1 after m gold ones, (H, H + 1) each."""
        right, wrong = token_probabilities(self.V, self.gammas)
        h, m = np.arange(self.H)[:, None, None], np.arange(self.H + 1)[None, :, None]
        with np.errstate(divide="ignore"):
            log_share, log_right, log_wrong = np.log(self.weights), np.log(right), np.log(wrong)
        misses = np.maximum(h - m, 0)
        score = log_share + np.where(m > 0, m * log_right, 0.0) + np.where(misses > 0, misses * log_wrong, 0.0)
        score = np.where(m <= h, score, log_share)  # nobody has emitted more than h
        best = score.max(axis=2, keepdims=True)
        weight = np.exp(score - np.where(np.isfinite(best), best, 0.0))
        weight = np.where(np.isfinite(best), weight, np.asarray(self.weights))
        weight /= weight.sum(axis=2, keepdims=True)
        return weight @ right, weight @ wrong

    @property
    def observed(self) -> Ints:
        """For every state of :meth:`build` the first that differs from it in gamma only: what a learner sees, (S,)."""
        return _unhidden(len(self.words), len(self.gammas), self.ell)

    def joint(self, hypotheses: Sequence[int] | None = None) -> Joint:
        """The process on states that follow the golds of ``hypotheses`` (default: the class) all at once.

        After completing its own gold a map that is wrong goes on from the longest prefix that is left.
        Raises ``ValueError`` if there is no such map, or the policies' tables would be too large.
        """
        numbers = list(range(self.size) if hypotheses is None else hypotheses)
        for number in numbers:
            require_whole("hypothesis", number, 0, self.size - 1)
        golds = np.array([self.golds(j) for j in numbers]).reshape(len(numbers), len(self.words), self.ell)
        true, hidden = self.golds(), len(self.gammas)
        unions = [union_automaton(np.concatenate([true[None, i], golds[:, i]]), self.V) for i in range(len(true))]
        width = max(len(moves) for moves, _ in unions)
        states = len(true) * hidden * width + 1
        if len(numbers) * states * self.V > MAX_TABLE:
            size = len(numbers) * states * self.V
            raise ValueError(f"M = {len(numbers)}: policies of {size} entries, at most {MAX_TABLE} serve")
        right, wrong = token_probabilities(self.V, self.gammas)
        moves = np.full((states, self.V), states - 1)
        rewards, base = np.zeros((states, self.V)), np.full((states, self.V), 1.0 / self.V)
        rewards[-1] = 1.0
        matched = np.zeros((len(numbers), states), dtype=np.int64)
        for i, (after, known) in enumerate(unions):
            solves = (known[0] == self.ell - 1)[:, None] & (np.arange(self.V) == true[i, -1])
            for g in range(hidden):
                first = (i * hidden + g) * width
                rows = slice(first, first + len(after))
                moves[rows] = np.where(solves, states - 1, first + after)
                rewards[rows] = solves
                base[rows] = wrong[g]
                base[first + np.arange(len(after)), true[i, known[0]]] = right[g]
                matched[:, rows] = known[1:]
        start = np.zeros(states)
        start[:-1:width] = np.tile(self.weights, len(true)) / len(true)
        task = TokenTask.of(TokenMDP.of(start, moves, rewards, self.H), base, np.repeat(np.arange(len(true)), hidden))
        return Joint(task, _unhidden(len(true), hidden, width), golds, matched)


class Joint(NamedTuple):
    """A planted task that follows the golds of K maps, see :meth:`Planted.joint`; its last state is solved."""

    task: TokenTask
    observed: Ints  # (S,) the first state that differs in gamma only
    golds: Ints  # (K, X, ell)
    matched: Ints  # (K, S) how much of its gold each map has matched; 0 in the solved state

    def seen(self, number: int) -> Ints:
        """States that :meth:`Planted.build` gives one map, (S,): its policy there is ``policy[.., seen, :]`` here."""
        ell, (place, _) = self.golds.shape[2], self._place
        found = place * ell + self.matched[number]
        found[-1] = len(self.task.prompt) * ell
        return np.asarray(found)

    def policies(self, gamma: float) -> Floats:
        """The procedural policy of every map at one gamma, (K, S, A)."""
        right, wrong = token_probabilities(self.task.mdp.tokens, gamma)
        table = np.where(self._golden, right, wrong)
        table[:, -1] = 1.0 / self.task.mdp.tokens
        return table

    def verifiers(self) -> Floats:
        """1 where a token completes the gold of a map, (K, S, A): what each declares solved; all that follows is."""
        full = self.matched == self.golds.shape[2] - 1
        table = np.where(self._golden & full[..., None], 1.0, 0.0)
        table[:, -1] = 1.0
        return table

    @property
    def _place(self) -> tuple[Ints, Ints]:
        """Number of the first state, and of the prompt, that every state belongs to; the solved one to the last."""
        firsts = len(self.task.prompt)
        width = (self.task.mdp.states - 1) // firsts
        place = np.minimum(np.arange(self.task.mdp.states) // width, firsts - 1)
        return place, self.task.prompt[place].astype(np.int64)

    @property
    def _golden(self) -> NDArray[np.bool_]:
        """Which token is the next one of each map's gold, (K, S, A)."""
        following = self.golds[np.arange(len(self.golds))[:, None], self._place[1], self.matched]
        return np.asarray(following[..., None] == np.arange(self.task.mdp.tokens))


class Components(NamedTuple):
    """Moments of the return for P kinds of prompts under each of G gammas, tokens."""

    copies: Floats  # (P,) shares of the kinds
    means: Floats  # (P, G)
    variances: Floats  # (P, G)

    def moments(self, weights: Sequence[float] | Floats) -> tuple[float, float]:
        """J and the root of E_x Var(R|x) where gamma is drawn with ``weights`` (G,)."""
        share = np.asarray(weights)
        centre = self.means @ share
        variance = (self.variances + (self.means - centre[:, None]) ** 2) @ share
        return float(self.copies @ centre), math.sqrt(float(self.copies @ variance))


def _unhidden(prompts: int, hidden: int, width: int) -> Ints:
    """(prompt, gamma, place) -> (prompt, 0, place) on numbers of states, the solved one last."""
    i, _, k = np.unravel_index(np.arange(prompts * hidden * width), (prompts, hidden, width))
    return np.append(i * hidden * width + k, prompts * hidden * width)


def union_automaton(words: Ints, V: int) -> tuple[Ints, Ints]:
    """Aho-Corasick automaton of ``words`` (K, ell): next states (N, V), and what is matched of each word, (K, N).

    States are the proper prefixes; state 0 is the empty one. Whoever completes a word is in the longest one left.
    """
    nodes: dict[tuple[int, ...], int] = {(): 0}
    children: list[list[tuple[int, int]]] = [[]]
    for length in range(1, words.shape[1]):
        for word in words[:, :length].tolist():
            if tuple(word) not in nodes:
                children[nodes[tuple(word[:-1])]].append((word[-1], len(nodes)))
                nodes[tuple(word)] = len(nodes)
                children.append([])
    moves, matched = np.zeros((len(nodes), V), dtype=np.int64), np.zeros((len(words), len(nodes)), dtype=np.int64)
    back = np.zeros(len(nodes), dtype=np.int64)  # the longest prefix that ends this one
    for prefix, node in nodes.items():  # short ones first: of ``back`` all moves are known
        moves[node] = moves[back[node]]
        begins = (words[:, : len(prefix)] == prefix).all(axis=1)
        matched[:, node] = np.where(begins, len(prefix), matched[:, back[node]])
        for token, child in children[node]:
            back[child], moves[node, token] = moves[node, token], child
    return moves, matched


def automaton_table(gold: Sequence[int] | Ints, V: int) -> Ints:
    """Next state of the Knuth-Morris-Pratt automaton, (ell + 1, V); the word once completed, it stays at ell."""
    borders, table = failure_function(list(gold)), np.zeros((len(gold) + 1, V), dtype=np.int64)
    table[0, gold[0]] = 1
    for k in range(1, len(gold)):
        table[k] = table[borders[k - 1]]
        table[k, gold[k]] = k + 1
    table[-1] = len(gold)
    return table


def solve_times(tokens: Ints, golds: Ints) -> Ints:
    """First step at which each row of ``tokens`` (B, H) completes its row of ``golds`` (B, ell); 0 if it never does."""
    ell = golds.shape[1]
    if tokens.shape[1] < ell:
        return np.zeros(len(tokens), dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(tokens, ell, axis=1)
    hits = (windows == golds[:, None, :]).all(axis=2)
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + ell, 0)


def family_size(family: str, V: int) -> int:
    """How many maps a family has on V tokens."""
    if family == "permutations":
        return math.factorial(V)
    return int(V**V) if family == "functions" else V


def map_of_number(family: str, V: int, number: int) -> Ints:
    """The map of that number in its family, (V,)."""
    if family == "shifts":
        return (np.arange(V) + number) % V
    if family == "functions":
        digits = [number // V**place % V for place in range(V - 1, -1, -1)]
        return np.array(digits, dtype=np.int64)
    left, found = list(range(V)), []
    for place in range(V - 1, -1, -1):
        index, number = divmod(number, math.factorial(place))
        found.append(left.pop(index))
    return np.array(found, dtype=np.int64)


def _check_mixture(gammas: tuple[float, ...], weights: tuple[float, ...]) -> None:
    if not gammas or not all(abs(gamma) <= _LARGEST_GAMMA for gamma in gammas):
        raise ValueError(
            f"gammas = {gammas}: expected at least one number in [-{_LARGEST_GAMMA:g}, {_LARGEST_GAMMA:g}]"
        )
    if len(weights) != len(gammas) or not all(w > 0 for w in weights) or abs(math.fsum(weights) - 1.0) > 1e-9:
        raise ValueError(f"weights = {weights}: expected {len(gammas)} probabilities above 0 of sum 1")


#: Distance of the two gammas at which they are as good as always right and always wrong.
_FARTHEST = 60.0
_LEAST_SHARE = 1e-15


def heterogeneity_dial(config: Planted, sigmas: Sequence[float]) -> tuple[Planted, ...]:
    r"""For each sigma the mixture of two gammas with the mean return of ``config`` and this root of E_x Var(R|x).

    With :math:`\gamma_0` of that mean, the two are :math:`\gamma_0\pm d` and their weights make up the mean; d is found
    by bisection, from 0 (one gamma) to where one solves at ell and the other never.
    Raises ``ValueError`` where sigma lies outside what this range gives.
    """
    dial = _Dial.of(config)
    least, most = dial.range
    mixtures = []
    for sigma in sigmas:
        if not least * (1.0 - 1e-12) <= sigma <= most * (1.0 + 1e-12):
            raise ValueError(f"sigma = {sigma:g}: expected {least:g}..{most:g} tokens at a mean of {dial.mean:g}")
        distance = _bisect(dial.spread, sigma, 0.0, _FARTHEST)
        gammas = (dial.centre - distance, dial.centre + distance)
        mixtures.append(dataclasses.replace(config, gammas=gammas, weights=dial.weights(distance)))
    return tuple(mixtures)


def heterogeneity_range(config: Planted) -> tuple[float, float]:
    """Least and largest root of E_x Var(R|x) that :func:`heterogeneity_dial` gives, tokens."""
    return _Dial.of(config).range


@dataclass(frozen=True, slots=True)
class _Dial:
    """Mixtures of centre +- distance with one mean."""

    config: Planted
    mean: float
    centre: float

    @classmethod
    def of(cls, config: Planted) -> _Dial:
        mean, _ = config.moments()
        centre = _bisect(lambda gamma: config.mixed([gamma]).moments([1.0])[0], mean, -_FARTHEST, _FARTHEST)
        return cls(config, mean, centre)

    @property
    def range(self) -> tuple[float, float]:
        return self.spread(0.0), self.spread(_FARTHEST)

    def weights(self, distance: float) -> tuple[float, float]:
        return self._weights(self._apart(distance))

    def spread(self, distance: float) -> float:
        found = self._apart(distance)
        return found.moments(self._weights(found))[1]

    def _apart(self, distance: float) -> Components:
        return self.config.mixed([self.centre - distance, self.centre + distance])

    def _weights(self, found: Components) -> tuple[float, float]:
        low, high = (float(mean) for mean in found.copies @ found.means)
        upper = (self.mean - low) / (high - low) if high > low else 0.5
        upper = min(max(upper, _LEAST_SHARE), 1.0 - _LEAST_SHARE)
        return 1.0 - upper, upper


def _bisect(f: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Where the increasing f crosses ``target``, to the digits of a float."""
    for _ in range(64):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if f(middle) < target else (low, middle)
    return 0.5 * (low + high)
