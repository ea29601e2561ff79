r"""Sampling in this process with transformers.

Token h of a trace with seed k is drawn by inversion: with u_h the h-th uniform number of the generator seeded by k and
F the distribution function over the vocabulary at temperature T,

.. math:: y_h=\min\{v:F(v\mid x,y_{<h})>u_h\}.

So a trace is a function of the model, its prompt and its seed. Which others are in the batch changes the logits by
float rounding only (about 1e-6 relative): the trace changes only where some u_h is that near a step of F.

Prompts of a batch that are equal are read once; rows leave the batch when they end. Answers cut at the token with which
their text holds the stop text, or ended by the model's end-of-text token, have ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_validation.sampling.backend import BackendError, Generation, Request, Sampling
from llm_validation.sampling.models import Source

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TransformersBackend", "draw", "load"]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def load(source: Source, threads: int | None = None) -> TransformersBackend:
    """The model, in float32 on the CPU. Raises :class:`BackendError` with one line."""
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging
    except ImportError:
        raise BackendError("needs the extra 'llm' (pip install 'verifier-gap[llm]')") from None
    if threads is not None:
        torch.set_num_threads(threads)
    quieter: Any = logging
    shown = quieter.is_progress_bar_enabled()
    quieter.disable_progress_bar()
    where = {"gguf_file": source.gguf} if source.gguf else {"revision": source.revision or "main"}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.location, **where)
        model: Any = AutoModelForCausalLM.from_pretrained(source.location, dtype=torch.float32, **where)
    except Exception as error:  # whatever a loader makes of files that are none of its own
        raise BackendError(f"--model {source.label}: cannot be loaded ({_first_line(error)})") from None
    finally:
        if shown:
            quieter.enable_progress_bar()
    return TransformersBackend(model.eval(), tokenizer)


def draw(logits: Tensor, uniforms: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """A token for each row of ``logits`` (B, V), by inversion at ``uniforms`` (B,), and its log-probability at T = 1.

    Returns (B,) int64 and (B,) float64, nats.
    """
    import torch

    log_p = torch.log_softmax(logits.double(), dim=-1)
    if temperature == 0.0:
        token = log_p.argmax(dim=-1)
    else:
        scaled = log_p if temperature == 1.0 else torch.log_softmax(log_p / temperature, dim=-1)
        F = scaled.exp().cumsum(dim=-1)
        reached = torch.searchsorted(F, uniforms[:, None] * F[:, -1:], right=True)
        token = reached[:, 0].clamp(max=logits.shape[1] - 1)
    return token, log_p.gather(1, token[:, None])[:, 0]


class _Rows:
    """Rows of a batch that are still being written: their cache, mask, positions and next logits."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], prompt_of: Sequence[int]) -> None:
        import torch
        from transformers import DynamicCache

        self._model = model
        width = max(map(len, prompts))
        ids = torch.zeros(len(prompts), width, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        ids, mask = ids.to(model.device), mask.to(model.device)
        self._cache = DynamicCache(config=model.config)
        self._mask, self._next = mask, mask.sum(dim=1)
        self._forward(ids, (mask.cumsum(dim=1) - 1).clamp(min=0))
        self.number = torch.arange(len(prompt_of))  # which request each row is
        self._select(torch.tensor(prompt_of, device=model.device))

    def _forward(self, ids: Tensor, positions: Tensor) -> None:
        found = self._model(
            input_ids=ids.to(self._mask.device),
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.logits = found.logits[:, -1]

    def _select(self, rows: Tensor) -> None:
        self._cache.batch_select_indices(rows)
        self._mask, self._next, self.logits = self._mask[rows], self._next[rows], self.logits[rows]

    def keep(self, going: Tensor) -> None:
        """Only rows for which ``going`` (B,) is true go on."""
        if not bool(going.all()):
            self._select(going.nonzero()[:, 0].to(self._mask.device))
            self.number = self.number[going]

    def append(self, tokens: Tensor) -> None:
        """One token for each row, (B,)."""
        import torch

        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        self._forward(tokens[:, None], self._next[:, None])
        self._next = self._next + 1


class TransformersBackend:
    """A causal language model of transformers with its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._stops: dict[str, Tensor] = {}

    def _ends(self) -> set[int]:
        """End-of-text tokens, by the tokenizer and by the model's own settings."""
        own = self._model.generation_config.eos_token_id
        found = {*(own if isinstance(own, list) else [own]), self._tokenizer.eos_token_id}
        return {token for token in found if token is not None}

    def _stopping(self, stop: str) -> Tensor:
        """Tokens (V,) that end an answer: ends of text, and those whose text holds ``stop`` if it is one character."""
        import torch

        if stop not in self._stops:
            size = self._model.get_output_embeddings().weight.shape[0]
            known = range(min(size, len(self._tokenizer)))
            texts = self._tokenizer.batch_decode([[token] for token in known])
            ended = torch.zeros(size, dtype=torch.bool)
            if len(stop) == 1:
                ended[[token for token, text in zip(known, texts, strict=True) if stop in text]] = True
            ended[sorted(self._ends())] = True
            self._stops[stop] = ended
        return self._stops[stop]

    def check(self, prompts: Sequence[str], sampling: Sampling) -> None:
        """Raises :class:`BackendError` if a prompt and the budget do not fit into the model."""
        room = getattr(self._model.config, "max_position_embeddings", None)
        longest = max(len(self._encoded(prompt, "", sampling.chat)) for prompt in prompts)
        if room is not None and longest + sampling.horizon > room:
            raise BackendError(
                f"--horizon {sampling.horizon}: a prompt has {longest} tokens, the model has room for {room}"
            )

    def _encoded(self, prompt: str, begun: str, chat: bool) -> list[int]:
        """Tokens of a prompt and what is written after it."""
        if not chat:
            return list(self._tokenizer(prompt + begun).input_ids)
        message = [{"role": "user", "content": prompt}]
        asked = self._tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
        return list(self._tokenizer(asked + begun, add_special_tokens=False).input_ids)

    def _has_stopped(self, ids: Sequence[int], stop: str) -> bool:
        """Whether the text of ``ids`` holds a ``stop`` of several characters, which its last token completed."""
        if len(stop) < 2:
            return False
        tail = ids[-len(stop.encode()) :]  # a token is one byte of text at least
        return stop in self._tokenizer.decode(tail)

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        """One continuation a request. A row whose logits are not finite ends in an error."""
        import torch

        place: dict[tuple[str, str], int] = {}
        prompt_of = [place.setdefault((request.prompt, request.begun), len(place)) for request in requests]
        prompts = [self._encoded(*shown, sampling.chat) for shown in place]
        budget = torch.tensor([sampling.horizon if r.horizon is None else r.horizon for r in requests])
        most = int(budget.max())
        noise = np.stack([np.random.default_rng(request.seed).random(most) for request in requests])
        uniforms, stopping = torch.from_numpy(noise), self._stopping(sampling.stop)
        written: list[list[int]] = [[] for _ in requests]
        score = torch.zeros(len(requests), dtype=torch.float64)
        ended, broken = (torch.zeros(len(requests), dtype=torch.bool) for _ in range(2))
        device = self._model.device
        with torch.inference_mode():
            rows = _Rows(self._model, prompts, prompt_of)
            for h in range(most):
                logits = rows.logits
                finite = (~torch.isnan(logits).any(dim=1) & torch.isfinite(logits).any(dim=1)).cpu()
                broken[rows.number[~finite]] = True
                rows.keep(finite)
                u = uniforms[rows.number, h].to(device)
                token, log_p = (found.cpu() for found in draw(rows.logits, u, sampling.temperature))
                score[rows.number] += log_p
                for number, new in zip(rows.number.tolist(), token.tolist(), strict=True):
                    written[number].append(new)
                stopped = torch.tensor(
                    [self._has_stopped(written[i], sampling.stop) for i in rows.number.tolist()], dtype=torch.bool
                )
                over = stopping[token] | stopped
                ended[rows.number[over]] = True
                going = ~over & (budget[rows.number] > h + 1)
                rows.keep(going)
                if not len(rows.number):
                    break
                rows.append(token[going])
        return [
            self._generation(ids, bool(ended[i]), bool(broken[i]), float(score[i]), sampling)
            for i, ids in enumerate(written)
        ]

    def _generation(self, ids: list[int], ended: bool, broken: bool, score: float, sampling: Sampling) -> Generation:
        if broken:
            return Generation("", 0, False, float("nan"), f"logits of token {len(ids) + 1} are not finite")
        text = str(self._tokenizer.decode(ids, skip_special_tokens=True))
        if sampling.stop:
            text = text.partition(sampling.stop)[0]
        return Generation(text, len(ids), not ended, score / len(ids), ids=tuple(ids))
