"""Made-up diagnoses as plain data, for tests of the report: numbers are plausible, nothing was measured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

HOSTILE = (
    "$\\frac{1}{0$ 数 <script>alert('x')</script> & \"quoted\" \x00\u202e\ud800 https://example.org/?a=1&b=2 "
    + "x" * 120
)


def interval(estimate: float, width: float, low: float = -math.inf, high: float = math.inf) -> dict[str, Any]:
    ends = max(estimate - width, low), min(estimate + width, high)
    return {"estimate": estimate, "low": ends[0], "high": ends[1], "level": 0.95, "method": "bootstrap-t over problems"}


def run(label: str = "", H: int = 1, problems: int = 45, samples: int = 16, seed: int = 0) -> dict[str, Any]:
    """One run; H > 1 has tokens, scores of a verifier and class sizes."""
    rng = np.random.default_rng([seed, 1])
    p = np.where(rng.random(problems) < 0.3, 0.0, rng.beta(1.0, 1.0, problems))
    mu = p * (H if H == 1 else 0.7 * H)
    sigma = np.sqrt(p * (1.0 - p)) * (H if H == 1 else 0.7 * H)
    has_tokens = H > 1
    decision = _decision(H, has_tokens)
    return {
        "run": {"model": label, "run_id": "", "label": label or "all traces"},
        "H": H,
        "unit": "tokens" if has_tokens else "answers",
        "traces": problems * samples,
        "problems": problems,
        "samples": {"min": samples - 1, "median": float(samples), "max": samples},
        "findings": [
            {"name": "constant problems", "count": int((p == 0.0).sum()), "says": "answered alike", "serious": False},
            {"name": "truncated", "count": 31, "says": "traces cut off without a correct answer", "serious": True},
        ],
        "estimates": {
            "mu": interval(float(mu.mean()), 0.1 * H, 0.0, H),
            "sigma2": interval(float((sigma**2).mean()), 0.02 * H**2, 0.0, H**2 / 4),
            "sigma": interval(float(np.sqrt((sigma**2).mean())), 0.05 * H, 0.0, H / 2),
            "s": interval(float(np.sqrt((sigma**2).mean())) / H, 0.05, 0.0, 0.5),
        },
        "spread": {
            "within": float((sigma**2).mean()),
            "between": float(mu.var()),
            "constant_problems": int((p == 0.0).sum()),
            "s_quartiles": np.quantile(sigma / H, [0.25, 0.5, 0.75]).tolist(),
        },
        "per_problem": {
            "name": [f"problem {i}" for i in range(problems)],
            "samples": [samples] * problems,
            "mu": mu.tolist(),
            "sigma": sigma.tolist(),
            "s": (sigma / H).tolist(),
            "varies": (p > 0.0).tolist(),
        },
        "concentration": _concentration(problems, int((p == 0.0).sum())),
        "kappa": {"reachable": interval(0.7 * H, 0.1 * H), "kappa": [0.1, 1.0, 10.0], "gain": [1.0, 2.0, None]},
        "decomposition": {"edges": [0, H // 2, H], "share": [interval(0.4, 0.1), interval(0.6, 0.1)]}
        if has_tokens
        else None,
        "diversity": {"rank_correlation": interval(0.31, 0.2), "disagree": ["problem 3", "problem 7"], "how": "TF-IDF"},
        "censoring": None,
        "verifier": _verifier(H) if has_tokens else None,
        "curves": _curves(H, samples, float(p.mean())),
        "prediction": _prediction(H, has_tokens),
        "decision": decision,
    }


def _concentration(problems: int, constant: int) -> dict[str, Any]:
    epsilon = [0.0, 0.25, 0.5, 0.75, 1.0]
    mean = [interval(0.5 - 0.2 * e, 0.15, 0.0, 1.0 / (1.0 + e * e)) for e in epsilon]
    low = [0.08 - 0.05 * e for e in epsilon]
    return {
        "epsilon": epsilon,
        "mean": mean,
        "least": [0.5 * value for value in low],
        "lower_quantile": {"q": 0.1, "low": low},
        "constant": constant,
        "problems": problems,
    }


def _verifier(H: int) -> dict[str, Any]:
    bins = [{"score": 0.1 * i, "right": 0.08 * i + 0.05, "count": 40 + i} for i in range(10)]
    auroc = {"auroc": interval(0.81, 0.03), "auroc_within": interval(0.64, 0.05)}
    return {**auroc, "epsilon_ver": interval(0.2 * H, 0.02 * H), "bins": bins, "notes": []}


def _curves(H: int, samples: int, p: float) -> list[dict[str, Any]]:
    methods = [("pass@k", "probability", 1.0), ("majority vote", "probability", 0.6)]
    if H > 1:
        methods += [("best-of-N (score)", "probability", 0.8), ("score-weighted vote", "probability", 0.7)]
        methods += [("best-of-N (oracle)", "tokens", 1.0), ("best-of-N (score)", "tokens", 0.8)]
    rows = []
    for method, unit, gain in methods:
        top = 1.0 if unit == "probability" else 0.7 * H
        for N in (2**k for k in range(int(math.log2(samples)) + 1)):
            value = top * (p + (0.9 - p) * gain * (1.0 - 1.0 / N))
            tokens, flops = (0.3 * H * N, 2e9 * 0.3 * H * N) if H > 1 else (None, None)
            ends = interval(value, 0.08 * top, 0.0, top)
            rest = {"tokens": tokens, "flops": flops, "problems": 45, "note": ""}
            rows.append({"method": method, "N": N, "value": ends, "unit": unit, **rest})
    return rows


def _prediction(H: int, has_sizes: bool) -> dict[str, Any]:
    bands = []
    for k in range(-6, 13):
        n = max(1.0, round(1000 * 2.0**k))
        loss = min(1.0, 60.0 / math.sqrt(n)) if has_sizes else 1.0
        vf = max(0.5 * H - loss * H, 0.0), min(0.6 * H + loss * H, float(H))
        vb = (max(0.0, 0.8 * H * (1.0 - min(1.0, 8000.0 / n))) if has_sizes else 0.0), 0.85 * H
        window = {"vf_lower_in_window": 200 <= n <= 1_000_000} if has_sizes else {}
        bands.append({"n": n, "vf_low": vf[0], "vf_high": vf[1], "vb_low": vb[0], "vb_high": vb[1], **window})
    crossover = 128_000 if has_sizes else None
    assumptions = ["the expert is in a class of 22 nats"] if has_sizes else []
    return {"n": 1000, "N": 16, "assumptions": assumptions, "bands": bands, "crossover": crossover, "ceiling": H}


def _decision(H: int, has_sizes: bool) -> dict[str, Any]:
    says = {"name": "bounds", "low": -0.4 * H, "high": None, "estimate": 0.1 * H, "note": "", "says": None}
    scores = {
        "name": "scores against bounds",
        "low": 0.1 * H,
        "high": None,
        "estimate": 0.2 * H,
        "note": "",
        "says": "verify",
    }
    verdict = "verify" if has_sizes else "undecided"
    return {
        "verdict": verdict,
        "difference": None,
        "H": H,
        "evidence": [says, scores] if has_sizes else [],
        "reasons": [
            "VF would clone traces of the base itself: at equal draws it cannot beat the best VB (garbling)",
            "no scores, no class sizes, no learning curves: nothing is known of what either recipe would lose",
        ],
        "would_settle": [] if has_sizes else ["learning curves of both recipes on this task (--curves)"],
        "parts": [
            {"says": "the expert is in a class of 22 nats", "kind": "assumption"},
            {"says": "best-of-16 minus VF's side, over problems: bootstrap-t over problems", "kind": "estimate"},
            {"says": "cloning ends within 10.1 tokens of its expert at n = 1000 (vf-upper)", "kind": "theorem"},
        ],
        "n_star": 128_000 if has_sizes else None,
        "largest_log_class": None,
        "sensitivity": [
            {"H": max(1, H // 2), "verdict": "undecided", "why": "every interval holds 0"},
            {"H": H, "verdict": verdict, "why": "scores against bounds"},
        ],
    }


def document(runs: list[dict[str, Any]], title: str = "traces.parquet") -> dict[str, Any]:
    return {
        "title": title,
        "files": [title],
        "options": {"seed": 0, "level": 0.95, "files": None, "map": []},
        "versions": {"python": "3.12", "numpy": "2.3"},
        "notes": ["without tokens, rewards are 0/1 (H = 1)"],
        "runs": runs,
        "comparison": None,
    }


def plain() -> dict[str, Any]:
    """One run, H = 1."""
    return document([run()])


def tokens() -> dict[str, Any]:
    """Three runs with tokens."""
    return document([run(f"model-{i} effort=high", H=65_536 * (i + 1), seed=i) for i in range(3)])


def hostile() -> dict[str, Any]:
    """Names that would be markup, formulas or broken text."""
    bad = run(HOSTILE, H=4096)
    bad["per_problem"]["name"] = [f"{HOSTILE} {i}" for i in range(45)]
    bad["diversity"] = {
        HOSTILE: [HOSTILE] * 3,
        "disagree": [{HOSTILE: HOSTILE}],
        "nested": {HOSTILE: {HOSTILE: HOSTILE}},
    }
    bad["findings"].append({"name": HOSTILE, "count": 1, "says": HOSTILE, "serious": True})
    bad["decision"]["reasons"] = bad["decision"]["would_settle"] = [HOSTILE]
    bad["decision"]["parts"] = [{"kind": HOSTILE, "says": HOSTILE}]
    bad["decision"]["evidence"] = [{"name": HOSTILE, "low": None, "high": None, "estimate": None, "says": HOSTILE}]
    bad["decision"]["sensitivity"] = [{"H": 1, "verdict": HOSTILE, "why": HOSTILE}]
    bad["curves"] = [
        {**point, "method": HOSTILE, "note": HOSTILE} for point in bad["curves"] if point["unit"] == "tokens"
    ]
    bad["unit"] = HOSTILE
    return {
        **document([bad, bad], HOSTILE),
        "notes": [HOSTILE],
        "options": {HOSTILE: HOSTILE},
        "comparison": {"a": HOSTILE},
    }


def many(count: int = 126) -> dict[str, Any]:
    """As many runs as the OTIS-AIME file holds."""
    return document([run(f"vendor/model-{i:03d} high", H=1 if i % 3 else 128_000, seed=i) for i in range(count)])


def bare() -> dict[str, Any]:
    """Runs of which next to nothing is known."""
    unknown = {"s_quartiles": [None] * 3, "constant_problems": None}
    keys = ("findings", "estimates", "spread", "per_problem", "concentration", "curves", "prediction", "decision")
    return {
        "runs": [
            {},
            dict.fromkeys(keys),
            {"run": {"model": "m", "run_id": "r"}, "H": "x", "curves": [None, {}], "spread": unknown},
        ]
    }


CASES = {"plain": plain, "tokens": tokens, "hostile": hostile, "bare": bare, "many": many}
