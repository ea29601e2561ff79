"""How every network here is trained: the Trainer of transformers with one learning-rate rule and nothing written aside.

Batches come from NumPy arrays in an order fixed by the cell; the loss is a function of model and batch. TRL's trainers
take the same arguments (:func:`arguments`). Clones and verifiers keep some of their traces aside and choose among their
checkpoints by the loss on them (:class:`Best`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llm_validation.staged.cells import CellError
from llm_validation.staged.checkpoints import quiet, seeded

__all__ = [
    "Best",
    "FineTuning",
    "arguments",
    "checked_loss",
    "fine_tune",
    "fit",
    "silent",
    "told",
    "training",
    "within_memory",
]

Loss = Callable[[Any, Mapping[str, Any]], Any]


def arguments(device: str, **settings: Any) -> dict[str, Any]:
    """Settings of every trainer: no logs, no checkpoints of its own, no progress bar."""
    return {
        "use_cpu": device == "cpu",
        "bf16": device == "cuda",
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "remove_unused_columns": False,
        "max_grad_norm": 1.0,
        **settings,
    }


@contextmanager
def training() -> Iterator[None]:
    """Inside, libraries say nothing."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice of the libraries about each other
        yield


@contextmanager
def within_memory() -> Iterator[None]:
    """Inside, running out of memory is a :class:`CellError`."""
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise CellError(_memory(error)) from None
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "out of memory" in str(error):
            raise CellError(_memory(error)) from None
        raise


def _memory(error: BaseException) -> str:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return f"out of memory ({first}): take a smaller batch or network"


def fit(
    model: Any,
    batches: Any,
    loss: Loss,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    device: str,
    beta2: float = 0.999,
    after: Callable[[int], bool] | None = None,
) -> None:
    """Train ``model`` on ``batches`` (a torch ``IterableDataset`` of whole batches) for ``steps`` steps.

    The rate rises for a tenth of them to ``learning_rate`` and falls to 0 as a cosine. ``after`` is told each finished
    step, and ends training by returning True. Raises :class:`CellError` if the loss is not finite.
    """
    from transformers import Trainer, TrainingArguments

    class Fitted(Trainer):
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            return loss(model, inputs)

    with training():
        import tempfile

        with tempfile.TemporaryDirectory() as nowhere:
            settings = TrainingArguments(
                output_dir=nowhere,
                max_steps=steps,
                per_device_train_batch_size=1,
                learning_rate=learning_rate,
                weight_decay=weight_decay,
                adam_beta2=beta2,
                lr_scheduler_type="cosine",
                warmup_steps=max(1, steps // 10),
                **arguments(device),
            )
            callbacks = [told(after)] if after else []
            trainer = Fitted(
                model=model, args=settings, train_dataset=batches, data_collator=_only, callbacks=callbacks
            )
            result = silent(trainer).train()
    checked_loss(result.training_loss)


@dataclass(frozen=True, slots=True)
class FineTuning:
    """Supervised fine-tuning: at most ``steps`` steps, a rate that falls to 0 linearly; ``seed`` orders the batches."""

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    seed: int
    device: str


def fine_tune(
    model: Any, words: Any, traces: Sequence[tuple[Sequence[int], Sequence[int]]], settings: FineTuning, best: Best
) -> None:
    """TRL's ``SFTTrainer`` on ``traces``, each tokens that are given and tokens that are learnt; keeps the best.

    Step 0, the model as it is, is one of the checkpoints. Raises :class:`CellError` if the loss is not finite.
    """
    import tempfile

    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    best.look(0)
    data = Dataset.from_dict({
        "input_ids": [[*given, *learnt] for given, learnt in traces],
        "completion_mask": [[0] * len(given) + [1] * len(learnt) for given, learnt in traces],
    })  # fmt: skip
    seeded(settings.seed)
    with training(), tempfile.TemporaryDirectory() as nowhere:
        config = SFTConfig(
            output_dir=nowhere,
            max_steps=settings.steps,
            per_device_train_batch_size=settings.batch,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            lr_scheduler_type="linear",
            completion_only_loss=True,
            max_length=None,
            gradient_checkpointing=False,
            seed=settings.seed,
            data_seed=settings.seed,
            **arguments(settings.device, remove_unused_columns=True),
        )
        trainer = SFTTrainer(
            model=model, args=config, train_dataset=data, processing_class=words, callbacks=[told(best.after)]
        )
        result = silent(trainer).train()
    checked_loss(result.training_loss)
    best.restore()


@dataclass(slots=True)
class Best:
    """The checkpoint with the least ``loss`` on what was kept aside, looked at every ``every`` steps and at ``last``.

    :meth:`after` is told every finished step and ends training after ``patience`` looks without a better one.
    """

    model: Any
    loss: Callable[[Any], Any]
    every: int
    last: int
    patience: int
    step: int = 0
    least: float = math.nan
    _weights: Any = None

    def look(self, step: int) -> None:
        """Keep the checkpoint if its loss is the least so far."""
        import torch

        self.model.eval()
        with torch.inference_mode():
            value = float(self.loss(self.model))
        self.model.train()
        if not value >= self.least:  # the first, or less than before
            free = {name: w.detach().clone() for name, w in self.model.named_parameters() if w.requires_grad}
            self.step, self.least, self._weights = step, value, free

    def after(self, step: int) -> bool:
        """Whether training ends."""
        if step % self.every and step != self.last:
            return False
        self.look(step)
        return step >= self.step + self.patience * self.every

    def restore(self) -> None:
        """Give the model the free weights that were kept."""
        self.model.load_state_dict(self._weights, strict=False)


def told(after: Callable[[int], bool]) -> Any:
    """A callback of trainers: ``after`` is told every finished step, and ends training by returning True."""
    from transformers import TrainerCallback

    class Told(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if after(state.global_step):
                control.should_training_stop = True

    return Told()


def silent(trainer: Any) -> Any:
    """The same trainer, which prints nothing."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer


def checked_loss(value: float) -> None:
    """Raises :class:`CellError` if training went astray."""
    if not math.isfinite(value):
        raise CellError(f"the loss is {value}: take a smaller learning_rate")


def _only(batch: list[Any]) -> Any:
    """A batch is made whole already."""
    (found,) = batch
    return found
