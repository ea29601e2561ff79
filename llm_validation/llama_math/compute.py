r"""FLOPs and memory of a dense decoder of the Llama kind, in closed form.

Per layer, with hidden size d, heads h of size e, key-value heads g and inner size f, the linear maps have
:math:`w=de(2h+2g)+3df` weights (queries and output, keys and values, the gated inner layer). All layers have
:math:`W=\text{layers}\cdot w`, embedding and head :math:`Vd` each (one of them if tied).

* **Forward**: 2 a weight and token. A token that sees c tokens (itself included) costs besides
  :math:`4ceh` a layer (scores and mixing). The head is read where logits are needed: at every token that is written.
  So reading p tokens is :math:`F(p)=2Wp+4eh\,\text{layers}\sum_{c\le p}c`, and writing t tokens after them, with a
  cache, :math:`F(p+t-1)-F(p)+2Vdt`: the last token that is written is never read.
* **A verifier** reads p + t tokens once: :math:`F(p+t)`, and its head is d weights.
* **Training** a token: forward, gradients of activations and gradients of weights, 3 times the forward pass. With
  low-rank updates the gradients of frozen weights are not needed: linear maps and head cost 2 times, attention, which
  has no weights, 3 times, and the updates' own :math:`6\cdot` (their weights). A verifier has d weights for the head.
* **Memory** of training: weights, gradients and two moments of what is free (float32 moments), activations left out;
  of sampling: weights and keys and values, :math:`2\cdot\text{layers}\cdot g e` numbers a token and row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Shape"]

#: Bytes of a number.
BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a decoder."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    tie_word_embeddings: bool
    head_dim: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """From a model's configuration as plain data. Raises ``ValueError`` naming what is missing."""
        names = (
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "vocab_size",
        )
        for name in names:
            if not isinstance(config.get(name), int) or config[name] < 1:
                raise ValueError(f"{name} = {config.get(name)}: expected a size of a decoder of the Llama kind")
        heads = config["num_attention_heads"]
        return cls(
            **{name: config[name] for name in names},
            num_key_value_heads=config.get("num_key_value_heads") or heads,
            tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        )

    @property
    def linear(self) -> int:
        """W: weights of the linear maps of all layers."""
        heads = self.num_attention_heads + self.num_key_value_heads
        attention = 2 * self.hidden_size * self.head_dim * heads
        return self.num_hidden_layers * (attention + 3 * self.hidden_size * self.intermediate_size)

    @property
    def parameters(self) -> int:
        """All weights, norms included."""
        embeddings = (1 if self.tie_word_embeddings else 2) * self.vocab_size * self.hidden_size
        return self.linear + embeddings + (2 * self.num_hidden_layers + 1) * self.hidden_size

    def _attention(self, tokens: int) -> int:
        """Scores and mixing while ``tokens`` tokens are read, each seeing itself and those before it."""
        size = self.head_dim * self.num_attention_heads * self.num_hidden_layers
        return 4 * size * tokens * (tokens + 1) // 2

    def read(self, prompt: int) -> int:
        """FLOPs of a prompt that is read into the cache."""
        return 2 * self.linear * prompt + self._attention(prompt)

    def written(self, prompt: int, tokens: int) -> int:
        """FLOPs of ``tokens`` tokens written after a prompt that has been read; 0 where none is written."""
        if not tokens:
            return 0
        head = 2 * self.vocab_size * self.hidden_size * tokens
        return self.read(prompt + tokens - 1) - self.read(prompt) + head

    def judged(self, tokens: int) -> int:
        """FLOPs of a verifier that reads ``tokens`` tokens."""
        return self.read(tokens) + 2 * self.hidden_size

    def trained(self, tokens: int, rank: int, is_verifier: bool = False) -> int:
        """FLOPs of one step on a sequence of ``tokens`` tokens; ``rank`` 0: all weights are free.

        A decoder has logits at each token, a verifier one. With low-rank updates the inputs of the first layer count
        as if they needed gradients.
        """
        head = 2 * self.hidden_size * (1 if is_verifier else self.vocab_size * tokens)
        weights = 2 * self.linear * tokens + head
        own = 2 * self.low_rank(rank) * tokens
        return (2 if rank else 3) * weights + 3 * (self._attention(tokens) + own)

    def low_rank(self, rank: int) -> int:
        """Weights of low-rank updates of all linear maps."""
        d, e, f = self.hidden_size, self.head_dim, self.intermediate_size
        ends = 2 * (d + e * self.num_attention_heads) + 2 * (d + e * self.num_key_value_heads) + 3 * (d + f)
        return rank * ends * self.num_hidden_layers

    def sampling_bytes(self, rows: int, tokens: int, dtype: str) -> int:
        """Weights, and keys and values of ``rows`` rows of ``tokens`` tokens."""
        cache = 2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim * rows * tokens
        return BYTES[dtype] * (self.parameters + cache)

    def training_bytes(self, rank: int, dtype: str) -> int:
        """Weights, gradients and two moments; activations are not counted. ``rank`` 0: all weights are free."""
        free = self.low_rank(rank) if rank else self.parameters
        return BYTES[dtype] * self.parameters + free * (BYTES[dtype] + 8) + (BYTES[dtype] * free if rank else 0)
