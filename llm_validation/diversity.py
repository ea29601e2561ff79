r"""Diversity of traces beside the spread of their returns.

Heterogeneity sees a trace through its return only: a problem whose traces solve it at one step in ten different ways
has :math:`\sigma=0`. So each problem's texts are compared with each other as well. With unit vectors
:math:`u_1..u_m` of its texts the mean pairwise cosine distance is

.. math:: 1-\frac{\lVert\sum_iu_i\rVert^2-m}{m(m-1)},

unbiased for that of two independent texts (given the vectors), without m x m numbers. Vectors are TF-IDF counts of
words and signs (all texts of the run make up the weights), or sentence embeddings.

Over problems, Spearman's rank correlation of diversity with :math:`\hat\sigma_x` tells whether the two agree; noise in
both draws it towards 0. Problems far apart in the two rankings are named: diverse texts with like returns, and like
texts with spread returns.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.moments import Interval, bootstrap_mean, problem_moments
from llm_validation.traces import TraceError, Traces

__all__ = ["Disagreement", "Diversity", "diversity", "mean_distances", "sentence_embedder"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Embed = Callable[[Sequence[str]], Any]

#: Texts and characters beyond which samples are drawn: for words, and for embeddings.
MOST_TEXTS, MOST_CHARACTERS, MOST_EMBEDDED = 200_000, 10_000_000, 20_000
#: Problems that are named on either side.
NAMED = 5
#: Words, and every sign by itself: 3 + 4 is not 3 * 4.
_PATTERN = r"\w+|[^\w\s]"
LEVEL = 0.95
#: Problems up to which the correlation's interval is resampled.
_RESAMPLED, _RESAMPLES = 1000, 2000


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A problem with its diversity, sd of the return (tokens), and how far apart their ranks are, as a share of all."""

    problem: str
    diversity: float
    sigma: float
    rank_difference: float


@dataclass(frozen=True, slots=True, eq=False)
class Diversity:
    """Of the problems with two texts at least: names, diversity and sd of the return (NaN where not known), (X,).

    ``mean`` over problems; ``correlation`` with the sd; ``diverse`` texts of like returns, ``alike`` ones of spread
    returns; ``notes`` say what was left out.
    """

    how: str
    texts: int
    problems: tuple[str, ...]
    values: Floats
    sigma: Floats
    mean: Interval
    correlation: Interval
    diverse: tuple[Disagreement, ...]
    alike: tuple[Disagreement, ...]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "how": self.how,
            "texts": self.texts,
            "notes": list(self.notes),
            "mean": self.mean.as_dict(),
            "correlation": self.correlation.as_dict(),
            "diverse": [dataclasses.asdict(entry) for entry in self.diverse],
            "alike": [dataclasses.asdict(entry) for entry in self.alike],
            "per_problem": {
                "name": list(self.problems),
                "diversity": self.values.tolist(),
                "sigma": self.sigma.tolist(),
            },
        }


def diversity(traces: Traces, horizon: int, seed: int, embed: Embed | None = None) -> Diversity | None:
    """Diversity of the texts of one run; None if no problem has two texts.

    ``embed`` turns texts into vectors (n, d), as :func:`sentence_embedder` gives it. Raises :class:`TraceError` if it
    gives anything else.
    """
    if traces.text is None:
        return None
    usable = np.array([text is not None and bool(text.strip()) for text in traces.text], dtype=bool)
    rows, notes = _sampled(np.flatnonzero(usable), traces, seed, embed is not None)
    if not rows.size:
        return None
    texts = [str(text) for text in traces.text[rows]]
    vectors = _words(texts) if embed is None else _embedded(embed, texts)
    numbers, values = mean_distances(traces.problem[rows], vectors)
    if not numbers.size:
        return None
    found = problem_moments(traces.problem, traces.returns(horizon))
    sigma = np.full(numbers.size, math.nan)
    _, here, there = np.intersect1d(numbers, found.problem, return_indices=True)
    sigma[here] = np.sqrt(found.variance[there])
    names = tuple(traces.problems[i] for i in numbers)
    ranked = np.isfinite(sigma)
    diverse, alike = _disagreements(names, values, sigma, ranked)
    how = "TF-IDF of words and signs" if embed is None else "embeddings"
    top = 1.0 if embed is None else 2.0
    return Diversity(
        how,
        len(texts),
        names,
        values,
        sigma,
        bootstrap_mean(values, seed, LEVEL, 0.0, top),
        _correlation(values[ranked], sigma[ranked], seed),
        diverse,
        alike,
        notes,
    )


def _sampled(rows: Ints, traces: Traces, seed: int, embedded: bool) -> tuple[Ints, tuple[str, ...]]:
    """Rows of the problems with two texts; of very many a random few of each problem, and of random problems; notes."""
    _, x, count = np.unique(traces.problem[rows], return_inverse=True, return_counts=True)
    rows, x = rows[count[x] >= 2], x[count[x] >= 2]
    if not rows.size or traces.text is None:
        return rows, ()
    length = np.array([len(text) for text in traces.text[rows]])
    most = MOST_EMBEDDED if embedded else MOST_TEXTS
    affordable = min(most, int(MOST_CHARACTERS / max(float(length.mean()), 1.0)))
    if rows.size <= affordable:
        return rows, ()
    # In random order: the first of each problem's texts, for the problems that come first.
    rng = np.random.default_rng([seed, 0xD17E])
    order = rng.permutation(rows.size)
    order = order[np.argsort(x[order], kind="stable")]
    sizes = np.bincount(x)[np.unique(x)]
    place = np.arange(rows.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    each = 2
    while np.minimum(sizes, each + 1).sum() <= affordable:
        each += 1
    kept = order[place < each]
    if kept.size > affordable:
        problems = rng.permutation(np.unique(x))[: max(affordable // each, 1)]
        kept = kept[np.isin(x[kept], problems)]
    drawn = rows[np.sort(kept)]
    note = (
        f"{drawn.size} of {rows.size} texts compared: at most {each} of each of {np.unique(x[kept]).size} of "
        f"{sizes.size} problems, drawn with seed {seed}"
    )
    return drawn, (note,)


def _words(texts: Sequence[str]) -> Any:
    """TF-IDF vectors of unit length, (n, words), sparse."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(token_pattern=_PATTERN).fit_transform(texts)


def _embedded(embed: Embed, texts: Sequence[str]) -> Floats:
    """Vectors of unit length, (n, d)."""
    vectors = np.asarray(embed(texts), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise TraceError(f"embeddings of shape {vectors.shape}: expected one vector for each of {len(texts)} texts")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0.0).all()):
        raise TraceError(f"embeddings: {int((~(norms > 0.0)).sum())} of {len(texts)} have no direction")
    return np.asarray(vectors / norms)


def mean_distances(problem: Ints, vectors: Any) -> tuple[Ints, Floats]:
    """Numbers of the problems with two rows at least, and the mean cosine distance of their pairs.

    ``vectors`` (n, d), dense or sparse, have length 1.
    """
    from scipy.sparse import csr_array

    numbers, x, count = np.unique(problem, return_inverse=True, return_counts=True)
    sums = csr_array((np.ones(x.size), (x, np.arange(x.size))), shape=(numbers.size, x.size)) @ vectors
    square = np.asarray(sums.multiply(sums).sum(axis=1) if hasattr(sums, "multiply") else (sums**2).sum(axis=1))
    pairs = count >= 2
    numbers, count, square = numbers[pairs], count[pairs], square.reshape(-1)[pairs]
    distance = 1.0 - (square - count) / (count * (count - 1.0))
    return numbers, np.where(distance < 1e-12, 0.0, distance)


def _disagreements(
    names: Sequence[str], values: Floats, sigma: Floats, ranked: NDArray[np.bool_]
) -> tuple[tuple[Disagreement, ...], tuple[Disagreement, ...]]:
    """The problems whose ranks differ most, either way round; ties share their mean rank."""
    from scipy.stats import rankdata

    place = np.flatnonzero(ranked)
    difference = (rankdata(values[place]) - rankdata(sigma[place])) / max(place.size, 1)
    order = np.argsort(difference, kind="stable")

    def entry(i: int) -> Disagreement:
        at = int(place[i])
        return Disagreement(names[at], float(values[at]), float(sigma[at]), float(difference[i]))

    alike = tuple(entry(i) for i in order[:NAMED] if difference[i] < 0.0)
    diverse = tuple(entry(i) for i in order[::-1][:NAMED] if difference[i] > 0.0)
    return diverse, alike


def _correlation(values: Floats, sigma: Floats, seed: int) -> Interval:
    """Spearman's correlation with its interval: percentiles of resamples; of very many, Bonett and Wright's."""
    from scipy.stats import rankdata

    size = values.size
    if size < 3 or np.ptp(values) == 0.0 or np.ptp(sigma) == 0.0:
        return Interval(math.nan, -1.0, 1.0, LEVEL, "no ranks to compare")
    found = float(_of_ranks(rankdata(values)[None], rankdata(sigma)[None])[0])
    if size > _RESAMPLED:
        reach = 1.959964 * math.sqrt((1.0 + found**2 / 2.0) / (size - 3.0))
        centre = math.atanh(min(max(found, -1.0 + 1e-12), 1.0 - 1e-12))
        return Interval(found, math.tanh(centre - reach), math.tanh(centre + reach), LEVEL, "Bonett and Wright")
    drawn = np.random.default_rng([seed, 0x5BEA]).integers(0, size, size=(_RESAMPLES, size))
    resampled = _of_ranks(rankdata(values[drawn], axis=1), rankdata(sigma[drawn], axis=1))
    resampled = resampled[np.isfinite(resampled)]
    low, high = np.quantile(resampled, [0.5 - LEVEL / 2.0, 0.5 + LEVEL / 2.0])
    return Interval(found, float(low), float(high), LEVEL, "percentiles over problems, approximate")


def _of_ranks(first: Floats, second: Floats) -> Floats:
    """Correlation of each row, (x,); NaN where one does not vary."""
    a, b = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (first, second))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1)))


def sentence_embedder(model: str) -> Embed:
    """Embeddings by the sentence-transformers model of that name or folder; it reads as far as its window goes.

    Raises :class:`TraceError` with one line if the package or the model is missing.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise TraceError(f"{model}: needs the extra 'embeddings' (pip install 'verifier-gap[embeddings]')") from None
    try:
        encoder = SentenceTransformer(model)
    except (OSError, ValueError, RuntimeError, ImportError, AttributeError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TraceError(f"{model}: cannot be loaded ({reason})") from None

    def embed(texts: Sequence[str]) -> Any:
        return encoder.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)

    return embed
