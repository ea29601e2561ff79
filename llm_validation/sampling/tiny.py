"""A random Llama of a few thousand weights over characters: the whole path in seconds, nothing learnt.

``python -m llm_validation.sampling.tiny DIR`` writes it as ``save_pretrained`` does. All embeddings share a large part,
from which the head makes digits likely and line ends likelier: most answers are short numbers, and a few of them right.
"""

from __future__ import annotations

import string
import sys
from pathlib import Path
from typing import Any

__all__ = ["write"]


def write(path: Path, room: int = 512) -> Path:
    """Model and tokenizer in the directory ``path``, with ``room`` positions."""
    import torch
    from tokenizers import Tokenizer, decoders
    from tokenizers.models import BPE
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    characters = sorted(set(string.ascii_letters + string.digits + string.punctuation + " \n"))
    vocabulary = {token: i for i, token in enumerate(["<unk>", "</s>", *characters, ".\n"])}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[(".", "\n")], unk_token="<unk>"))
    tokenizer.decoder = decoders.Fuse()
    kind: Any = PreTrainedTokenizerFast
    fast = kind(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(path)
    generator = torch.Generator().manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=room, bos_token_id=None, eos_token_id=1, pad_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
        model.model.embed_tokens.weight += 1.0
        liking = {**dict.fromkeys(string.digits, 3.0), "\n": 5.0, "</s>": 2.0}
        for token, number in vocabulary.items():
            model.lm_head.weight[number] += liking.get(token, -3.0) / config.hidden_size
    model.generation_config.do_sample = True  # or a server may take the likeliest token at any temperature
    model.save_pretrained(path)
    return path


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("python -m llm_validation.sampling.tiny: expected one directory", file=sys.stderr)
        sys.exit(2)
    write(Path(sys.argv[1]))
