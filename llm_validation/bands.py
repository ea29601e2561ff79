r"""What the theory says of both recipes at n training traces, in tokens: numbers of :mod:`theory`, put together.

* **VF** clones an expert of value :math:`J_e`: maximum likelihood over a class of :math:`\log|\Pi|` nats that contains
  it ends within :math:`\pm` ``vf-upper`` of :math:`J_e`, in expectation over the data.
* **VB** fits a verifier of a class of :math:`\log|\mathcal R|` nats that contains the truth to n labelled base traces
  and keeps the best of N draws. The kept draw loses to the best of them at most
  :math:`N\varepsilon_{ver}` (the second term of ``vb-upper-best-of-n``; its first is what the best of N itself may lose
  to the expert of the ball, which traces measure directly), :math:`\varepsilon_{ver}` as ``verifier-erm`` bounds it.
* **Prediction**, a theorem only on the mirrored codebook: VB minus VF is at least ``vf-lower`` minus
  ``vb-upper-top-c``, as in ``gap-regret`` but with a size of its own for each class.

Every number is cut to [0, H], where it says nothing more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from theory.chi2_ball import EXPERT_HETEROGENEITY
from theory.notation import LN2
from theory.verifier import VERIFIER_ERM
from theory.verifier_based import VB_UPPER_BEST_OF_N, VB_UPPER_TOP_C
from theory.verifier_free import VF_LOWER, VF_UPPER

__all__ = ["Prediction", "best_of_n_loss", "cloning_band", "expert_sd", "predicted_gap", "verifier_error"]


def cloning_band(H: int, n: int, log_policies: float, sigma_e: float) -> float:
    """Most that cloning ends away from its expert's value, tokens; H where ``vf-upper`` is vacuous.

    ``sigma_e``: root mean square over problems of the expert's sd of the return, tokens; ``log_policies`` in nats.
    """
    found = VF_UPPER.evaluate(H=H, n=n, log2_M=max(log_policies / LN2, 1.0), sigma=min(sigma_e, H / 2.0))
    return min(found.value, float(H))


def verifier_error(H: int, n: int, log_verifiers: float) -> float:
    """Bound on epsilon_ver = E|R_hat - R| under the base policy, tokens (``verifier-erm``, in expectation)."""
    return min(VERIFIER_ERM.evaluate(H=H, n=n, log2_M=max(log_verifiers / LN2, 1.0)).value, float(H))


def best_of_n_loss(H: int, N: int, epsilon_ver: float) -> float:
    """Most that the draw kept by a verifier loses to the best of the same N draws, tokens: N epsilon_ver, at most H."""
    if N == 1:
        return 0.0
    found = VB_UPPER_BEST_OF_N.evaluate(mu=0.0, sigma=0.0, epsilon=0.0, c=1.0, N=N, epsilon_ver=epsilon_ver)
    return min(found.value, float(H))


def expert_sd(H: int, sigma: float, kappa: float) -> float:
    """Largest sd of the return that an expert of the ball of radius kappa can have (``expert-heterogeneity``)."""
    sigma = min(sigma, H / 2.0)
    added = EXPERT_HETEROGENEITY.evaluate(H=H, sigma=sigma, epsilon=math.sqrt(kappa)).value
    return min(math.sqrt(sigma**2 + added), H / 2.0)


@dataclass(frozen=True, slots=True)
class Prediction:
    """VB minus VF as the codebook would have it, tokens: ``gain`` of VF's regret less ``loss`` of VB, at ``epsilon``.

    ``inside``: the numbers are proven on the codebook at this n, and not vacuous.
    """

    gain: float
    loss: float
    epsilon: float
    inside: bool

    @property
    def gap(self) -> float:
        """gain - loss; a lower bound on the codebook."""
        return self.gain - self.loss


def predicted_gap(
    H: int, n: int, sigma: float, c: float, largest: float, log_policies: float, log_verifiers: float
) -> Prediction | None:
    """The prediction at n, with anti-concentration ``c`` at all epsilon up to ``largest``; None where c or sigma is 0.

    The expert's radius is the best one for the bound, at most ``largest``.
    """
    if c <= 0.0 or sigma <= 0.0 or largest <= 0.0:
        return None
    sigma = min(sigma, H / 2.0)
    point = {"n": n, "log2_M": max(log_policies / LN2, 1.0), "sigma": sigma, "H": H}
    lower = VF_LOWER.evaluate(**point)
    epsilon = float(lower.extras["epsilon"])
    if epsilon > largest:
        epsilon = largest
        lower = VF_LOWER.evaluate(**point, epsilon=epsilon)
    top_c = VB_UPPER_TOP_C.evaluate(H=H, c=min(c, 1.0 / (1.0 + epsilon**2)), n=n, log2_M=max(log_verifiers / LN2, 1.0))
    return Prediction(lower.value, top_c.value, epsilon, lower.valid and top_c.valid)
