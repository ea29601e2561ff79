r"""GPT-2 on words of the planted task: how it is made, kept, sampled and asked for log-probabilities.

A sequence is the prompt's :math:`\ell` tokens and then the trace's H; token v of the task is token v of the network,
and token |V| is padding, begin and end, which is never drawn. Prompts being of one length, nothing stands between.
Networks of ``scratch`` are :class:`transformers.GPT2LMHeadModel` with nothing added; weights begin with standard
deviation :math:`0.4/\sqrt{\text{width}}` (at GPT-2's width of 768 its own 0.02 is near that), positions as the recipe
says. A network that was trained before keeps all its weights but the embeddings of tokens the task has no use for:
token v of the task is its token of the text " v".

Draws are by inversion from a Philox key (:func:`llm_validation.sampling.transformers_backend.draw`), so that a trace
depends on network, prompt and key only. A checkpoint is a directory of ``save_pretrained``, known by the digest of its
weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_validation.gpt2_planted.recipe import NetworkRecipe
from llm_validation.gpt2_planted.world import Floats, Ints
from llm_validation.staged.cells import CellError
from llm_validation.staged.checkpoints import checked, first_line, quiet, seeded

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "NetworkError",
    "load",
    "load_verifier",
    "log_probabilities",
    "new_network",
    "new_verifier",
    "sample",
    "scores",
    "tokenizer",
    "with_dropout",
]

#: Rows in one forward pass where no gradient is asked for.
BATCH = 1000


class NetworkError(CellError):
    """A network that cannot be had; the message is one line."""


def new_network(recipe: NetworkRecipe, V: int, length: int, seed: int) -> Any:
    """A language model over V + 1 tokens and ``length`` positions. Raises :class:`NetworkError`."""
    seeded(seed)
    return _scratch(recipe, V, length) if recipe.source == "scratch" else _pretrained(recipe.source, V, length)


def _scratch(recipe: NetworkRecipe, V: int, length: int) -> Any:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=V + 1,
        n_positions=length,
        n_embd=recipe.width,
        n_layer=recipe.layers,
        n_head=recipe.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=0.4 / math.sqrt(recipe.width),
        bos_token_id=V,
        eos_token_id=V,
        pad_token_id=V,
    )
    model: Any = GPT2LMHeadModel(config)
    if recipe.positions == "sinusoidal":
        model.transformer.wpe.weight.data.copy_(torch.from_numpy(_sinusoids(length, recipe.width)))
    return model


def _sinusoids(length: int, width: int) -> Floats:
    """Sines and cosines of the position at equally spaced frequencies up to pi, amplitude 0.2: (length, width).

    Two positions have a product that depends on their distance only and is largest, by far, at distance 0.
    """
    turns = np.arange(length)[:, None] * np.pi * (np.arange(0, width, 2) + 1.0) / width
    return np.asarray(0.2 * np.stack([np.sin(turns), np.cos(turns)], axis=2).reshape(length, width))


def _pretrained(source: str, V: int, length: int) -> Any:
    """A GPT-2 from a directory or the hub, its vocabulary cut to the task's tokens."""
    import torch
    from transformers import AutoTokenizer, GPT2LMHeadModel

    try:
        with quiet():
            model: Any = GPT2LMHeadModel.from_pretrained(source)
            if model.config.vocab_size != V + 1:
                words: Any = AutoTokenizer.from_pretrained(source)
                ids = [words.encode(f" {token}") for token in range(V)]
            else:
                ids = [[token] for token in range(V)]
    except Exception as error:  # whatever a loader makes of what is no network
        raise NetworkError(f"network.source = {source}: cannot be loaded ({first_line(error)})") from None
    if model.config.n_positions < length:
        most = model.config.n_positions
        raise NetworkError(f"network.source = {source}: has {most} positions, expected at least {length}")
    several = [token for token, found in enumerate(ids) if len(found) != 1]
    if several:
        raise NetworkError(f"network.source = {source}: has no single token for ' {several[0]}', task.V is too large")
    end = V if model.config.vocab_size == V + 1 else model.config.eos_token_id
    kept = torch.tensor([*(found[0] for found in ids), end])
    rows = model.get_input_embeddings().weight.data[kept].clone()
    model.resize_token_embeddings(V + 1)
    model.get_input_embeddings().weight.data.copy_(rows)
    model.tie_weights()
    for config in (model.config, model.generation_config):
        config.bos_token_id = config.eos_token_id = config.pad_token_id = V
    for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
        setattr(model.config, name, 0.0)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def with_dropout(model: Any, rate: float) -> Any:
    """The same model with this rate of dropout in training, wherever GPT-2 has it but in the head."""
    import torch

    for module in model.transformer.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
    return model


def new_verifier(base: Any, seed: int) -> Any:
    """The base's transformer with a fresh scalar head at every token."""
    import copy

    from transformers import GPT2ForTokenClassification

    seeded(seed)
    config = copy.deepcopy(base.config)
    config.num_labels = 1
    config.classifier_dropout = 0.0
    with quiet():
        model: Any = GPT2ForTokenClassification(config)
    model.transformer.load_state_dict(base.transformer.state_dict())
    return model


def tokenizer(V: int, directory: Path | None = None) -> Any:
    """What TRL asks for: the word "v" is token v, and "<end>" token V."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    kind: Any = PreTrainedTokenizerFast

    names = [*map(str, range(V)), "<end>"]
    words = Tokenizer(WordLevel({name: i for i, name in enumerate(names)}, unk_token="<end>"))
    words.pre_tokenizer = WhitespaceSplit()
    found: Any = kind(
        tokenizer_object=words, bos_token="<end>", eos_token="<end>", pad_token="<end>", unk_token="<end>"
    )
    if directory is not None:
        found.save_pretrained(directory)
    return found


def sequences(words: Ints, tokens: Ints) -> Any:
    """Prompts (B, ell) and traces (B, H) as one tensor (B, ell + H)."""
    import torch

    return torch.from_numpy(np.concatenate([words, tokens], axis=1).astype(np.int64))


def _batches(count: int) -> Iterator[slice]:
    return (slice(start, start + BATCH) for start in range(0, count, BATCH))


def sample(model: Any, words: Ints, H: int, key: np.random.Philox) -> Ints:
    """A trace of H tokens for each row of ``words`` (B, ell), temperature 1 over the task's tokens: (B, H)."""
    import torch

    from sim.tasks.token_task import uniforms

    V = model.config.vocab_size - 1
    model.eval()
    parts = []
    for rows in _batches(len(words)):
        u = uniforms(key, len(words[rows]), H)
        inputs, past, found = torch.from_numpy(words[rows].astype(np.int64)).to(model.device), None, []
        with torch.inference_mode():
            for h in range(H):
                out = model(input_ids=inputs, past_key_values=past, use_cache=True)
                past = out.past_key_values
                inputs = _drawn(out.logits[:, -1, :V], torch.from_numpy(u[:, h]))
                found.append(inputs)
        parts.append(torch.cat(found, dim=1).cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, H), dtype=np.int64)


def _drawn(logits: Tensor, uniforms: Tensor) -> Tensor:
    """One token for each row, (B, 1)."""
    from llm_validation.sampling.transformers_backend import draw

    token, _ = draw(logits, uniforms.to(logits.device), 1.0)
    return token[:, None]


def log_probabilities(model: Any, words: Ints, tokens: Ints) -> Floats:
    """Log-probability of each token of each trace given what is before it, nats, (B, H), over the task's tokens."""
    import torch

    V, ell = model.config.vocab_size - 1, words.shape[1]
    model.eval()
    parts = []
    for rows in _batches(len(words)):
        ids = sequences(words[rows], tokens[rows]).to(model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids[:, :-1]).logits[:, ell - 1 :, :V].double()
            found = torch.log_softmax(logits, dim=-1).gather(2, ids[:, ell:, None])[..., 0]
        parts.append(found.cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros(tokens.shape)


def scores(verifier: Any, words: Ints, tokens: Ints) -> Floats:
    """The verifier's probability that the trace has solved by each of its tokens, (B, H)."""
    import torch

    ell = words.shape[1]
    verifier.eval()
    parts = []
    for rows in _batches(len(words)):
        ids = sequences(words[rows], tokens[rows]).to(verifier.device)
        with torch.inference_mode():
            found = torch.sigmoid(verifier(input_ids=ids).logits[:, ell:, 0].double())
        parts.append(found.cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros(tokens.shape)


def load(directory: Path, digest: str, device: str = "cpu") -> Any:
    """The language model of a checkpoint. Raises :class:`CheckpointError` with one line."""
    from transformers import GPT2LMHeadModel

    kind: Any = GPT2LMHeadModel
    return checked(directory, digest, lambda path: kind.from_pretrained(path).to(device))


def load_verifier(directory: Path, digest: str, device: str = "cpu") -> Any:
    """The verifier of a checkpoint. Raises :class:`CheckpointError` with one line."""
    from transformers import GPT2ForTokenClassification

    kind: Any = GPT2ForTokenClassification
    return checked(directory, digest, lambda path: kind.from_pretrained(path).to(device))
