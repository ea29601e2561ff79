r"""Closed forms of :mod:`theory` fitted to measured means and judged on other cells.

``vf-lower``, ``verifier-erm`` and ``gap-regret`` speak of finite classes; a network has none. Effective sizes
:math:`L_\Pi,L_{\mathcal R}\ge0` (nats) are fitted by least squares on half of the cells so that the closed forms are
the measured means over seeds,

.. math:: \text{gap}\approx\sigma\sqrt{L_\Pi/(8n)}-\frac Hc\,\frac{1+L_{\mathcal R}}n,\qquad
   \text{VF regret}\approx\sigma\sqrt{L_\Pi/(8n)},\qquad \varepsilon_{ver}\approx H\,\frac{1+L_{\mathcal R}}n,

and judged on the other half; n of a clone is the number of solved traces it was given (``cloned``), of a verifier that
of labelled draws. The expressions are those of the theorems' claims. Each is linear in :math:`\sqrt{L_\Pi}` and
:math:`L_{\mathcal R}`, so the fit is a nonnegative least-squares problem with one solution.

Lower bounds are minimax: on a trained network they are predictions, neither held nor violated. The first two are
claimed inside the window of ``vf-lower`` and for :math:`L\ge\log2` only; an upper bound above H says nothing. Every
cell says which.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm_validation.staged.spread import Place, Row, Spread, spread
from theory.formula import Formula
from theory.verifier import VERIFIER_ERM
from theory.verifier_based import VB_UPPER_TOP_C
from theory.verifier_free import VF_LOWER, closed_form_window

__all__ = ["FORMS", "Form", "Point", "fit_of", "halves"]

Floats = NDArray[np.float64]
Point = dict[str, float]

#: Least log-size of a class that the statements speak of, nats.
_TWO_MEMBERS = math.log(2.0)


class Part(NamedTuple):
    """A term of a closed form: constant + L^power times a factor, both read off the theorem's expression."""

    letter: str  # which class: L_Pi or L_R
    formula: Formula
    power: float
    sign: float

    def at(self, point: Point, L: float) -> float:
        """Its value with a class of log-size L, nats; a clone's n is that of the traces it was given."""
        n = point["cloned"] if self.letter == "L_Pi" else point["n"]
        return self.sign * self.formula.at({**point, "n": n, "L": L})


@dataclass(frozen=True, slots=True)
class Form:
    """A closed form as a sum of parts; ``lower``: it has the window of ``vf-lower``; ``upper``: a part that bounds."""

    label: str
    parts: tuple[Part, ...]
    lower: bool
    upper: bool

    def at(self, point: Point, L: Mapping[str, float]) -> float:
        """Tokens."""
        return sum(part.at(point, L[part.letter]) for part in self.parts)

    def is_vacuous(self, point: Point, L: Mapping[str, float]) -> bool:
        """Whether the upper bound in it is above H, the trivial one."""
        return self.upper and any(abs(part.at(point, L[part.letter])) > point["H"] for part in self.parts[-1:])


@cache
def _parts() -> tuple[Part, Part, Part]:
    cloning, loss, error = (
        Formula(theorem.claim(name).relation.rhs)
        for theorem, name in ((VF_LOWER, "closed-form"), (VB_UPPER_TOP_C, "simple"), (VERIFIER_ERM, "simple"))
    )
    return (
        Part("L_Pi", cloning, 0.5, 1.0),
        Part("L_R", loss, 1.0, -1.0),
        Part("L_R", error, 1.0, 1.0),
    )


def _forms() -> dict[str, Form]:
    cloning, loss, error = _parts()
    return {
        "gap-regret": Form("gap-regret", (cloning, loss), lower=True, upper=True),
        "vf-lower": Form("vf-lower", (cloning,), lower=True, upper=False),
        "verifier-erm": Form("verifier-erm", (error,), lower=False, upper=True),
    }


#: Closed forms by the label of their theorem.
FORMS = _forms()


def halves(places: Sequence[Place], seed: int) -> set[Place]:
    """The half of the places on which is fitted (the larger, if they are odd in number); a function of the seed."""
    from llm_validation.staged.keys import words_of
    from sim.tasks.token_task import uniforms

    order = np.argsort(uniforms(words_of(seed, "fitted half"), len(places)), kind="stable")
    return {places[i] for i in order[: (len(places) + 1) // 2]}


def fit_of(
    quantity: str,
    form: Form,
    by_seed: Mapping[Place, Mapping[int, float]],
    points: Mapping[Place, Point],
    fitted: set[Place],
) -> Row:
    """The fit of one closed form to means over seeds (tokens) by place, and its errors on the places not fitted on.

    ``L``: nats by class; ``L_interval``: 95% over seeds, each fitted alone. Both are None where there are fewer fitted
    places than classes. ``judged``: RMSE and mean absolute error (tokens), R^2 against the mean of the fitted half,
    places at or above the prediction; None where there is nothing to judge. ``cells``: each place with measurement,
    prediction, half, window, vacuity. ``verdict``: one line.
    """
    measured = {place: spread(values.values()) for place, values in by_seed.items()}
    places = [place for place in measured if place in points and math.isfinite(measured[place].mean)]
    mine = [place for place in places if place in fitted]
    if len(mine) < len(form.parts):
        reason = f"{len(mine)} cells to fit on, expected at least {len(form.parts)}"
        return {**_empty(quantity, form), "verdict": f"{quantity}: {reason}"}
    L = _least_squares(form, [points[p] for p in mine], np.array([measured[p].mean for p in mine]))
    cells = [_cell(form, L, place, points[place], measured[place], place in fitted) for place in places]
    middle = float(np.mean([measured[place].mean for place in mine]))
    judged = _errors([cell for cell in cells if not cell["fitted"]], middle)
    return {
        **_empty(quantity, form),
        "L": L,
        "L_interval": _over_seeds(form, [points[p] for p in mine], [by_seed[p] for p in mine]),
        "has_two_members": {name: value >= _TWO_MEMBERS for name, value in L.items()},
        "on_fitted": _errors([cell for cell in cells if cell["fitted"]], middle),
        "judged": judged,
        "cells": cells,
        "verdict": _verdict(quantity, form, L, cells, judged),
    }


def _empty(quantity: str, form: Form) -> Row:
    return {
        "quantity": quantity,
        "form": form.label,
        "L": None,
        "L_interval": None,
        "has_two_members": None,
        "on_fitted": None,
        "judged": None,
        "cells": [],
    }


def _least_squares(form: Form, points: Sequence[Point], values: Floats) -> dict[str, float]:
    """L >= 0 of every class that brings the form nearest to the values, nats."""
    from scipy.optimize import nnls

    at_zero = np.array([[part.at(point, 0.0) for part in form.parts] for point in points])
    at_one = np.array([[part.at(point, 1.0) for part in form.parts] for point in points])
    columns = at_one - at_zero
    sizes = np.linalg.norm(columns, axis=0)
    found, _ = nnls(columns / sizes, values - at_zero.sum(axis=1))
    return {part.letter: float(x) ** (1.0 / part.power) for part, x in zip(form.parts, found / sizes, strict=True)}


def _over_seeds(
    form: Form, points: Sequence[Point], by_seed: Sequence[Mapping[int, float]]
) -> dict[str, tuple[float, float]]:
    """95% interval of L over the seeds measured at every place, each seed fitted alone; NaN with fewer than two.

    Student's, clipped to nothing: where seeds lie on the boundary L = 0 it may reach below and says little.
    """
    seeds = set.intersection(*({seed for seed, v in values.items() if math.isfinite(v)} for values in by_seed))
    alone = [_least_squares(form, points, np.array([values[seed] for values in by_seed])) for seed in sorted(seeds)]
    over = {part.letter: spread(L[part.letter] for L in alone) for part in form.parts}
    return {name: (found.low, found.high) for name, found in over.items()}


def _cell(form: Form, L: Mapping[str, float], place: Place, point: Point, measured: Spread, fitted: bool) -> Row:
    return {
        **place._asdict(),
        **{name: point[name] for name in ("sigma", "c", "c_epsilon", "p_s", "cloned")},
        **measured.columns("measured"),
        "predicted": form.at(point, L),
        "fitted": fitted,
        "inside_window": _inside(point, L["L_Pi"]) if form.lower else None,
        "vacuous": form.is_vacuous(point, L) if form.upper else None,
    }


def _inside(point: Point, L: float) -> bool:
    """Whether vf-lower proves its closed form there, for a class of log-size L; it has at least two members."""
    return L >= _TWO_MEMBERS and closed_form_window({**point, "n": point["cloned"], "L": L})["inside"]


def _errors(cells: Sequence[Row], middle: float) -> Row | None:
    if not cells:
        return None
    measured, predicted = (np.array([cell[name] for cell in cells]) for name in ("measured", "predicted"))
    square, alone = float(((measured - predicted) ** 2).mean()), float(((measured - middle) ** 2).mean())
    return {
        "cells": len(cells),
        "rmse": math.sqrt(square),
        "mean_absolute_error": float(np.abs(measured - predicted).mean()),
        "r2": 1.0 - square / alone if alone > 0.0 else math.nan,
        "rmse_of_the_mean": math.sqrt(alone),
        "at_or_above": int((measured >= predicted).sum()),
    }


def _verdict(quantity: str, form: Form, L: Mapping[str, float], cells: Sequence[Row], judged: Row | None) -> str:
    """What the other half says, in words and numbers."""
    sizes = ", ".join(f"{name} {value:.3g}" for name, value in L.items())
    if judged is None:
        return f"{quantity} by {form.label} ({sizes} nats): no cells to judge it on"
    said = [f"{quantity} by {form.label} ({sizes} nats): {judged['cells']} cells not fitted on, {_quality(judged)}"]
    if form.lower:
        said.append(f"{sum(bool(cell['inside_window']) for cell in cells)} of {len(cells)} inside its window")
    if form.upper:
        said.append(f"upper bound vacuous in {sum(bool(cell['vacuous']) for cell in cells)}")
    return "; ".join(said)


def _quality(judged: Row) -> str:
    """Errors on the judged half."""
    errors = f"RMSE {judged['rmse']:.2f}, mean absolute error {judged['mean_absolute_error']:.2f} tokens"
    if math.isnan(judged["r2"]):
        return f"{errors}, nothing varies there"
    worse = " (worse than the mean of the fitted half)" if judged["r2"] <= 0.0 else ""
    return f"{errors}, R2 {judged['r2']:.2f}{worse}"
