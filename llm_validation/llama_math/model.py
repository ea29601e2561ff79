r"""The base and its trained copies.

A copy is the base with all weights free, or with low-rank updates of its linear maps (LoRA), :math:`W+\frac\alpha rBA`
with :math:`\alpha=2r`, of which only A and B are kept. A verifier is the base's transformer with a scalar head
:math:`s(x,y)=w\cdot h_{|y|}+b` at the last token; its probability that y is right is the logistic function of s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.llama_math.recipe import Recipe, TuningRecipe
from llm_validation.sampling.models import find_model
from llm_validation.staged.cells import CellError
from llm_validation.staged.checkpoints import checked, first_line, quiet, seeded
from llm_validation.staged.training import training

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Language",
    "Padded",
    "load_base",
    "load_copy",
    "load_verifier",
    "new_copy",
    "new_verifier",
    "padded",
    "scores",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Language:
    """A causal language model with its tokenizer."""

    model: Any
    words: Any

    def prompt_ids(self, prompt: str, chat: bool) -> list[int]:
        """Tokens of a prompt; of a chat the prompt is the user's message."""
        if not chat:
            return list(self.words(prompt).input_ids)
        message = [{"role": "user", "content": prompt}]
        return list(self.words.apply_chat_template(message, add_generation_prompt=True, return_dict=False))

    def ids(self, text: str) -> list[int]:
        """Tokens of what is written."""
        return list(self.words(text, add_special_tokens=False).input_ids)

    def text(self, ids: Sequence[int]) -> str:
        """What tokens say."""
        return str(self.words.decode(list(ids), skip_special_tokens=True))

    @property
    def end(self) -> int:
        """The token that ends a text."""
        found = self.words.eos_token_id
        return int(found)


def load_base(recipe: Recipe) -> Language:
    """The base. Raises :class:`CellError` with one line if it cannot be had."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = recipe.model.source
    try:
        found = find_model(source)
        where = {"gguf_file": found.gguf} if found.gguf else {"revision": found.revision or "main"}
        with quiet():
            words = AutoTokenizer.from_pretrained(found.location, **where)
            model: Any = AutoModelForCausalLM.from_pretrained(
                found.location, dtype=getattr(torch, recipe.model.dtype), **where
            )
    except Exception as error:  # whatever a loader makes of what is no model
        raise CellError(f"model.source = {source}: cannot be loaded ({first_line(error)})") from None
    if words.eos_token_id is None:
        raise CellError(f"model.source = {source}: its tokenizer has no end of text")
    return Language(model.to(recipe.device).eval(), words)


def _adapted(model: Any, tuning: TuningRecipe, **settings: Any) -> Any:
    """The model with low-rank updates, alone free; the model itself if the rank is 0."""
    if not tuning.lora_rank:
        return model
    from peft import LoraConfig, get_peft_model

    rank = tuning.lora_rank
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", **settings)
    with training():
        found: Any = get_peft_model(model, config)
    (used,) = found.peft_config.values()
    used.target_modules = sorted(used.target_modules)  # a set has no order, and checkpoints have digests
    return found


def new_copy(base: Language, tuning: TuningRecipe, seed: int) -> Any:
    """A copy of the base to be fine-tuned; the base stays as it is."""
    import copy

    seeded(seed)
    return _adapted(copy.deepcopy(base.model), tuning, task_type="CAUSAL_LM")


def _headed(base: Language) -> Any:
    """The base's transformer with a scalar head at every token."""
    import copy

    from transformers import AutoModelForTokenClassification

    config = copy.deepcopy(base.model.config)
    config.num_labels = 1
    config.classifier_dropout = 0.0
    with quiet():
        kind: Any = AutoModelForTokenClassification
        model: Any = kind.from_config(config, dtype=base.model.dtype)
    body = getattr(model, model.base_model_prefix)
    body.load_state_dict(getattr(base.model, base.model.base_model_prefix).state_dict())
    return model.to(base.model.device)


def new_verifier(base: Language, tuning: TuningRecipe, seed: int) -> Any:
    """The base's transformer with a fresh scalar head, to be trained."""
    seeded(seed)
    return _adapted(_headed(base), tuning, task_type="TOKEN_CLS", modules_to_save=["score"])


def load_copy(base: Language, directory: Path, digest: str) -> Language:
    """The fine-tuned copy of a checkpoint. Raises :class:`~.checkpoints.CheckpointError` with one line."""
    import copy

    from transformers import AutoModelForCausalLM

    device = base.model.device

    def load(path: Path) -> Any:
        if not (path / "adapter_config.json").exists():
            whole: Any = AutoModelForCausalLM
            return whole.from_pretrained(path, dtype=base.model.dtype).to(device)
        from peft import PeftModel

        return PeftModel.from_pretrained(copy.deepcopy(base.model), path).merge_and_unload()

    with training():
        return Language(checked(directory, digest, load).eval(), base.words)


def load_verifier(base: Language, directory: Path, digest: str) -> Any:
    """The verifier of a checkpoint. Raises :class:`~.checkpoints.CheckpointError` with one line."""
    from transformers import AutoModelForTokenClassification

    device = base.model.device

    def load(path: Path) -> Any:
        if not (path / "adapter_config.json").exists():
            whole: Any = AutoModelForTokenClassification
            return whole.from_pretrained(path, dtype=base.model.dtype).to(device)
        from peft import PeftModel

        return PeftModel.from_pretrained(_headed(base), path).merge_and_unload()

    with training():
        return checked(directory, digest, load).eval()


@dataclass(frozen=True, slots=True)
class Padded:
    """Sequences of different lengths side by side: tokens and mask (B, L), filled at their ends."""

    ids: Tensor
    mask: Tensor

    @property
    def last(self) -> Tensor:
        """Place of the last token of each, (B,)."""
        return self.mask.sum(dim=1) - 1


def padded(sequences: Sequence[Sequence[int]], fill: int, device: Any = "cpu") -> Padded:
    """Sequences as one batch, filled at their ends."""
    import torch

    width = max(map(len, sequences))
    ids = torch.full((len(sequences), width), fill, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.int64)
        mask[row, : len(sequence)] = 1
    return Padded(ids.to(device), mask.to(device))


def scores(verifier: Any, sequences: Sequence[Sequence[int]], fill: int, batch: int) -> Floats:
    """The verifier's probability that each sequence of prompt and attempt is right, (B,)."""
    import torch

    verifier.eval()
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))  # equal lengths side by side
    found = np.full(len(sequences), np.nan)
    device = next(verifier.parameters()).device
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        part = padded([sequences[i] for i in rows], fill, device)
        with torch.inference_mode():
            logits = verifier(input_ids=part.ids, attention_mask=part.mask).logits[..., 0]
            mine = logits.gather(1, part.last[:, None])[:, 0]
            found[rows] = torch.sigmoid(mine.double()).cpu().numpy()
    return found
