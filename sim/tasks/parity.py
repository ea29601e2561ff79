r"""The parity codebook: x uniform on {0,1}^k, M = 2^k, s_j(x) = (-1)^<j,x>; every hypothesis explicit.

With z_t = s_i(x_t) f_t the agreement-signed standardised return of trace t, the log likelihood is, up to a constant,
:math:`\log L_j=\sum_t s_j(x_t)\,g_t`, :math:`g_t=\operatorname{artanh}(\varepsilon f_t)`: the Walsh-Hadamard
transform at j of the histogram :math:`G(x)=\sum_{t:x_t=x}g_t`. The posterior sign :math:`w(x)=\sum_jP_j(-1)^{\langle
j,x\rangle}` is one more transform, so that :math:`E_x|w(x)|` is exact given the data.

VB reads s_i(x_t) off every label with R != mu. Its consistent set is found twice: by the transform (count hypotheses
that agree with all labels) and by Gaussian elimination over GF(2), which outputs one solution, free bits at random.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sim.cells import Cell
from sim.tasks.evidence import Evidence
from sim.tasks.keys import BLOCK, identity_words, trial_key
from sim.tasks.traces import standardised_tables

__all__ = ["parity_evidence", "walsh_hadamard"]

_CERTAIN = 1e3  # half log odds that stand for certainty: exp(-2000) is 0 in float64


def _hadamard(bits: int) -> jax.Array:
    index = jnp.arange(2**bits, dtype=jnp.uint32)
    odd = jax.lax.population_count(index[:, None] & index[None, :]) & 1
    return 1.0 - 2.0 * odd.astype(jnp.float64)


def walsh_hadamard(values: jax.Array, k: int) -> jax.Array:
    """sum_x values[..., x] (-1)^<j,x> for every j, shape (..., 2^k), as two matrix products of about 2^(k/2)."""
    low = k // 2
    grid = values.reshape(*values.shape[:-1], 2 ** (k - low), 2**low)
    return (_hadamard(k - low) @ grid @ _hadamard(low)).reshape(values.shape)


def _sign(hypothesis: jax.Array, prompt: jax.Array) -> jax.Array:
    odd = jax.lax.population_count(hypothesis & prompt) & 1
    return 1.0 - 2.0 * odd.astype(jnp.float64)


def _insert(row: jax.Array, basis: jax.Array, k: int) -> jax.Array:
    """Reduce one augmented row (bit k is its label) by the basis and add what is left; basis[b] has leading bit b."""

    def reduce_bit(step: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        row, basis = state
        bit = jnp.uint32(k - 1) - step.astype(jnp.uint32)
        has = ((row >> bit) & 1) == 1
        pivot = basis[bit]
        basis = basis.at[bit].set(jnp.where(has & (pivot == 0), row, pivot))
        row = jnp.where(has, jnp.where(pivot == 0, jnp.uint32(0), row ^ pivot), row)
        return row, basis

    return jnp.asarray(jax.lax.fori_loop(0, k, reduce_bit, (row, basis))[1])


def _solution(basis: jax.Array, free: jax.Array, k: int) -> jax.Array:
    """A solution of the system in ``basis``; unconstrained bits are those of ``free``."""

    def decide(step: jax.Array, answer: jax.Array) -> jax.Array:
        bit = step.astype(jnp.uint32)
        row = basis[bit]
        lower = (jnp.uint32(1) << bit) - jnp.uint32(1)
        odd = (jax.lax.population_count(row & lower & answer) ^ (row >> jnp.uint32(k))) & 1
        own = jnp.where(row == 0, (free >> bit) & 1, odd)
        return answer | (own << bit)

    return jnp.asarray(jax.lax.fori_loop(0, k, decide, jnp.uint32(0)))


@functools.partial(jax.jit, static_argnames="k")
def _parity_batch(
    words: jax.Array,
    trials: jax.Array,
    values: jax.Array,
    tilted_cdf: jax.Array,
    n: jax.Array,
    epsilon: jax.Array,
    uninformative: jax.Array,
    k: int,
) -> jax.Array:
    """Evidence of one cell's trials, (trials, 4)."""
    size = 2**k
    blocks = (n + BLOCK - 1) // BLOCK

    def prompts(key: jax.Array, block: jax.Array) -> tuple[jax.Array, jax.Array]:
        drawn = jax.random.bits(jax.random.fold_in(key, block), (BLOCK,), dtype=jnp.uint32) & jnp.uint32(size - 1)
        return drawn, block * BLOCK + jnp.arange(BLOCK) < n

    def one(trial: jax.Array) -> jax.Array:
        truth_key, x_key, f_key, label_x_key, label_f_key, free_key = jax.random.split(trial_key(words, trial), 6)
        truth = jax.random.bits(truth_key, dtype=jnp.uint32) & jnp.uint32(size - 1)

        def add_trace(block: jax.Array, histogram: jax.Array) -> jax.Array:
            x, use = prompts(x_key, block)
            u = jax.random.uniform(jax.random.fold_in(f_key, block), (BLOCK,), dtype=jnp.float64)
            z = values[jnp.searchsorted(tilted_cdf, u, side="right")]
            g = jnp.clip(jnp.arctanh(jnp.clip(epsilon * z, -1.0, 1.0)), -_CERTAIN, _CERTAIN)
            return histogram.at[x].add(jnp.where(use, g * _sign(truth, x), 0.0))

        scores = walsh_hadamard(jax.lax.fori_loop(0, blocks, add_trace, jnp.zeros(size, jnp.float64)), k)
        posterior = jax.nn.softmax(scores)
        posterior_sign = jnp.mean(jnp.abs(walsh_hadamard(posterior, k)))
        rounding = 1e-10 * (1.0 + jnp.max(jnp.abs(scores)))
        best = scores >= scores.max() - rounding
        mle_hit = jnp.where(best[truth], 1.0 / jnp.sum(best), 0.0)

        def labels(block: jax.Array) -> tuple[jax.Array, jax.Array]:
            x, use = prompts(label_x_key, block)
            u = jax.random.uniform(jax.random.fold_in(label_f_key, block), (BLOCK,), dtype=jnp.float64)
            return x, use & (u >= uninformative)

        def add_label(block: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            histogram, count = carry
            x, told = labels(block)
            return histogram.at[x].add(jnp.where(told, _sign(truth, x), 0.0)), count + jnp.sum(told)

        start = (jnp.zeros(size, jnp.float64), jnp.zeros((), jnp.int64))
        histogram, told = jax.lax.fori_loop(0, blocks, add_label, start)
        erm_hit = 1.0 / jnp.sum(walsh_hadamard(histogram, k) > told - 0.5)

        def eliminate(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            block, basis = state
            x, told_here = labels(block)
            label = (jax.lax.population_count(truth & x) & 1).astype(jnp.uint32)
            rows = jnp.where(told_here, x | (label << jnp.uint32(k)), jnp.uint32(0))
            return block + 1, jax.lax.fori_loop(0, BLOCK, lambda i, b: _insert(rows[i], b, k), basis)

        def more(state: tuple[jax.Array, jax.Array]) -> jax.Array:
            block, basis = state
            return (block < blocks) & jnp.any(basis == 0)

        first = (jnp.zeros((), blocks.dtype), jnp.zeros(k, jnp.uint32))
        basis = jax.lax.while_loop(more, eliminate, first)[1]
        answer = _solution(basis, jax.random.bits(free_key, dtype=jnp.uint32), k)
        return jnp.stack([posterior_sign, mle_hit, erm_hit, (answer == truth).astype(jnp.float64)])

    out: jax.Array = jax.lax.map(one, trials, batch_size=max(1, min(256, 2**20 // size)))
    return out


def parity_evidence(cell: Cell, trials: NDArray[np.int64], support: int) -> Evidence:
    """Evidence of the trials of one cell, arrays (trials,); ``support`` pads the law of the return."""
    f, cdf = standardised_tables(cell.return_law, cell.epsilon, support)
    with jax.enable_x64(True):
        out = _parity_batch(
            identity_words([cell])[0],
            jnp.asarray(trials),
            jnp.asarray(f),
            jnp.asarray(cdf),
            jnp.int64(cell.n),
            jnp.float64(cell.epsilon),
            jnp.float64(cell.uninformative),
            cell.log2_M,
        )
        found = np.asarray(out)
    return Evidence(*(found[:, i] for i in range(4)))
