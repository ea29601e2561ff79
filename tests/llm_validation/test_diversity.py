"""Diversity of texts: the mean over pairs without pairs, its correlation with sigma, and where the two disagree."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_distances

from llm_validation import diversity as module
from llm_validation.diversity import diversity, mean_distances, sentence_embedder
from llm_validation.reading import read_traces
from llm_validation.traces import Group, TraceError, Traces

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def made(problem: Any, correct: Any, text: Any) -> Traces:
    """Traces of one run with 0/1 returns."""
    problem = np.asarray(problem, dtype=np.int64)
    return Traces(
        problem=problem,
        problems=tuple(f"q{i}" for i in range(int(problem.max(initial=0)) + 1)),
        group=np.zeros(problem.size, dtype=np.int64),
        groups=(Group("m", "r"),),
        correct=np.asarray(correct, dtype=np.float64),
        tokens=np.full(problem.size, math.nan),
        truncated=np.zeros(problem.size, dtype=bool),
        score=np.full(problem.size, math.nan),
        text=None if text is None else np.array(text, dtype=object),
    )


def sentences(rng: np.random.Generator, spread: list[int], m: int) -> list[str]:
    """m texts a problem, of words drawn from as many as ``spread`` says."""
    return [" ".join(f"w{i}" for i in rng.integers(0, words, 12)) for words in spread for _ in range(m)]


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(2, 6), st.just(3)), elements=st.floats(-1.0, 1.0)))
def test_the_mean_over_pairs_needs_no_pairs(vectors: np.ndarray) -> None:
    """Against all pairs, whatever else is there; a problem with one text has none."""
    norms = np.linalg.norm(vectors, axis=1)
    if (norms < 1e-3).any():
        return
    unit = vectors / norms[:, None]
    m = len(unit)
    problem = np.append(np.full(m, 4), [2, 9, 9])
    numbers, found = mean_distances(problem, np.concatenate([unit, np.eye(3)]))
    pairs = [1.0 - unit[i] @ unit[j] for i in range(m) for j in range(i)]
    np.testing.assert_array_equal(numbers, [4, 9])
    np.testing.assert_allclose(found, [np.mean(pairs), 1.0], atol=1e-9)


def test_diversity_is_that_of_tf_idf_vectors() -> None:
    """Against scikit-learn's own vectors and distances; signs count, empty texts and unknown ones do not."""
    texts = ["3 + 4 = 7", "3 * 4 = 12", "7 = 4 + 3", "so it is", "so it is", "", None, "is it so ?"]
    problem = [0, 0, 0, 1, 1, 1, 0, 1]
    found = diversity(made(problem, [1] * 8, texts), 1, 0)
    assert found is not None
    used = [i for i in range(8) if texts[i]]
    distances = cosine_distances(TfidfVectorizer(token_pattern=r"\w+|[^\w\s]").fit_transform([texts[i] for i in used]))
    for x in (0, 1):
        mine = [k for k, i in enumerate(used) if problem[i] == x]
        expected = np.mean([distances[a, b] for a in mine for b in mine if a < b])
        assert found.values[x] == pytest.approx(expected, abs=1e-12)
    assert distances[0, 1] > 0.1  # + and * differ
    assert found.texts == 6
    assert found.problems == ("q0", "q1")


def test_word_for_word_alike_is_no_diversity() -> None:
    """Equal texts have distance 0, texts without a common word 1."""
    found = diversity(made([0, 0, 1, 1], [1, 0, 1, 0], ["a b c", "a b c", "d e", "f g"]), 1, 0)
    assert found is not None
    np.testing.assert_allclose(found.values, [0.0, 1.0], atol=1e-12)


def test_the_correlation_is_spearmans_and_covered() -> None:
    """Problems whose texts and answers spread together: the interval is above 0; around the value of scipy."""
    rng = np.random.default_rng(0)
    spread = rng.integers(2, 60, 60)
    correct = rng.random((60, 12)) < (0.5 * spread / 60)[:, None]
    traces = made(np.repeat(np.arange(60), 12), correct.reshape(-1), sentences(rng, spread.tolist(), 12))
    found = diversity(traces, 1, 0)
    assert found is not None
    assert found.correlation.estimate == pytest.approx(spearmanr(found.values, found.sigma).statistic)
    assert 0.0 < found.correlation.low < found.correlation.estimate < found.correlation.high
    shuffled = made(traces.problem, rng.permutation(correct.reshape(-1)), traces.text)
    none = diversity(shuffled, 1, 0)
    assert none is not None
    assert none.correlation.low < 0.0 < none.correlation.high


def test_both_intervals_of_the_correlation_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resampled, and by Bonett and Wright's standard error: ends within 0.05 for 300 normal pairs."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=300)
    y = x + rng.normal(size=300)
    first = module._correlation(x, y, 0)
    monkeypatch.setattr(module, "_RESAMPLED", 100)
    second = module._correlation(x, y, 0)
    assert first.method != second.method
    assert first.low == pytest.approx(second.low, abs=0.05)
    assert first.high == pytest.approx(second.high, abs=0.05)


def test_problems_where_the_two_disagree_are_named() -> None:
    """Ten ways to be right, and one text that is right half of the time, among problems where both agree."""
    rng = np.random.default_rng(1)
    spread, m = [100, 2, *range(5, 25)], 10
    texts = sentences(rng, spread, m)
    texts[m : 2 * m] = ["always the same words"] * m
    correct = np.array([[1.0] * m, [1.0, 0.0] * (m // 2), *[[1.0] + [0.0] * (m - 1)] * 20]).reshape(-1)
    found = diversity(made(np.repeat(np.arange(22), m), correct, texts), 1, 0)
    assert found is not None
    assert found.diverse[0].problem == "q0"
    assert found.alike[0].problem == "q1"
    assert found.diverse[0].rank_difference == pytest.approx((22 - 1) / 22)
    assert found.alike[0].rank_difference == pytest.approx((1 - 22) / 22)
    assert found.diverse[0].sigma == 0.0
    assert len(found.diverse) <= 5
    json.dumps(found.as_dict())


def test_ranks_need_problems_that_differ() -> None:
    """Two problems, or none that varies: no correlation, and nothing named but what differs."""
    found = diversity(made([0, 0, 1, 1], [1, 1, 0, 0], ["a", "a", "b", "b"]), 1, 0)
    assert found is not None
    assert math.isnan(found.correlation.estimate)
    assert (found.correlation.low, found.correlation.high) == (-1.0, 1.0)
    assert (found.diverse, found.alike) == ((), ())


def test_without_texts_there_is_none() -> None:
    """No column of texts, one text a problem, or blank ones: None."""
    assert diversity(made([0, 0], [1, 0], None), 1, 0) is None
    assert diversity(made([0, 1], [1, 0], ["a", "b"]), 1, 0) is None
    assert diversity(made([0, 0], [1, 0], [" ", None]), 1, 0) is None


@pytest.mark.parametrize("most", [40, 130])
def test_too_many_texts_are_sampled_and_it_is_said(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """At most as many as allowed, two of a problem at least; the mean stays where it was; seeded."""
    rng = np.random.default_rng(3)
    traces = made(np.repeat(np.arange(30), 20), rng.integers(0, 2, 600), sentences(rng, [8] * 30, 20))
    whole = diversity(traces, 1, 0)
    monkeypatch.setattr(module, "MOST_TEXTS", most)
    part = diversity(traces, 1, 0)
    assert whole is not None
    assert part is not None
    assert whole.notes == ()
    assert 0.6 * most < part.texts <= most
    assert f"{part.texts} of 600 texts" in part.notes[0]
    assert len(part.problems) == (20 if most == 40 else 30)
    assert part.mean.estimate == pytest.approx(whole.mean.estimate, abs=0.1)
    again = diversity(traces, 1, 0)
    assert again is not None
    np.testing.assert_array_equal(again.values, part.values)
    other = diversity(traces, 1, 1)
    assert other is not None
    assert abs(other.values - part.values)[:10].max() > 0.01
    monkeypatch.setattr(module, "MOST_TEXTS", 60)  # two of every problem: which two, is drawn
    pairs = [found.values for seed in (0, 1) if (found := diversity(traces, 1, seed)) is not None]
    assert abs(pairs[0] - pairs[1]).max() > 0.01


def test_long_texts_are_sampled_by_their_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the characters: about a tenth of the texts."""
    rng = np.random.default_rng(4)
    texts = sentences(rng, [50] * 4, 40)
    monkeypatch.setattr(module, "MOST_CHARACTERS", sum(map(len, texts)) // 10)
    found = diversity(made(np.repeat(np.arange(4), 40), [1, 0] * 80, texts), 1, 0)
    assert found is not None
    assert 12 <= found.texts <= 16


def test_embeddings_of_the_wrong_shape_are_one_line() -> None:
    """Too few vectors, no vectors, or ones without direction."""
    traces = made([0, 0, 1, 1], [1, 0, 1, 0], ["a", "b", "c", "d"])
    for vectors in (np.ones((3, 2)), np.ones(4), np.zeros((4, 2)), np.full((4, 2), math.nan)):
        with pytest.raises(TraceError, match="embeddings"):
            diversity(traces, 1, 0, lambda texts, vectors=vectors: vectors)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT of two random layers over a vocabulary of letters, saved: the mean of its tokens is the embedding."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789"]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    words = folder / "words.txt"
    words.write_text("\n".join(vocabulary))
    transformers.BertTokenizerFast(vocab_file=str(words), model_max_length=32).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


def test_sentence_embeddings_are_compared(tiny_model: str) -> None:
    """Distances are those of the model's own vectors; equal texts have none."""
    pytest.importorskip("sentence_transformers")
    embed = sentence_embedder(tiny_model)
    texts = ["one two", "one two", "three four five", "zz"]
    found = diversity(made([0, 0, 1, 1], [1, 0, 1, 0], texts), 1, 0, embed)
    assert found is not None
    assert found.how == "embeddings"
    vectors = np.asarray(embed(texts), dtype=float)
    assert vectors.shape == (4, 16)
    expected = cosine_distances(vectors[2:])[0, 1]
    np.testing.assert_allclose(found.values, [0.0, expected], atol=1e-6)
    assert expected > 1e-3


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is none, an empty one, and the package missing."""
    pytest.importorskip("sentence_transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for place in (tmp_path / "absent", tmp_path):
        with pytest.raises(TraceError) as caught:
            sentence_embedder(str(place))
        assert "\n" not in str(caught.value)
        assert str(place) in str(caught.value)
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(TraceError, match=r"verifier-gap\[embeddings\]"):
        sentence_embedder("any")


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent")
def test_diversity_of_puzzles_is_not_their_spread() -> None:
    """Game of 24, 100 samples each: the correlation of diversity with sigma is within 0.3 of 0."""
    traces = read_traces([DATA / "game24_gpt4_cot_100x100.jsonl.gz"])
    found = diversity(traces, traces.longest, 0)
    assert found is not None
    assert -0.3 < found.correlation.low < found.correlation.high < 0.3
    assert len(found.diverse) == len(found.alike) == 5
