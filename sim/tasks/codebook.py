r"""The random codebook: M hypotheses with independent fair signs on every prompt.

**Collapsed sampler** (R = mu +- sigma; cost does not depend on M). A hypothesis enters the data only through K, the
number of the n traces it agrees with: K ~ Bin(n, (1+eps)/2) for the truth, Bin(n, 1/2) for each of the M - 1 others,
with likelihood :math:`\ell(K)=(1+\varepsilon)^K(1-\varepsilon)^{n-K}`. Per trial:

1. the best ``BLOCK`` wrong hypotheses in order (:mod:`sim.tasks.arrivals`), each with its likelihood and its sign on a
   fresh prompt; for M <= 2^12 all of them, block by block, and the next step is empty;
2. everything below them enters as one normal pair (sum of likelihoods; signed sum) with the exact conditional
   mean and variances, from :math:`A_1(u)=\int_u^1\ell` and :math:`A_2(u)=\int_u^1\ell^2`, u the last order
   statistic. The listed ones carry the large terms: what the normal law misses is the fourth cumulant of the rest,
   :math:`\sum\ell^4/(\sum\ell^2)^2`, about 1e-5;
3. the mean over the truth's K is taken exactly, given the wrong hypotheses: that the truth stands out is rare (a
   fraction of a percent of the data sets at capacity 1) but carries most of E|w|, and a few hundred trials that had to
   meet it would know neither the mean nor its error.

**Explicit sampler** (any law, M <= 2^20): every hypothesis, every trace; cost grows with M n.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sim.cells import Cell
from sim.tasks.arrivals import LARGEST_SPACED, block_of_arrivals, reciprocal_of_survivors
from sim.tasks.evidence import Evidence
from sim.tasks.keys import BLOCK, QUICK_COMPILE, identity_words, trial_key
from sim.tasks.traces import standardised_tables
from theory.log_space import log_binomial_pmf, log_sum_above, log_sum_below, xlogy_count
from theory.notation import LN2, log_M_minus_1

__all__ = ["ENUMERATED", "collapsed_evidence", "collapsed_tables", "explicit_evidence", "table_width"]

#: Classes up to this size are enumerated hypothesis by hypothesis.
ENUMERATED = 2**12


class CollapsedTables(NamedTuple):
    """Per-cell tables of the collapsed sampler; ``W`` levels, padded. Leading axis: cells.

    float64; NumPy arrays on the host, JAX arrays of one cell inside the compiled program.
    """

    truth_pmf: Any  # (W,) P(K = truth_low + w), padded with 0
    truth_above: Any  # (W,) P(K > truth_low + w), padded with 0
    truth_low: Any  # ()
    level_high: Any  # () best level of the window of wrong hypotheses
    log_rate: Any  # (W,) log[(M-1) P(Bin(n,1/2) >= level_high - w)], padded with inf
    log_below: Any  # (W,) log sum over lower levels of P(level) l
    log_below_square: Any  # (W,) the same with l^2
    log_up: Any  # () log(1 + eps)
    log_down: Any  # () log(1 - eps), may be -inf
    n: Any  # ()
    log_survival: Any  # () log of the chance that a wrong member explains all n labels


def _window(cell: Cell) -> dict[str, NDArray[np.float64] | float]:
    n, epsilon, log_others = cell.n, cell.epsilon, log_M_minus_1(cell.log2_M)
    levels = np.arange(n + 1)
    log_half = log_binomial_pmf(n, 0.5)
    log_truth = log_binomial_pmf(n, (1.0 + epsilon) / 2.0, (1.0 - epsilon) / 2.0)
    log_up = math.log1p(epsilon)
    log_down = math.log1p(-epsilon) if epsilon < 1.0 else -math.inf
    log_likelihood = levels * log_up + xlogy_count(n - levels, log_down)

    pmf = np.exp(log_truth)
    pmf /= pmf.sum()  # a million rounded terms need not sum to 1
    likely = np.flatnonzero(pmf >= 1e-18)
    truth = slice(int(likely[0]), int(likely[-1]) + 1)

    log_rate = log_others + log_sum_above(log_half)[:-1]  # decreasing in the level
    enough = math.inf if 2**cell.log2_M <= ENUMERATED else math.log(16.0 * BLOCK)
    top = int(np.sum(log_rate >= math.log(1e-18))) - 1  # an order statistic below 1e-18 does not occur in float64
    bottom = max(int(np.sum(log_rate >= enough)) - 1, 0)
    bottom = max(bottom, int(np.searchsorted(np.cumsum(np.exp(log_half)), 1e-18)) - 1)  # nobody agrees less than this
    window = slice(top, bottom - 1 if bottom else None, -1)
    below, below_square = log_sum_below(log_truth)[:-1], log_sum_below(log_truth + log_likelihood)[:-1]
    return {
        "truth_pmf": pmf[truth],
        "truth_above": np.append(np.cumsum(pmf[::-1])[::-1], 0.0)[1:][truth],
        "truth_low": float(truth.start),
        "level_high": float(top),
        "log_rate": log_rate[window],
        "log_below": below[window],
        "log_below_square": below_square[window],
        "log_up": log_up,
        "log_down": log_down,
        "n": float(n),
        "log_survival": -n * LN2,
    }


def table_width(largest_n: int) -> int:
    """Levels a table needs: both windows reach 10 standard deviations (sqrt(n)/2 each way)."""
    levels = min(largest_n + 1, math.ceil(10.0 * math.sqrt(largest_n)) + 80)
    return max(256, 1 << (levels - 1).bit_length())


def collapsed_tables(cells: Sequence[Cell], width: int | None = None) -> CollapsedTables:
    """Tables of ``cells`` on the host, float64, padded to ``width`` (default: what these cells need)."""
    windows = [_window(cell) for cell in cells]
    width = table_width(max(cell.n for cell in cells)) if width is None else width
    padding = {
        "truth_pmf": 0.0,
        "truth_above": 0.0,
        "log_rate": math.inf,
        "log_below": -math.inf,
        "log_below_square": -math.inf,
    }

    def stacked(name: str) -> NDArray[np.float64]:
        if name not in padding:
            return np.array([w[name] for w in windows], dtype=np.float64)
        out = np.full((len(windows), width), padding[name])
        for row, w in zip(out, windows, strict=True):
            values = np.asarray(w[name])
            row[: values.size] = values
        return out

    return CollapsedTables(*(stacked(name) for name in CollapsedTables._fields))


class _Mixture(NamedTuple):
    """Running sums over wrong hypotheses: likelihoods, signed likelihoods, how many are level with the best."""

    total: jax.Array
    signed: jax.Array
    best: jax.Array
    spacings: jax.Array


def _log_likelihood(level: jax.Array, t: CollapsedTables) -> jax.Array:
    misses = t.n - level
    return jnp.asarray(level * t.log_up + jnp.where(misses > 0, misses * t.log_down, 0.0))


def _collapsed_trial(
    key: jax.Array, t: CollapsedTables, others: jax.Array, log_others: jax.Array, blocks: jax.Array
) -> jax.Array:
    """Evidence of one trial, shape (3,)."""
    arrival_key, sign_key, rest_key, label_key = jax.random.split(key, 4)

    def levels(arrivals: jax.Array) -> jax.Array:
        return jnp.searchsorted(t.log_rate, jnp.log(arrivals), side="left")

    first, first_spacings = block_of_arrivals(arrival_key, 0, jnp.float64(0.0), others)
    # What lies below the first block (empty where every hypothesis is enumerated).
    last = first[-1]
    at_last = jnp.minimum(levels(last), t.log_rate.shape[0] - 1)
    log_count = jnp.where(others < LARGEST_SPACED, jnp.log(jnp.maximum(others - BLOCK, 0.0)), log_others)
    everything_listed = jnp.exp(log_others) < ENUMERATED
    last = jnp.where(everything_listed, 1.0, last)
    log_used = jnp.log1p(-jnp.minimum(last / others, 0.5))
    level_likelihood = _log_likelihood(t.level_high - at_last, t)
    log_left = t.log_rate[at_last] + jnp.log1p(-jnp.exp(jnp.minimum(jnp.log(last) - t.log_rate[at_last], 0.0)))
    log_partial = log_left - log_others
    log_mean = jnp.logaddexp(t.log_below[at_last], log_partial + level_likelihood) - log_used
    log_square = jnp.logaddexp(t.log_below_square[at_last], log_partial + 2.0 * level_likelihood) - log_used
    log_rest = jnp.where(everything_listed, -jnp.inf, log_count + log_mean)
    log_variance = jnp.where(everything_listed, -jnp.inf, log_count + log_square)

    best = t.level_high - levels(first[0])
    reference = jnp.maximum(_log_likelihood(best, t), log_rest)
    reference = jnp.where(jnp.isfinite(reference), reference, t.n * t.log_up)  # no wrong hypothesis has a likelihood

    def add(block: jax.Array, sums: _Mixture) -> _Mixture:
        arrivals, spacings = jax.lax.cond(
            block == 0,
            lambda: (first, first_spacings),
            lambda: block_of_arrivals(arrival_key, block, sums.spacings, others),
        )
        level = t.level_high - levels(arrivals)
        exists = jnp.isfinite(arrivals)
        weight = jnp.where(exists, jnp.exp(_log_likelihood(level, t) - reference), 0.0)
        heads = jax.random.bernoulli(jax.random.fold_in(sign_key, block), shape=(BLOCK,))
        return _Mixture(
            sums.total + weight.sum(),
            sums.signed + jnp.where(heads, weight, -weight).sum(),
            sums.best + jnp.sum(exists & (level == best)),
            spacings,
        )

    zero = jnp.float64(0.0)
    sums = jax.lax.fori_loop(0, blocks, add, _Mixture(zero, zero, jnp.zeros((), jnp.int64), zero))

    normal = jax.random.normal(rest_key, (3,), dtype=jnp.float64)
    variance = jnp.exp(log_variance - 2.0 * reference)
    shrink = jnp.where(jnp.isfinite(log_square), -jnp.expm1(jnp.minimum(2.0 * log_mean - log_square, 0.0)), 0.0)
    signed_rest = normal[0] * jnp.sqrt(variance)
    total_rest = jnp.exp(log_rest - reference) + normal[1] * jnp.sqrt(variance * shrink)
    signed = sums.signed + signed_rest
    total = sums.total + jnp.maximum(total_rest, jnp.abs(signed_rest))
    log_own = _log_likelihood(t.truth_low + jnp.arange(t.truth_pmf.shape[0]), t)
    own = jnp.exp(jnp.minimum(log_own - reference, 600.0))
    sign = jnp.where(own + total > 0.0, jnp.abs(own + signed) / (own + total), 0.0)
    posterior_sign = jnp.sum(t.truth_pmf * jnp.minimum(sign, 1.0))

    # The truth is picked if it agrees more often than the best wrong one, and among equals with a fair share. Those
    # level with the best and not listed: the rest of the last arrival's level, if that is the best one's.
    hidden = jnp.where(everything_listed | (t.level_high - at_last != best), 0.0, jnp.exp(jnp.minimum(log_left, 600.0)))
    hidden = jnp.maximum(hidden + normal[2] * jnp.sqrt(hidden), 0.0)
    place = best - t.truth_low
    inside = (place >= 0) & (place < t.truth_pmf.shape[0])
    index = jnp.clip(place, 0, t.truth_pmf.shape[0] - 1).astype(jnp.int32)
    wins = jnp.where(inside, t.truth_above[index], jnp.where(place < 0, 1.0, 0.0))
    ties = jnp.where(inside, t.truth_pmf[index], 0.0)
    mle_hit = jnp.minimum(wins + ties / (1.0 + sums.best + hidden), 1.0)
    erm_hit = reciprocal_of_survivors(label_key, others, log_others, t.log_survival)
    return jnp.stack([posterior_sign, mle_hit, erm_hit])


@functools.partial(jax.jit, compiler_options=QUICK_COMPILE)
def _collapsed_batch(
    words: jax.Array,
    trials: jax.Array,
    tables: CollapsedTables,
    others: jax.Array,
    log_others: jax.Array,
    blocks: jax.Array,
) -> jax.Array:
    def one(word: jax.Array, trial: jax.Array, table: CollapsedTables) -> jax.Array:
        return _collapsed_trial(trial_key(word, trial), table, others, log_others, blocks)

    over_trials = jax.vmap(one, in_axes=(None, 0, None))
    return jax.vmap(over_trials, in_axes=(0, None, 0))(words, trials, tables)


def _size(log2_M: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(min(M-1, cap), log(M-1), number of blocks to list) as arrays, so that M does not recompile."""
    others = min(2.0**log2_M - 1.0, LARGEST_SPACED) if log2_M < 1000 else LARGEST_SPACED
    blocks = math.ceil(others / BLOCK) if log2_M < 1000 and 2**log2_M <= ENUMERATED else 1
    return jnp.float64(others), jnp.float64(log_M_minus_1(log2_M)), jnp.int32(blocks)


def collapsed_evidence(cells: Sequence[Cell], trials: NDArray[np.int64], tables: CollapsedTables) -> Evidence:
    """Evidence of every trial of ``cells`` (one M), arrays (cells, trials). ``tables`` are those of ``cells``."""
    with jax.enable_x64(True):
        out = _collapsed_batch(identity_words(cells), jnp.asarray(trials), tables, *_size(cells[0].log2_M))
        found = np.asarray(out)
    return Evidence(found[..., 0], found[..., 1], found[..., 2], np.full(found.shape[:-1], np.nan))


@functools.partial(jax.jit, static_argnames="size")
def _explicit_batch(
    words: jax.Array,
    trials: jax.Array,
    values: jax.Array,
    tilted_cdf: jax.Array,
    n: jax.Array,
    epsilon: jax.Array,
    uninformative: jax.Array,
    size: int,
) -> jax.Array:
    """Evidence of one cell's trials, (trials, 3); ``values`` are the standardised returns f, padded."""
    log_others = jnp.float64(math.log(size - 1)) if size > 1 else jnp.float64(-jnp.inf)
    word_bits = 32

    def one(trial: jax.Array) -> jax.Array:
        trace_key, sign_key, fresh_key, label_key, zero_key = jax.random.split(trial_key(words, trial), 5)

        def add(block: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            scores, own = carry
            u = jax.random.uniform(jax.random.fold_in(trace_key, block), (word_bits,), dtype=jnp.float64)
            f = values[jnp.searchsorted(tilted_cdf, u, side="right")]
            use = block * word_bits + jnp.arange(word_bits) < n
            # Half log odds of agreeing with this trace; +-1e3 nats stand for certainty (epsilon |f| = 1).
            z = jnp.where(use, jnp.arctanh(jnp.clip(epsilon * f, -1.0, 1.0)), 0.0)
            z = jnp.clip(z, -1e3, 1e3)
            bits = jax.random.bits(jax.random.fold_in(sign_key, block), (size - 1,), dtype=jnp.uint32)
            agree = (bits[:, None] >> jnp.arange(word_bits, dtype=jnp.uint32)) & 1
            return scores + jnp.sum(jnp.where(agree == 1, z, -z), axis=1), own + z.sum()

        start = (jnp.zeros(size - 1, jnp.float64), jnp.float64(0.0))
        scores, own = jax.lax.fori_loop(0, (n + word_bits - 1) // word_bits, add, start)
        reference = jnp.maximum(own, scores.max())
        weight = jnp.exp(scores - reference)
        truth = jnp.exp(own - reference)
        heads = jax.random.bernoulli(fresh_key, shape=(size - 1,))
        signed = truth + jnp.where(heads, weight, -weight).sum()
        posterior_sign = jnp.minimum(jnp.abs(signed) / (truth + weight.sum()), 1.0)
        rounding = 1e-10 * (1.0 + jnp.abs(own))
        above, level = jnp.sum(scores > own + rounding), jnp.sum(jnp.abs(scores - own) <= rounding)
        mle_hit = jnp.where(above > 0, 0.0, 1.0 / (1.0 + level))

        def label(block: jax.Array, informed: jax.Array) -> jax.Array:
            u = jax.random.uniform(jax.random.fold_in(zero_key, block), (BLOCK,), dtype=jnp.float64)
            return informed + jnp.sum((u >= uninformative) & (block * BLOCK + jnp.arange(BLOCK) < n))

        informed = jax.lax.fori_loop(0, (n + BLOCK - 1) // BLOCK, label, jnp.zeros((), jnp.int64))
        erm_hit = reciprocal_of_survivors(label_key, jnp.float64(size - 1), log_others, -informed * LN2)
        return jnp.stack([posterior_sign, mle_hit, erm_hit])

    out: jax.Array = jax.lax.map(one, trials, batch_size=max(1, min(64, 2**18 // size)))
    return out


def explicit_evidence(cell: Cell, trials: NDArray[np.int64], support: int) -> Evidence:
    """Evidence of the trials of one cell, arrays (trials,); ``support`` pads the law of the return."""
    f, cdf = standardised_tables(cell.return_law, cell.epsilon, support)
    with jax.enable_x64(True):
        out = _explicit_batch(
            identity_words([cell])[0],
            jnp.asarray(trials),
            jnp.asarray(f),
            jnp.asarray(cdf),
            jnp.int64(cell.n),
            jnp.float64(cell.epsilon),
            jnp.float64(cell.uninformative),
            2**cell.log2_M,
        )
        found = np.asarray(out)
    return Evidence(found[:, 0], found[:, 1], found[:, 2], np.full(len(trials), np.nan))
