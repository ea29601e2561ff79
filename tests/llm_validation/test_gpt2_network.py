"""GPT-2 on words of the planted task: probabilities, draws, checkpoints, networks that were trained before."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from llm_validation.gpt2_planted.network import (
    BATCH,
    NetworkError,
    load,
    load_verifier,
    log_probabilities,
    new_network,
    new_verifier,
    sample,
    scores,
    sequences,
    tokenizer,
)
from llm_validation.gpt2_planted.recipe import NetworkRecipe
from llm_validation.staged.checkpoints import CheckpointError, digest_of, save
from llm_validation.staged.keys import words_of

Ints = NDArray[np.int64]

STANDARD_ERRORS = 5.0
V, ELL, H = 4, 2, 6
SMALL = NetworkRecipe(width=16, layers=2, heads=2)
#: A vocabulary in which the text " v" is token 20 - v; 2 ends a text, and token 0 is a lone blank.
TOKENS = 24
ENDS = 2


def network(seed: int = 0) -> Any:
    """A network of sharp opinions, whose favourite by far is the padding token."""
    model = new_network(SMALL, V, ELL + H, seed)
    with torch.no_grad():
        model.transformer.wte.weight.mul_(6.0)
        model.transformer.ln_f.bias.fill_(1.0)
        model.transformer.wte.weight[V] = 1.0
    return model.eval()


@pytest.fixture(scope="module")
def model() -> Any:
    return network()


@pytest.fixture
def checkpoint(model: Any, tmp_path: Path) -> tuple[Path, str]:
    """A checkpoint and its digest."""
    path = tmp_path / "kept"
    return path, save(model, path)


def all_words(length: int) -> Ints:
    """Every word of the task's tokens, (V^length, length)."""
    return np.array(list(itertools.product(range(V), repeat=length)))


def prompts(count: int) -> Ints:
    """The first of all prompts, again and again."""
    return np.resize(all_words(ELL), (count, ELL))


def logits(model: Any, ids: Ints) -> Any:
    with torch.inference_mode():
        return model(input_ids=torch.from_numpy(ids)).logits


def weights(model: Any) -> dict[str, Any]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def one_line(error: pytest.ExceptionInfo[Any]) -> str:
    text = str(error.value)
    assert text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("seen", range(H))
def test_next_tokens_have_probability_one(model: Any, seen: int) -> None:
    """After a prompt and ``seen`` tokens the probabilities of the V next ones add up to 1, padding having none."""
    begin = all_words(seen)[:: max(1, V**seen // 4)]
    tokens = np.concatenate([np.repeat(begin, V, axis=0), np.tile(np.arange(V), len(begin))[:, None]], axis=1)
    for word in ([0, 1], [3, 3]):
        found = log_probabilities(model, np.tile(word, (len(tokens), 1)), tokens)
        np.testing.assert_allclose(np.exp(found[:, -1]).reshape(-1, V).sum(axis=1), 1.0, rtol=1e-12)


def test_traces_have_probability_one(model: Any) -> None:
    """exp of the summed log-probabilities adds up to 1 over all V^4 traces, in more than one batch or in one."""
    tokens = all_words(5)
    assert len(tokens) > BATCH
    found = log_probabilities(model, np.tile([1, 2], (len(tokens), 1)), tokens)
    assert math.isclose(np.exp(found.sum(axis=1)).sum(), 1.0, rel_tol=1e-5)  # float32 networks, other batches


def test_log_probabilities_are_the_softmax_of_the_logits(model: Any) -> None:
    """Token h + 1 is scored by the logits after the prompt and h tokens, over the task's tokens."""
    tokens = all_words(3)[::5]
    words = prompts(len(tokens))
    for h in range(3):
        ids = np.concatenate([words, tokens[:, :h]], axis=1)
        last = logits(model, ids)[:, -1, :V].double().numpy()
        exact = last - np.log(np.exp(last).sum(axis=1, keepdims=True))
        taken = np.take_along_axis(exact, tokens[:, h : h + 1], axis=1)[:, 0]
        np.testing.assert_allclose(log_probabilities(model, words, tokens)[:, h], taken, atol=1e-5)


def test_draws_follow_the_log_probabilities(model: Any) -> None:
    """Each of the 64 traces of 3 tokens occurs as often as exp(log-probability) says, 5 standard errors of 20000."""
    draws, listed = 20_000, all_words(3)
    tokens = sample(model, np.tile([0, 1], (draws, 1)), 3, words_of("law"))
    exact = np.exp(log_probabilities(model, np.tile([0, 1], (64, 1)), listed).sum(axis=1))
    assert exact.max() > 3.0 / 64  # the law is not the uniform one
    seen = np.bincount(tokens @ V ** np.arange(2, -1, -1), minlength=64) / draws
    error = np.sqrt(exact * (1.0 - exact) / draws)
    assert (abs(seen - exact) <= STANDARD_ERRORS * error).all()


def test_padding_is_never_drawn(model: Any) -> None:
    """A network that holds padding for likelier than all else together draws none."""
    ids = prompts(1)
    chance = torch.softmax(logits(model, ids)[:, -1], dim=-1)[0]
    assert chance[V] > 0.9
    assert sample(model, prompts(300), H, words_of("padding")).max() < V


def test_one_key_draws_one_set_of_tokens(model: Any) -> None:
    """The same key draws the same tokens, another key others."""
    words = prompts(50)
    first, same, other = (sample(model, words, H, words_of(key)) for key in ("a", "a", "b"))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_a_trace_depends_on_network_prompt_and_key_only(model: Any) -> None:
    """Rows appended to a batch change no trace of those before them."""
    whole = sample(model, prompts(60), H, words_of("a"))
    np.testing.assert_array_equal(sample(model, prompts(20), H, words_of("a")), whole[:20])


def test_no_prompts_give_no_traces(model: Any) -> None:
    """Zero rows in, zero rows out."""
    none = np.zeros((0, ELL), dtype=np.int64)
    assert sample(model, none, H, words_of("none")).shape == (0, H)
    assert log_probabilities(model, none, np.zeros((0, H), dtype=np.int64)).shape == (0, H)


def test_the_seed_decides_the_weights() -> None:
    """One seed gives one network, another seed another."""
    first, same, other = (weights(new_network(SMALL, V, ELL + H, seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["transformer.wte.weight"], other["transformer.wte.weight"])


def test_positions_begin_as_sinusoids() -> None:
    """Products of two position embeddings depend on their distance only, and are largest at distance 0."""
    place = new_network(SMALL, V, 9, 0).transformer.wpe.weight.detach().double().numpy()
    products = place @ place.T
    by_distance = [np.diagonal(products, d) for d in range(9)]
    for values in by_distance:
        np.testing.assert_allclose(values, values[0], atol=1e-6)
    assert by_distance[0][0] > max(values[0] for values in by_distance[1:])
    normal = new_network(NetworkRecipe(width=16, layers=2, heads=2, positions="normal"), V, 9, 0)
    assert not np.allclose(normal.transformer.wpe.weight.detach().numpy(), place)


def test_training_mode_drops_nothing() -> None:
    """A network of ``scratch`` is the same function in training and evaluation: no dropout."""
    model = new_network(SMALL, V, ELL + H, 3)
    ids = prompts(5)
    assert torch.equal(logits(model.train(), ids), logits(model.eval(), ids))


def test_a_checkpoint_keeps_the_logits(model: Any, checkpoint: tuple[Path, str]) -> None:
    """A network that was saved and loaded gives the same logits, bit by bit."""
    again = load(*checkpoint)
    ids = np.concatenate([prompts(16), all_words(2)], axis=1)
    assert torch.equal(logits(again, ids), logits(model, ids))


def test_the_digest_is_that_of_the_files(model: Any, checkpoint: tuple[Path, str], tmp_path: Path) -> None:
    """Saving the same network twice gives one digest, another network another."""
    path, digest = checkpoint
    assert digest_of(path) == digest == save(model, tmp_path / "again")
    assert save(network(1), tmp_path / "other") != digest


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("place", [0.2, 0.9])
def test_one_changed_byte_is_found(checkpoint: tuple[Path, str], name: str, place: float) -> None:
    """A checkpoint of which one byte is another is refused in one line that says what to do."""
    path, digest = checkpoint
    content = bytearray((path / name).read_bytes())
    content[int(place * len(content))] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load(path, digest)
    text = one_line(caught)
    assert text.startswith(f"{path}: corrupt checkpoint")
    assert "--resume" in text


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5])
def test_a_cut_off_checkpoint_is_refused(checkpoint: tuple[Path, str], share: float) -> None:
    """Weights that end too soon are refused in one line, even under a digest that is right for them."""
    path, digest = checkpoint
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    for claimed in (digest, digest_of(path)):
        with pytest.raises(CheckpointError) as caught:
            load(path, claimed)
        assert one_line(caught).startswith(f"{path}: corrupt checkpoint")


def test_a_checkpoint_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A missing directory, and one without weights, are refused in one line that names it."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    for name in ("missing", "empty"):
        with pytest.raises(CheckpointError) as caught:
            load(tmp_path / name, "0" * 32)
        assert one_line(caught).startswith(f"{tmp_path / name}: no checkpoint there")


def test_a_save_that_fails_leaves_what_was_there(
    model: Any, checkpoint: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When writing breaks off the former checkpoint is whole, and nothing else is left."""
    path, digest = checkpoint

    def half(directory: Path) -> None:
        directory.mkdir()
        (directory / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model, "save_pretrained", half)
    with pytest.raises(OSError, match="No space left"):
        save(model, path)
    assert digest_of(path) == digest
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_verifier_begins_with_the_transformer_of_the_base(model: Any) -> None:
    """All weights of the transformer are the base's, the head is fresh and scalar, and the base is left alone."""
    before = weights(model)
    verifier = new_verifier(model, 0)
    kept = verifier.transformer.state_dict()
    for name, value in model.transformer.state_dict().items():
        assert torch.equal(kept[name], value), name
    head = [value.shape for name, value in verifier.state_dict().items() if not name.startswith("transformer.")]
    assert head == [(1, SMALL.width), (1,)]
    with torch.no_grad():
        for parameter in verifier.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_scores_are_probabilities_of_what_was_seen(model: Any) -> None:
    """The score at token h, in (0, 1), depends on the prompt and the first h tokens, and on each of them."""
    verifier = new_verifier(model, 0)
    tokens = np.zeros((1, H), dtype=np.int64)
    found = scores(verifier, prompts(1), tokens)
    assert found.shape == (1, H)
    assert ((found > 0.0) & (found < 1.0)).all()
    for h in range(H):
        other = tokens.copy()
        other[0, h] = 1
        moved = scores(verifier, prompts(1), other)
        np.testing.assert_allclose(moved[0, :h], found[0, :h], atol=1e-6)
        assert abs(moved[0, h] - found[0, h]) > 1e-5
    assert abs(scores(verifier, prompts(2)[1:], tokens) - found).min() > 1e-6


def test_a_verifier_checkpoint_keeps_the_scores(model: Any, tmp_path: Path) -> None:
    """A verifier that was saved and loaded gives the same scores, bit by bit."""
    verifier = new_verifier(model, 5)
    path = tmp_path / "verifier"
    again = load_verifier(path, save(verifier, path))
    tokens = all_words(3)
    np.testing.assert_array_equal(
        scores(again, prompts(len(tokens)), tokens), scores(verifier, prompts(len(tokens)), tokens)
    )


def test_the_seed_decides_the_head(model: Any) -> None:
    """One seed gives one verifier, another seed another."""
    first, same, other = (scores(new_verifier(model, seed), prompts(2), all_words(1)[:2]) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).all()


def test_words_of_the_tokenizer_are_tokens_of_the_task(tmp_path: Path) -> None:
    """The word "v" is token v and "<end>" token V, after a round through a directory too."""
    made = tokenizer(12, tmp_path)
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    for words in (made, again):
        assert words.encode("0 11 3") == [0, 11, 3]
        assert words.eos_token_id == words.pad_token_id == 12
        assert words.decode([7, 10]) == "7 10"


def test_sequences_are_prompt_and_trace() -> None:
    """Prompts stand before traces, as 64-bit integers."""
    found = sequences(np.array([[1, 2]]), np.array([[3, 0, 1]]))
    assert found.dtype == torch.int64
    assert found.tolist() == [[1, 2, 3, 0, 1]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of ``save_pretrained``: GPT-2 of 24 tokens and 16 positions, with dropout, and its tokenizer."""
    path = tmp_path_factory.mktemp("source")
    names = {f"Ġ{v}": 20 - v for v in range(10)} | {"Ġ": 0, "x": 1, "<end>": ENDS} | {str(v): v + 3 for v in range(8)}
    names |= {"8": 21, "9": 22}
    bpe = Tokenizer(models.BPE(vocab=names, merges=[("Ġ", str(v)) for v in range(10)]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<end>").save_pretrained(path)
    torch.manual_seed(3)
    config = GPT2Config(
        vocab_size=TOKENS, n_positions=16, n_embd=16, n_layer=2, n_head=2, resid_pdrop=0.1, embd_pdrop=0.1,
        attn_pdrop=0.1, eos_token_id=ENDS, bos_token_id=ENDS, initializer_range=0.3,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(path)
    return path


def from_source(path: Path | str, vocabulary: int = V, length: int = ELL + H) -> Any:
    return new_network(NetworkRecipe(source=str(path)), vocabulary, length, 0)


def test_a_trained_network_is_cut_to_the_tasks_tokens(source: Path) -> None:
    """Embedding v is that of the text " v", the last one that of the end of a text; input and output are still one."""
    whole, cut = GPT2LMHeadModel.from_pretrained(source), from_source(source)
    rows = whole.transformer.wte.weight[[20, 19, 18, 17, ENDS]]
    assert torch.equal(cut.transformer.wte.weight, rows)
    assert cut.lm_head.weight.data_ptr() == cut.transformer.wte.weight.data_ptr()
    assert cut.config.vocab_size == V + 1


def test_a_trained_network_keeps_all_other_weights(source: Path) -> None:
    """Positions, attention and layers are those of the source, bit by bit."""
    whole, cut = weights(GPT2LMHeadModel.from_pretrained(source)), weights(from_source(source))
    assert whole.keys() == cut.keys()
    others = [name for name in whole if name not in ("transformer.wte.weight", "lm_head.weight")]
    assert len(others) > 20
    assert all(torch.equal(cut[name], whole[name]) for name in others)


def test_a_cut_network_thinks_as_before(source: Path) -> None:
    """Its logits, in training mode too, are those of the whole network for the same texts and the tokens left."""
    whole, cut = GPT2LMHeadModel.from_pretrained(source).eval(), from_source(source)
    ids = np.concatenate([prompts(16), all_words(2)], axis=1)
    exact = logits(whole, 20 - ids)[..., [20, 19, 18, 17, ENDS]]
    for is_training in (True, False):
        torch.testing.assert_close(logits(cut.train(is_training), ids), exact, rtol=1e-5, atol=1e-5)


def test_a_cut_network_is_kept_and_used_again(source: Path, tmp_path: Path) -> None:
    """Its checkpoint has the task's vocabulary: it serves as a source without a tokenizer."""
    cut = from_source(source)
    save(cut, tmp_path / "cut")
    again = from_source(tmp_path / "cut")
    ids = prompts(6)
    assert torch.equal(logits(again, ids), logits(cut.eval(), ids))


def test_too_few_positions_are_refused(source: Path) -> None:
    """A source of 16 positions cannot take a prompt and trace of 17: one line with both numbers."""
    from_source(source, length=16)
    with pytest.raises(NetworkError) as caught:
        from_source(source, length=17)
    assert one_line(caught) == f"network.source = {source}: has 16 positions, expected at least 17"


def test_tokens_that_a_source_has_no_word_for_are_refused(source: Path) -> None:
    """ " 10" is two tokens of the source: one line says so."""
    with pytest.raises(NetworkError) as caught:
        from_source(source, vocabulary=11)
    assert one_line(caught) == f"network.source = {source}: has no single token for ' 10', task.V is too large"


def test_a_source_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is missing, empty, or holds no GPT-2 is refused in one line that names it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_embd": "wide"}))
    for name in ("missing", "empty", "text"):
        with pytest.raises(NetworkError) as caught:
            from_source(tmp_path / name)
        assert one_line(caught).startswith(f"network.source = {tmp_path / name}: cannot be loaded (")
