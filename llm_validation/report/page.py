"""The page of a diagnosis: an overview of all runs, then each run from its decision to what that rests on.

One document: style, figures and text are in it, nothing is fetched, no script is run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources

from llm_validation.report.access import Diagnosis, Run
from llm_validation.report.figures import FIGURES
from llm_validation.report.markup import (
    UNKNOWN,
    Html,
    bullets,
    described,
    join,
    named,
    shown,
    shown_interval,
    table,
    tag,
)
from llm_validation.report.svg import Shared

__all__ = ["page", "run_section"]

#: Problems of largest spread that a run in full lists.
_PROBLEMS = 20

_VERDICTS = {
    "verify": "Verify: train a verifier on labelled traces of this model and search with it.",
    "clone": "Clone: fine-tune on the expert's traces.",
    "undecided": "Undecided: what is known does not tell which of the two is better.",
    UNKNOWN: "The decision is not known.",
}
_KINDS = {
    "theorem": "proved",
    "estimate": "from the samples, with its interval",
    "assumption": "not checked by the data",
}
_CAPTIONS = {
    "sigma": "Each problem counts once. A problem whose samples all have one return shows no spread: its s is not "
    "known to be 0. By definition s is at most ½; an estimate from few samples may be above.",
    "concentration": "Probability that a sample is ε standard deviations above the mean of its problem. Bars: interval "
    "of the mean. Both lower curves are confidence bounds, not estimates; problems without spread are not in them.",
    "curves": "What the draw that is kept of N is worth, on average over problems. Bars: intervals over problems. A "
    "return is the tokens left once solved.",
    "prediction": "Each band holds at each n under the assumptions that the decision names. The decision compares both "
    "recipes problem by problem, so that it can be made where the bands still overlap.",
}


def _badge(verdict: str) -> Html:
    return tag("span", verdict, class_=f"verdict {_class(verdict)}")


def _class(verdict: str) -> str:
    return verdict if verdict in _VERDICTS and verdict != UNKNOWN else "undecided"


def _count(value: float | None, one: str, many: str = "") -> str:
    return f"{shown(value)} {one if value == 1 else many or one + 's'}"


def _budget(run: Run) -> str:
    return shown(run.horizon, "tokens" if run.unit == "tokens" and run.horizon is not None else "")


def _samples(run: Run) -> str:
    low, median, high = run.samples
    if low is None or high is None:
        return UNKNOWN
    return shown(low) if low == high else f"{shown(low)} to {shown(high)}, median {shown(median)}"


def _quartiles(run: Run) -> str:
    known = any(q is not None for q in run.s_quartiles)
    return ", ".join(map(shown, run.s_quartiles)) if known else UNKNOWN


def _overview(runs: Sequence[Run]) -> Html:
    head = ["run", "decision", "H", "problems", "mean return μ", "s = σ/H", "quartiles of s", "problems without spread"]
    epsilon = _margin(runs)
    at = "ε" if epsilon is None else shown(epsilon)
    head += [f"mean c({at})", f"every c({at}) ≥", "serious findings"]
    rows = []
    for run in runs:
        mean, least = _at_margin(run, epsilon)
        serious = sum(bool(finding.get("serious")) for finding in run.findings)
        rows.append(
            [
                tag("a", named(run.label), href=f"#run-{run.place}"),
                _badge(run.verdict),
                _budget(run),
                shown(run.count("problems")),
                shown_interval(run.estimate("mu")),
                shown_interval(run.estimate("s")),
                _quartiles(run),
                shown(run.spread("constant_problems")),
                mean,
                least,
                serious or "none",
            ]
        )
    verdicts = Counter(run.verdict for run in runs)
    said = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    return join(
        [
            tag("h2", "All runs", id="runs"),
            tag("p", f"{_count(len(runs), 'run')}: {said}." if runs else "There are no runs."),
            table(head, rows, "Estimates with their intervals [low, high]", "overview") if runs else Html(),
        ]
    )


def _margin(runs: Sequence[Run]) -> float | None:
    """The margin epsilon at which the overview compares runs: the middle one of the first that has any."""
    return next((found.epsilon[len(found.epsilon) // 2] for run in runs if (found := run.concentration)), None)


def _at_margin(run: Run, epsilon: float | None) -> tuple[str, str]:
    """The mean of c at that margin, and the bound on every problem's."""
    found = run.concentration
    if found is None or epsilon not in found.epsilon:
        return UNKNOWN, UNKNOWN
    i = found.epsilon.index(epsilon)
    return shown_interval(found.mean[i]), shown(found.least[i])


def _decision(run: Run) -> Html:
    says = tag("p", tag("strong", _VERDICTS[run.verdict]))
    reasons = run.words("reasons")
    wanted = run.words("would_settle")
    inside = [says, tag("p", "Because:") if reasons else Html(), bullets(reasons)]
    if wanted:
        inside += [tag("p", "What would settle it:"), bullets(wanted)]
    parts = [tag("h3", "Decision"), tag("div", *inside, class_=f"decision {_class(run.verdict)}")]
    if run.evidence:
        rows = [[name, shown_interval(e), says or "does not decide", note] for name, e, says, note in run.evidence]
        caption = f"Evidence on J(VB) − J(VF) [{run.unit}]; ? is not known or not bounded"
        parts.append(table(["evidence", "interval", "says", ""], rows, caption, "prose"))
    reach = run.reach_of_bounds
    if reach:
        parts.append(bullets(reach))
    return join([*parts, _rests_on(run), _sensitivity(run)])


def _rests_on(run: Run) -> Html:
    if not run.parts:
        return Html()
    order = list(_KINDS)
    rows = sorted(run.parts, key=lambda part: order.index(part[0]) if part[0] in order else len(order))
    kinds = "; ".join(f"{kind}: {meaning}" for kind, meaning in _KINDS.items())
    return table(["kind", "what it says"], rows, f"What the decision rests on ({kinds})", "prose")


def _sensitivity(run: Run) -> Html:
    if not run.sensitivity:
        return Html()
    rows = [[shown(H), _badge(verdict or UNKNOWN), why] for H, verdict, why in run.sensitivity]
    return table(["H", "decision", "why"], rows, "Sensitivity of the decision to the budget H", "prose")


def _findings(run: Run) -> Html:
    rows = [
        [
            tag("span", name, " (serious)", class_="serious") if finding.get("serious") else name,
            described(finding.get("count")),
            finding.get("says") or "",
        ]
        for finding in run.findings
        for name in [finding.get("name") or UNKNOWN]
    ]
    found = table(["finding", "count", "what it does"], rows, "Serious ones can turn the decision", "prose")
    return join([tag("h3", "Quality of the data"), found if rows else tag("p", "No check found anything.")])


def _estimates(run: Run) -> Html:
    unit = run.unit
    names = {"mu": ("mean return μ", unit), "sigma2": ("variance σ²", f"{unit}²"), "sigma": ("heterogeneity σ", unit)}
    rows = []
    for key, (words, of) in {**names, "s": ("relative heterogeneity s = σ/H", "of H")}.items():
        found = run.estimate(key)
        level = UNKNOWN if found.level is None else shown(found.level)
        rows.append([words, shown_interval(found), of, level, found.method])
    rows.append(["variance of μ between problems, without noise", shown(run.spread("between")), f"{unit}²", "", ""])
    rows.append(["quartiles of s over problems", _quartiles(run), "of H", "", ""])
    head = ["over problems", "estimate [low, high]", "unit", "level", "method"]
    return join([tag("h3", "Estimates"), table(head, rows, "Each problem counts once")])


def _concentration(run: Run) -> Html:
    found = run.concentration
    if found is None:
        return Html()
    q = "lower quantile" if found.q is None else f"{shown(100 * found.q)}% of problems may be below"
    rows = [
        [shown(e), shown_interval(mean), shown(low), shown(least), shown(1.0 / (1.0 + e * e))]
        for e, mean, low, least in zip(found.epsilon, found.mean, found.quantile, found.least, strict=True)
    ]
    caption = f"c(ε) over {shown(found.problems)} problems, of which {shown(found.constant)} show no spread"
    return table(["ε", "mean c(ε)", q, "every problem at least", "Cantelli, at most"], rows, caption)


def _curves(run: Run) -> Html:
    points = run.curves
    if not points:
        return Html()
    has_flops = any(p.flops is not None for p in points)
    head = ["method", "N", "value", "unit", "tokens", *(["FLOPs"] if has_flops else []), "problems", "note"]
    rows = [
        [
            p.method,
            shown(p.N),
            shown_interval(p.value),
            p.unit,
            shown(p.tokens),
            *([shown(p.flops)] if has_flops else []),
            shown(p.problems),
            p.note,
        ]
        for p in points
    ]
    return table(head, rows, "Search at test time")


def _prediction(run: Run) -> Html:
    if not run.bands:
        return Html()
    rows = [[shown(b.n), *(f"[{shown(low)}, {shown(high)}]" for low, high in (b.vf, b.vb))] for b in run.bands]
    settings = {k: v for k, v in run.prediction.items() if k != "bands"}
    return join(
        [described(settings), table(["n", "J(VF)", "J(VB)"], rows, f"Bands of both values [{run.unit}] against n")]
    )


def _problems(run: Run) -> Html:
    rows = sorted(run.problems, key=lambda row: -(row[3] if row[3] is not None else -1.0))
    if not rows:
        return Html()
    cells = [
        [named(name), shown(samples), shown(mu), shown(sigma), shown(s), described(varies)]
        for name, samples, mu, sigma, s, varies in rows[:_PROBLEMS]
    ]
    caption = (
        f"The {len(cells)} of {len(rows)} problems with the largest spread" if len(rows) > len(cells) else "Problems"
    )
    return table(["problem", "samples", "mean", "σ", "s", "samples vary"], cells, caption)


def _more(heading: str, *contents: Html) -> Html:
    inside = [part for part in contents if part]
    return tag("details", tag("summary", heading), *inside) if inside else Html()


def _figures(run: Run, figures: Mapping[str, Html | str]) -> Html:
    drawn, missing = [], []
    for name, (heading, _) in FIGURES.items():
        found = figures.get(name, "it was not drawn")
        if isinstance(found, Html):
            caption = tag("figcaption", tag("strong", f"{heading}."), " ", _CAPTIONS[name])
            drawn.append(tag("figure", found, caption))
        else:
            missing.append(f"{heading}: no figure, {found}.")
    figures_of_run = tag("div", *drawn, class_="figures") if drawn else Html()
    return join([tag("h3", "Figures"), figures_of_run, bullets(missing, "lead")])


def _extras(run: Run) -> Html:
    known = [(heading, value) for heading, value in run.extras if value is not None]
    missing = [heading for heading, value in run.extras if value is None]
    blocks = [part for heading, value in known for part in (tag("h3", heading), tag("div", described(value)))]
    absent = (
        tag("p", f"Not known from these traces: {'; '.join(missing).lower()}.", class_="lead") if missing else Html()
    )
    return join([*blocks, absent])


def run_section(run: Run, figures: Mapping[str, Html | str], is_full: bool, is_open: bool) -> Html:
    """One run. ``figures``: markup of each, or why there is none; ``is_full``: with its problems."""
    size = f"H = {_budget(run)}; {_count(run.count('traces'), 'trace')} of {_count(run.count('problems'), 'problem')}"
    contents = [
        tag("p", f"{size}; known returns of a problem: {_samples(run)}.", class_="lead"),
        _decision(run),
        _findings(run),
        _estimates(run),
        _figures(run, figures),
        _concentration(run),
        _more("Numbers of the curves and of the prediction", _curves(run), _prediction(run)),
        _more("Problems", _problems(run)) if is_full else Html(),
        _extras(run),
        tag("p", tag("a", "all runs", href="#runs")),
    ]
    heading = tag("summary", tag("h2", named(run.label)), " ", _badge(run.verdict))
    opened = "" if is_open else None
    return tag("details", heading, *contents, class_="run", id=f"run-{run.place}", open=opened)


def _provenance(found: Diagnosis) -> Html:
    blocks = [tag("h2", "Provenance")]
    for key, value in found.provenance.items():
        blocks += [tag("h3", key.capitalize()), tag("div", described(value))]
    return join(blocks)


def page(found: Diagnosis, sections: Sequence[Html], shared: Shared, remarks: Sequence[str]) -> Html:
    """The whole document; ``shared``: of its figures; ``remarks``: what the report leaves out."""
    css = Html(resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8"))
    title = f"Diagnosis of {found.title}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Html(f"{css}{shared.css()}")),
    )
    question = (
        "Should this model be cloned (VF: fine-tune on an expert's traces) or verified (VB: learn a verifier and "
        "search with it)? A return R is the tokens left of the budget H once a trace has solved its problem (with "
        "H = 1: 1 if it is right); σ is the standard deviation of R within a problem, and c(ε) the probability of a "
        "return ε standard deviations above the mean."
    )
    comparison = found.comparison
    body = [
        tag("h1", named(title)),
        tag("p", question, class_="lead"),
        bullets([*found.notes, *remarks]),
        _overview(found.runs),
        *sections,
        join([tag("h2", "Comparison"), tag("div", described(comparison))]) if comparison is not None else Html(),
        _provenance(found),
    ]
    return Html("<!DOCTYPE html>\n" + tag("html", head, "\n", tag("body", join(body, "\n")), "\n", lang="en") + "\n")
