"""The two optimisers: multi-start gradient ascent in JAX (float64) and SciPy's differential evolution.

Both move a point of the unit cube, which an adversary maps to an instance, and push the same objective up. Evolution
starts from the best point of the ascent among others, so that the two complement one another: the ascent follows a
ridge to its end, evolution crosses the steps of an objective that counts atoms or rounds whole numbers.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.falsify.adversary import Adversary, numeric, objective, plain, sides
from theory.falsify.finding import Finding, Method
from theory.formula import Formula
from theory.notation import LN2
from theory.proof import Claim

__all__ = ["attack"]

Floats = NDArray[np.float64]
Batch = Callable[[Any], Any]

STARTS, STEPS = 128, 300
GENERATIONS, POPULATION = 60, 12
#: Generations where every instance is computed by NumPy, one by one; and at effort 0.
NUMPY_GENERATIONS, QUICK_GENERATIONS = 35, 15
#: Steps of the ascent shrink from RATE to RATE * LAST.
RATE, LAST, MOMENTUM, SPREAD = 0.06, 1e-3, 0.9, 0.99
#: Compiling costs seconds, running milliseconds.
QUICK_COMPILATION: Any = {"xla_backend_optimization_level": 1, "xla_llvm_disable_expensive_passes": True}


def attack(adversary: Adversary, claim: Claim, seed: int, effort: int) -> Finding:
    """The worst instance that both optimisers find for one claim."""
    registered = _is_registered(adversary, claim)
    rng = np.random.default_rng(
        [seed, zlib.crc32(f"{adversary.label} {adversary.claim} {adversary.space.name}".encode())]
    )
    best, value, evaluations = rng.uniform(size=len(adversary.space.box)), -math.inf, 0
    method: Method = "evolution"
    batch = None
    if effort > 0 and adversary.differentiable(claim):
        best, value, evaluations, batch = _ascend(adversary, claim, rng, effort)
        method = "gradient"
    generations = (GENERATIONS if batch else NUMPY_GENERATIONS) * effort or QUICK_GENERATIONS
    evolved, evolved_value, tried = _evolve(batch or _numpy_batch(adversary, claim), rng, generations, best)
    if evolved_value > value:
        best, method = evolved, "evolution"
    instance = adversary.space.describe(best)
    measured = sides(adversary, claim, instance, registered)
    return Finding(
        label=adversary.label,
        claim=claim.name,
        attack=adversary.space.name,
        bound=str(claim.relation),
        ratio=measured.ratio,
        measured=adversary.gauge.words,
        lhs=measured.lhs,
        rhs=measured.rhs,
        excess=measured.excess,
        instance=instance,
        evaluations=evaluations + tried,
        method=method,
        violated=measured.violated,
    )


def _is_registered(adversary: Adversary, claim: Claim) -> bool:
    from theory.registry import theorem

    return claim == theorem(adversary.label).claim(claim.name)


def _numpy_batch(adversary: Adversary, claim: Claim) -> Batch:
    def value(share: Floats) -> float:
        letters = adversary.letters(np, adversary.space.at(np, share))
        lhs = letters["lhs"] if "lhs" in letters else numeric(claim.relation.lhs)(letters)
        origin, drop = adversary.gauge.origin(letters), adversary.gauge.drop
        rhs = numeric(claim.relation.rhs)(letters)
        found = float(objective(np, claim.relation.op, lhs, rhs, origin, drop, adversary.scale(letters)))
        return found if math.isfinite(found) else -1e9

    return lambda shares: np.array([value(share) for share in shares])


def _evolve(batch: Batch, rng: np.random.Generator, generations: int, start: Floats) -> tuple[Floats, float, int]:
    """Differential evolution on the unit cube. Returns the best point, its objective, and the points tried."""
    from scipy.optimize import differential_evolution

    size, tried = start.size, 0

    def cost(shares: Floats) -> Floats:
        nonlocal tried
        tried += shares.shape[1]
        return -np.asarray(batch(np.clip(shares.T, 0.0, 1.0)))

    found = differential_evolution(
        cost,
        [(0.0, 1.0)] * size,
        maxiter=generations,
        popsize=max(POPULATION // max(size // 4, 1), 4),
        tol=0.0,
        polish=False,
        vectorized=True,
        updating="deferred",
        x0=start,
        seed=int(rng.integers(2**31)),
    )
    return np.clip(found.x, 0.0, 1.0), -float(found.fun), tried


def _ascend(
    adversary: Adversary, claim: Claim, rng: np.random.Generator, effort: int
) -> tuple[Floats, float, int, Batch]:
    """Adam from many starts, all at once, ``effort`` times.

    Returns the best point seen, its objective, the points tried, and the compiled objective of a batch of points.
    """
    import jax

    climb = _compiled(adversary, claim)

    def run(shares: Floats, steps: int) -> tuple[Floats, Floats]:
        """Chunks of one size, so that there is one compilation."""
        padded = np.concatenate([shares, np.repeat(shares[-1:], -len(shares) % STARTS, axis=0)])
        with jax.enable_x64(True):
            found = [climb(chunk, steps) for chunk in padded.reshape(-1, STARTS, shares.shape[1])]
        where, values = (np.concatenate([np.asarray(pair[side]) for pair in found]) for side in (0, 1))
        return where[: len(shares)], values[: len(shares)]

    where, values = run(rng.uniform(size=(STARTS * effort, len(adversary.space.box))), STEPS)
    best = int(np.argmax(values))
    return where[best], float(values[best]), STARTS * effort * (STEPS + 1), lambda shares: run(shares, 0)[1]


@functools.lru_cache(maxsize=64)
def _compiled(adversary: Adversary, claim: Claim) -> Callable[[Floats, int], tuple[Any, Any]]:
    """``climb(starts, steps)``: the best points on the way of each of ``STARTS`` starts, and their objectives."""
    import jax
    import jax.numpy as jnp

    lhs, rhs = _lambdified(claim.relation.lhs), _lambdified(claim.relation.rhs)

    def value(share: Any) -> Any:
        letters = adversary.letters(jnp, adversary.space.at(jnp, share))
        left = letters["lhs"] if "lhs" in letters else lhs(letters)
        origin, drop = adversary.gauge.origin(letters), adversary.gauge.drop
        found = objective(jnp, claim.relation.op, left, rhs(letters), origin, drop, adversary.scale(letters))
        return jnp.where(jnp.isfinite(found), found, -1e9)

    slope = jax.vmap(jax.value_and_grad(value))

    def climb(starts: Any, steps: Any) -> Any:
        def step(i: Any, state: Any) -> Any:
            share, mean, square, best, where = state
            now, gradient = slope(share)
            gradient = jnp.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
            better = now > best
            best, where = jnp.where(better, now, best), jnp.where(better[:, None], share, where)
            mean = MOMENTUM * mean + (1.0 - MOMENTUM) * gradient
            square = SPREAD * square + (1.0 - SPREAD) * gradient**2
            rate = RATE * LAST ** (i / jnp.maximum(steps, 1))
            return jnp.clip(share + rate * mean / (jnp.sqrt(square) + 1e-12), 0.0, 1.0), mean, square, best, where

        zero = jnp.zeros_like(starts)
        start = (starts, zero, zero, jnp.full(starts.shape[0], -jnp.inf), starts)
        _, _, _, best, where = jax.lax.fori_loop(0, steps + 1, step, start)
        return where, best

    with jax.enable_x64(True):
        lowered = jax.jit(climb).lower(np.zeros((STARTS, len(adversary.space.box))), np.int64(0))
        compiled = lowered.compile(compiler_options=QUICK_COMPILATION)
    return lambda starts, steps: compiled(starts, np.int64(steps))


def _lambdified(expression: Any) -> Callable[[dict[str, Any]], Any]:
    """The expression as a JAX function of the letters by name, compiled when first asked for."""
    formula = Formula(plain(expression))
    names = [str(symbol.name) for symbol in formula.letters]
    derived = {"L": lambda known: known["log2_M"] * LN2, "s": lambda known: known["sigma"] / known["H"]}

    @functools.cache
    def function() -> Callable[..., Any]:
        import sympy

        compiled: Callable[..., Any] = sympy.lambdify(formula.letters, formula.expression, modules="jax")
        return compiled

    return lambda known: function()(*(known[name] if name in known else derived[name](known) for name in names))
