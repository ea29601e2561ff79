r"""What every policy returns, and how much more the verifier-based ones do: means and 95% intervals over seeds.

With values :math:`v_1..v_k` of k seeds the interval is Student's, :math:`\bar v\pm t_{k-1,0.975}\,s/\sqrt k`, clipped
to nothing; of one seed there is none (NaN). Seeds differ in all that is downstream of the base: training draws, order
of training, held-out draws. **Bases are one for each level, so no interval covers what another base would have given.**

The *expert* is the rejection-sampling one: solved draws of the base at that horizon, its value the mean of R given that
it solved, from the pool of ``measure`` (arm ``measured``) and exactly under the procedural mixture (arm ``exact``). It
is subtracted as a constant: its own sampling error, of thousands of draws, is in no interval.

A gap is VB minus VF at one (level, horizon, n), paired by seed. Two methods are *separated* where their own intervals
do not overlap: another question than whether the interval of the paired difference leaves out 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from llm_validation.gpt2_planted.recipe import Recipe
from llm_validation.staged.spread import Place, Row, spread

__all__ = [
    "BASE",
    "BEST_OF_N",
    "EXPERT",
    "RL",
    "VF",
    "Bases",
    "Policy",
    "Tables",
    "Values",
    "bases_of",
    "gaps_of",
    "paired",
    "returns_of",
    "values_of",
    "vb_of",
    "vf_of",
]

BASE, EXPERT, VF, BEST_OF_N, RL = "base", "expert", "vf", "best-of-n", "rl"
_FINAL, _VERIFIER = "final", "verifier"

#: (level, horizon) -> what is known of the base there.
Bases = dict[tuple[int, int], Row]


class Tables(NamedTuple):
    """Rows of the stages' tables that the analysis reads."""

    data: list[Row]
    measure: list[Row]
    vf: list[Row]
    verifier: list[Row]
    rl: list[Row]
    best_of_n: list[Row]
    evaluate: list[Row]


class Policy(NamedTuple):
    """A policy up to its seed; n = 0 where it uses no traces, N = 0 where it keeps none of several draws."""

    level: int
    horizon: int
    n: int
    method: str
    arm: str
    kl_weight: float = 0.0
    N: int = 0


#: Policy -> seed -> what was measured of it.
Values = dict[Policy, dict[int, Row]]


_NAMES = {
    "J": "J",
    "sigma": "sigma",
    "solve rate": "solve_rate",
    "solved mean": "expert",
    "solved sigma": "solved_sigma",
}
_CURVES = {"c": "c", "c pooled": "c_pooled"}


def bases_of(tables: Tables) -> Bases:
    """Of every base and horizon: J, sigma, solve rate, expert, sigma of solved draws, c and c pooled at each epsilon.

    Each name has the estimate, ``NAME_low`` and ``NAME_high`` where ``measure`` gives them, and ``NAME_exact``, the
    same under the procedural mixture. ``c`` and ``c_pooled`` are lists of rows with ``epsilon``, ``estimate``, ``low``,
    ``high``, ``exact``.
    """
    found: Bases = {}
    for row in tables.data:
        at = (row["level"], row["horizon"])
        gammas = {name: row[name] for name in ("gamma_low", "gamma_high", "weight_low")}
        found[at] = {"level": at[0], "horizon": at[1], **gammas, "c": [], "c_pooled": []}
    for row in tables.measure:
        known = found[row["level"], row["horizon"]]
        if row["quantity"] in _CURVES:
            known[_CURVES[row["quantity"]]].append(
                {"epsilon": row["at"], **{k: row[k] for k in ("estimate", "low", "high", "exact")}}
            )
        elif row["quantity"] in _NAMES:
            name = _NAMES[row["quantity"]]
            known.update({name: row["estimate"], f"{name}_exact": row["exact"]})
            if row["low"] < row["high"]:  # a count has no interval
                known.update({f"{name}_low": row["low"], f"{name}_high": row["high"]})
    return found


_MEASURED = ("J", "J_se", "solve_rate", "solve_time", "tokens", "kl", "learnt_return")


def values_of(tables: Tables) -> Values:
    """What was measured of every policy, by seed; NaN what a stage does not measure. ``J_se`` is over prompts.

    ``learnt_return`` of best-of-N is the learnt return of the draw that is kept, in tokens: NaN for ``final`` labels.
    """
    found: Values = {}
    for row in tables.evaluate:
        policy = Policy(row["level"], row["horizon"], row["n"], row["method"], row["arm"], row["kl_weight"])
        found.setdefault(policy, {})[row["seed"]] = {name: row[name] for name in _MEASURED}
    for row in tables.best_of_n:
        policy = Policy(row["level"], row["horizon"], row["n"], BEST_OF_N, row["arm"], N=row["N"])
        known = {**dict.fromkeys(_MEASURED, math.nan), **{name: row[name] for name in ("J", "J_se", "solve_rate")}}
        if row["arm"] != _FINAL:
            known["learnt_return"] = row["learnt"]
        found.setdefault(policy, {})[row["seed"]] = known
    return found


def returns_of(values: Values, bases: Bases) -> list[Row]:
    """One row a policy, sorted: J, J minus the expert, and means over seeds of the rest; two experts a base."""
    rows = [_return(policy, of_seeds, bases) for policy, of_seeds in values.items()]
    for at, known in bases.items():
        for arm, name in (("measured", "expert"), ("exact", "expert_exact")):
            alone = {**dict.fromkeys(_MEASURED, math.nan), "J": known[name], "solve_rate": 1.0}
            expert = _return(Policy(*at, 0, EXPERT, arm), {0: alone}, bases)
            rows.append({**expert, "seeds": 0})
    return sorted(rows, key=lambda row: tuple(row[name] for name in Policy._fields))


def _return(policy: Policy, of_seeds: Mapping[int, Row], bases: Bases) -> Row:
    known = bases[policy.level, policy.horizon]
    J = [row["J"] for row in of_seeds.values()]
    rest = {name: spread(row[name] for row in of_seeds.values()).mean for name in _MEASURED[1:]}
    return {
        **policy._asdict(),
        "sigma": known["sigma"],
        "solved_sigma": known["solved_sigma"],
        "seeds": len(J),
        **spread(J).columns("J"),
        **spread(value - known["expert"] for value in J).columns("minus_expert"),
        **rest,
    }


def vb_of(place: Place, recipe: Recipe) -> tuple[Policy, Policy]:
    """The verifier-based policies of a place: best of the largest N, and RL without a weight on the divergence.

    Both by the labels of ``rl.labels``.
    """
    search = Policy(*place, BEST_OF_N, recipe.rl.labels, N=recipe.best_of_n.N[-1])
    return search, Policy(*place, RL, _VERIFIER)


def vf_of(place: Place, recipe: Recipe) -> list[Policy]:
    """The clones of a place, one an arm."""
    return [Policy(*place, VF, arm) for arm in recipe.vf.arms]


def paired(values: Values, one: Policy, other: Policy) -> dict[int, float]:
    """J of ``one`` minus J of ``other`` by seed, tokens, over the seeds that both have."""
    first, second = values.get(one, {}), values.get(other, {})
    return {seed: first[seed]["J"] - second[seed]["J"] for seed in first if seed in second}


def gaps_of(values: Values, bases: Bases, places: Sequence[Place], recipe: Recipe) -> list[Row]:
    """One row for each place, VB and VF method that were measured: the paired gap [tokens], whether they are separated.

    ``better`` is ``vb`` or ``vf`` where they are, else empty.
    """
    return [
        _gap(values, bases, place, vb, vf)
        for place in places
        for vb in vb_of(place, recipe)
        for vf in vf_of(place, recipe)
        if paired(values, vb, vf)
    ]


def _gap(values: Values, bases: Bases, place: Place, vb: Policy, vf: Policy) -> Row:
    of_vb, of_vf = (spread(row["J"] for row in values[policy].values()) for policy in (vb, vf))
    better = "vb" if of_vb.low > of_vf.high else "vf" if of_vf.low > of_vb.high else ""
    gap = spread(paired(values, vb, vf).values())
    return {
        **place._asdict(),
        "sigma": bases[place.level, place.horizon]["sigma"],
        "vb": vb.method,
        "vf": vf.arm,
        "N": vb.N,
        "seeds": gap.seeds,
        **gap.columns("gap"),
        **of_vb.columns("vb_J"),
        **of_vf.columns("vf_J"),
        "separated": bool(better),
        "better": better,
    }
