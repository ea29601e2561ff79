"""FLOPs and memory of a decoder: closed forms against sums over tokens and layers, and against torch's own counts."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from llm_validation.llama_math.compute import BYTES, Shape
from llm_validation.staged.training import training
from strategies import checked


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Small decoders: grouped heads, any head size, tied or not."""
    groups = draw(st.integers(1, 4))
    return Shape(
        hidden_size=draw(st.integers(1, 64)),
        intermediate_size=draw(st.integers(1, 96)),
        num_hidden_layers=draw(st.integers(1, 4)),
        num_attention_heads=groups * draw(st.integers(1, 4)),
        num_key_value_heads=groups,
        vocab_size=draw(st.integers(2, 200)),
        tie_word_embeddings=draw(st.booleans()),
        head_dim=draw(st.integers(1, 16)),
    )


def config_of(shape: Shape) -> dict[str, Any]:
    return dataclasses.asdict(shape)


SMALL = Shape(32, 80, 3, 4, 2, 100, False, 8)
TIED = dataclasses.replace(SMALL, tie_word_embeddings=True)


def model_of(shape: Shape) -> LlamaForCausalLM:
    config: Any = LlamaConfig
    made: LlamaForCausalLM = LlamaForCausalLM(config(**config_of(shape), attn_implementation="eager"))
    return made


@pytest.mark.parametrize("shape", [SMALL, TIED])
def test_parameters_are_those_of_the_model(shape: Shape) -> None:
    """The closed form is the number of weights of transformers' Llama."""
    assert shape.parameters == model_of(shape).num_parameters()


def test_sizes_are_read_from_the_models_configuration() -> None:
    """As plain data, whatever else it holds."""
    assert Shape.of(model_of(SMALL).config.to_dict()) == SMALL


@pytest.mark.parametrize("missing", ["hidden_size", "vocab_size", "num_hidden_layers"])
def test_a_configuration_of_another_kind_is_refused(missing: str) -> None:
    """The size that is missing is named."""
    config = {name: value for name, value in config_of(SMALL).items() if name != missing}
    with pytest.raises(ValueError, match=rf"\A{missing} = None: expected a size"):
        Shape.of(config)


def linear_of_a_layer(shape: Shape) -> int:
    """Queries, keys, values, output; gate, up and down."""
    d, e, f = shape.hidden_size, shape.head_dim, shape.intermediate_size
    queries, values = d * e * shape.num_attention_heads, d * e * shape.num_key_value_heads
    return queries + 2 * values + queries + 3 * d * f


def of_one_token(shape: Shape, seen: int) -> int:
    """A token that sees ``seen`` tokens, without the head: layer by layer, head by head."""
    found = 0
    for _ in range(shape.num_hidden_layers):
        found += 2 * linear_of_a_layer(shape)
        for _ in range(shape.num_attention_heads):
            found += 2 * shape.head_dim * seen  # scores
            found += 2 * shape.head_dim * seen  # mixing
    return found


def head(shape: Shape) -> int:
    return 2 * shape.hidden_size * shape.vocab_size


@given(shapes(), st.integers(0, 12))
@checked
def test_reading_is_the_sum_over_tokens(shape: Shape, prompt: int) -> None:
    """Every token of the prompt sees itself and those before it."""
    assert shape.read(prompt) == sum(of_one_token(shape, seen) for seen in range(1, prompt + 1))


@given(shapes(), st.integers(1, 12), st.integers(0, 12))
@checked
def test_writing_is_the_sum_over_tokens(shape: Shape, prompt: int, tokens: int) -> None:
    """Each token that is written costs a head; each but the last is read, seeing all before it."""
    read = sum(of_one_token(shape, prompt + i) for i in range(1, tokens))
    assert shape.written(prompt, tokens) == read + tokens * head(shape)


@given(shapes(), st.integers(1, 12), st.integers(0, 12), st.integers(1, 12))
@checked
def test_writing_in_two_parts_costs_one_more_token_read(shape: Shape, prompt: int, one: int, two: int) -> None:
    """t1 + t2 tokens are t1, then t2 after the last of the first is read: nothing else is paid twice."""
    apart = shape.written(prompt, one) + shape.written(prompt + one, two)
    between = of_one_token(shape, prompt + one) if one else 0
    assert shape.written(prompt, one + two) == apart + between


@given(shapes(), st.integers(1, 12))
@checked
def test_a_verifier_reads_once(shape: Shape, tokens: int) -> None:
    """All tokens are read, and a scalar head at the last."""
    assert shape.judged(tokens) == shape.read(tokens) + 2 * shape.hidden_size


@given(shapes(), st.integers(1, 12))
@checked
def test_training_all_weights_is_three_passes(shape: Shape, tokens: int) -> None:
    """Forward, and backward twice as much; a verifier has one scalar head in place of logits at each token."""
    assert shape.trained(tokens, 0) == 3 * (shape.read(tokens) + tokens * head(shape))
    assert shape.trained(tokens, 0, is_verifier=True) == 3 * shape.judged(tokens)


@pytest.mark.parametrize("rank", [0, 1, 4])
@pytest.mark.parametrize("tokens", [1, 7, 64])
def test_torch_counts_the_same_in_a_step_of_training(rank: int, tokens: int) -> None:
    """Forward and backward by torch's counter, with all weights free or low-rank updates of all linear maps.

    The same, but that masked tokens are multiplied with as well, and that with low-rank updates the first layer's
    inputs need no gradient: not through its queries, keys and values, nor through the first factor of their updates.
    """
    from peft import LoraConfig, get_peft_model

    model: Any = model_of(SMALL)
    if rank:
        with training():
            model = get_peft_model(
                model, LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM", lora_dropout=0.0)
            )
    ids = torch.zeros(1, tokens, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, use_cache=False).logits.sum().backward()
    d, e, h, g = SMALL.hidden_size, SMALL.head_dim, SMALL.num_attention_heads, SMALL.num_key_value_heads
    masked = 3 * 4 * e * h * SMALL.num_hidden_layers * (tokens * tokens - tokens * (tokens + 1) // 2)
    spared = 2 * tokens * d * (e * (h + 2 * g) + 3 * rank) if rank else 0
    assert counter.get_total_flops() == SMALL.trained(tokens, rank) + masked - spared


@pytest.mark.parametrize("shape", [SMALL, TIED])
@pytest.mark.parametrize("tokens", [1, 7])
def test_torch_counts_the_same_matrix_products(shape: Shape, tokens: int) -> None:
    """A forward pass by torch's counter: the same, but that it multiplies with masked tokens as well.

    Without a cache attention is over all tokens for each: tokens^2 in place of tokens (tokens + 1)/2.
    """
    model = model_of(shape).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.zeros(1, tokens, dtype=torch.int64), use_cache=False)
    masked = 4 * shape.head_dim * shape.num_attention_heads * shape.num_hidden_layers
    seen_too_much = masked * (tokens * tokens - tokens * (tokens + 1) // 2)
    assert counter.get_total_flops() == shape.read(tokens) + tokens * head(shape) + seen_too_much


@pytest.mark.parametrize("rank", [1, 4])
def test_low_rank_updates_are_those_of_peft(rank: int) -> None:
    """The free weights of a copy with updates of all linear maps but the head."""
    from peft import LoraConfig, get_peft_model

    with training():  # the libraries warn of each other
        config = LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM")
        wrapped = get_peft_model(model_of(SMALL), config)
    free = sum(weight.numel() for weight in wrapped.parameters() if weight.requires_grad)
    assert SMALL.low_rank(rank) == free


@given(shapes(), st.integers(0, 5), st.integers(0, 9), st.sampled_from(sorted(BYTES)))
@checked
def test_memory_of_sampling_is_weights_and_cache(shape: Shape, rows: int, tokens: int, dtype: str) -> None:
    """Keys and values of every token, layer and row, a number for each key-value head and place in it."""
    numbers = shape.parameters + sum(
        2 * shape.head_dim for _ in itertools.product(*map(range, (
            rows, tokens, shape.num_hidden_layers, shape.num_key_value_heads,
        )))
    )  # fmt: skip
    assert shape.sampling_bytes(rows, tokens, dtype) == BYTES[dtype] * numbers


def test_memory_of_training_counts_what_is_free() -> None:
    """All weights: 4 + 4 + 8 bytes each in float32; low-rank: the frozen ones 4, the updates 16."""
    assert SMALL.training_bytes(0, "float32") == 16 * SMALL.parameters
    assert SMALL.training_bytes(2, "float32") == 4 * SMALL.parameters + 16 * SMALL.low_rank(2)
