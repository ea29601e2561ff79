r"""Instances from vectors, and what is computed on them by enumeration: laws, policies, experts, in NumPy or JAX.

``xp`` is the array module. Nothing here uses a bound: values of policies are sums over traces, the best expert of the
ball is the best of all candidates that lie in it.
"""

from __future__ import annotations

from typing import Any

__all__ = ["best_in_ball", "chi2", "in_ball", "masses", "moments", "spread", "tail", "whole"]

#: Token budget of the instances: the statements scale with it. Returns are any numbers in [0, BUDGET].
BUDGET = 8
#: Below this a length counts as 0.
TINY = 1e-15


def masses(xp: Any, logits: Any) -> Any:
    """Softmax."""
    weights = xp.exp(logits - xp.max(logits))
    return weights / xp.sum(weights)


def moments(xp: Any, p: Any, r: Any) -> tuple[Any, Any]:
    """(mu, sigma) of the return r under p."""
    mu = xp.sum(p * r)
    return mu, xp.sqrt(xp.maximum(xp.sum(p * (r - mu) ** 2), TINY**2))


def chi2(xp: Any, q: Any, p: Any) -> Any:
    """chi^2(q || p), all masses of p positive."""
    return xp.sum((q - p) ** 2 / p)


def in_ball(xp: Any, p: Any, towards: Any, epsilon: Any) -> Any:
    """The policy where the ray from p through ``towards`` leaves the ball of radius epsilon^2 or the simplex."""
    ray = towards - p
    length = xp.sqrt(xp.maximum(chi2(xp, towards, p), TINY**2))
    falling = ray < 0.0
    edge = xp.min(xp.where(falling, p / xp.where(falling, -ray, 1.0), 1e300))
    return xp.maximum(p + xp.minimum(epsilon / length, edge) * ray, 0.0)


def tail(xp: Any, p: Any, r: Any, threshold: Any) -> Any:
    """P[R >= threshold]."""
    return xp.sum(xp.where(r >= threshold, p, 0.0))


def best_in_ball(xp: Any, p: Any, r: Any, epsilon: Any) -> Any:
    """Largest value in the ball around p: of (R - t)^+ p on the boundary, or of all mass on the largest return inside.

    Every policy tried is in the ball; the best one is among them (complementary slackness), whatever set of returns
    it keeps. Several traces may have one return.
    """
    top = r >= xp.max(r)
    best = xp.where(1.0 / xp.sum(xp.where(top, p, 0.0)) - 1.0 <= epsilon**2, xp.max(r), xp.sum(p * r))
    for lowest in range(p.shape[0]):
        kept = r >= r[lowest]
        mass = xp.sum(xp.where(kept, p, 0.0))
        mean = xp.sum(xp.where(kept, p * r, 0.0)) / mass
        variance = xp.sum(xp.where(kept, p * (r - mean) ** 2, 0.0)) / mass
        room = mass * (1.0 + epsilon**2) - 1.0
        possible = (room > TINY) & (variance > TINY)
        root = xp.sqrt(xp.where(possible, variance / xp.where(possible, room, 1.0), 1.0))
        inside = possible & (mean - root <= r[lowest])
        value = mean + xp.where(possible, variance, 0.0) / root
        best = xp.maximum(best, xp.where(inside, value, -1.0))
    return best


def whole(xp: Any, x: Any) -> Any:
    """x rounded down. In JAX its slope is that of x, so that an ascent can move a whole number."""
    if xp.__name__ == "numpy":
        return xp.floor(x)
    from jax.lax import stop_gradient

    return x + stop_gradient(xp.floor(x) - x)


def spread(box: tuple[float, float], count: int) -> tuple[tuple[float, float], ...]:
    """The same side ``count`` times."""
    return (box,) * count
