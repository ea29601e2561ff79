r"""The best policy of the chi-squared ball on a token MDP: a law over solve times, and a policy that is executed.

Prompt by prompt (:func:`ball_expert`) it is ``chi2-expert``: density :math:`w_x=(R-t_x)^+/Z_x` with respect to the base
policy, :math:`\chi^2_x=\kappa` unless all mass is on the largest return before.

Over the ball averaged over x, :math:`E_x\chi^2_x\le\kappa` (:func:`averaged_ball_expert`), it is
:math:`w_x=(R-t_x)^+/Z` with one multiplier Z for all prompts, :math:`E_b[(R-t_x)^+]=Z`, found by bisection: the mean
divergence falls in Z. With returns :math:`r_1>r_2>\dots` and :math:`P_j=P(R\ge r_j)`, the last j with
:math:`G_j=\sum_{i<j}P_i(r_i-r_{i+1})<Z` has :math:`r_{j+1}\le t<r_j` and :math:`r_j-t=(Z-G_j)/P_j`: nothing is
subtracted from anything much larger.

Both are functions of T. :func:`expert_policy` turns such a density into a policy over (step, state), which determines
the reward so far; its traces then have exactly this density. That needs deterministic transitions: random ones are not
for a policy to reweight, and the value of the law is then only an upper bound on what policies of the ball attain.

NumPy on the host. Laws and densities are (steps + 1, X): rows T = 1..steps and never, see
:func:`~sim.dynamic_programming.solve_time_law`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from sim.dynamic_programming import reweighted_policy
from sim.mdp import TokenMDP, owners
from theory.chi2_ball import optimal_expert
from theory.laws import ReturnLaw

__all__ = ["BallExpert", "averaged_ball_expert", "ball_expert", "expert_policy", "return_laws"]

Floats = NDArray[np.float64]

#: Halvings of the logarithm of the multiplier: more than the digits of a float.
_HALVINGS = 64


class BallExpert(NamedTuple):
    """A policy of density ``weights``, (steps + 1, X), with respect to the base, known by the law of its solve time."""

    weights: Floats
    law: Floats  # (steps + 1, X)
    mean: Floats  # (X,) E[R|x], tokens
    divergence: Floats  # (X,) chi^2_x


def return_laws(law: Floats, returns: Floats) -> list[ReturnLaw]:
    """Law of the return of every prompt. ``returns`` (steps + 1,): R of each row, see :func:`sim.mdp.returns`."""
    return [ReturnLaw.of(returns, column) for column in np.asarray(law).T]


def _expert(weights: Floats, law: Floats, returns: Floats) -> BallExpert:
    """Normalised: a density has mean 1."""
    weights = weights / (law * weights).sum(axis=0)
    return BallExpert(weights, law * weights, returns @ (law * weights), (law * (weights - 1.0) ** 2).sum(axis=0))


def ball_expert(law: Floats, returns: Floats, kappa: float) -> BallExpert:
    """The best policy with chi^2 <= kappa on every prompt. Raises ``ValueError`` if kappa < 0."""
    law = np.asarray(law)
    columns, inverse = np.unique(law, axis=1, return_inverse=True)
    found = np.zeros_like(columns)
    for i, base in enumerate(return_laws(columns, returns)):
        density = optimal_expert(base, kappa) / base.probabilities
        met = columns[:, i] > 0.0
        found[met, i] = density[np.searchsorted(base.values, returns[met])]
    return _expert(found[:, inverse.reshape(-1)], law, returns)


def averaged_ball_expert(law: Floats, returns: Floats, prompt_weights: Floats, kappa: float) -> BallExpert:
    """The best policy with E_x chi^2 <= kappa. Raises ``ValueError`` if kappa < 0."""
    if not kappa >= 0.0:
        raise ValueError(f"kappa = {kappa}: expected kappa >= 0")
    law = np.asarray(law)
    met = law > 0.0
    largest = np.where(met, returns[:, None], -np.inf).max(axis=0)
    top = met & (returns[:, None] == largest)
    mass = np.cumsum(law, axis=0)
    lost = np.concatenate([np.zeros_like(law[:1]), np.cumsum(-np.diff(returns)[:, None] * mass[:-1], axis=0)])  # G

    def density(multiplier: float) -> Floats:
        last = np.sum(lost < multiplier, axis=0) - 1
        kept = last, np.arange(law.shape[1])
        above = (multiplier - lost[kept]) / mass[kept]  # r_j - t
        return np.where(met, np.maximum(returns[:, None] - returns[last] + above, 0.0), 0.0)

    def divergence(expert: BallExpert) -> float:
        return float(prompt_weights @ expert.divergence)

    if kappa == 0.0:
        return _expert(met.astype(np.float64), law, returns)
    best = _expert(top.astype(np.float64), law, returns)
    if divergence(best) <= kappa:
        return best
    spread = float(prompt_weights @ (law * (returns[:, None] - returns @ law) ** 2).sum(axis=0))
    low, high = math.log(1e-300), 0.5 * math.log(max(spread / kappa, 1e-300))  # untruncated, chi^2 is (sigma/Z)^2
    while divergence(_expert(density(math.exp(high)), law, returns)) > kappa:
        high += 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if divergence(_expert(density(math.exp(middle)), law, returns)) > kappa:
            low = middle
        else:
            high = middle
    return _expert(density(math.exp(high)), law, returns)


def expert_policy(mdp: TokenMDP, base: Floats, weights: Floats) -> Floats:
    """The policy (steps, S, A) whose traces have density ``weights``\\[T, x] with respect to those of ``base``.

    Raises ``ValueError`` if transitions are random, or two prompts meet in a state (:func:`sim.mdp.told_apart`).
    """
    owner = owners(mdp, base)
    with jax.enable_x64(True):
        return np.asarray(reweighted_policy(mdp, base, weights, owner))
