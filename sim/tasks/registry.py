"""Tasks by the name an experiment gives them; imports nothing heavy until one is asked for."""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sim.tasks.token_task import TokenTask

__all__ = ["TASKS", "TaskConfig", "task_config"]

#: Name of a task -> module and frozen configuration that builds it.
TASKS = {
    "codebook": "sim.tasks.token_codebook:TokenCodebook",
    "parity": "sim.tasks.token_codebook:TokenParity",
    "planted": "sim.tasks.planted:Planted",
    "random-mdp": "sim.tasks.random_mdp:RandomMDP",
    "rare-success": "sim.tasks.rare_success:RareSuccess",
    "two-mode": "sim.tasks.two_mode:TwoMode",
}


class TaskConfig(Protocol):
    """A frozen dataclass whose fields are checked when it is made."""

    H: int

    def build(self) -> TokenTask:
        """The process and the base policy."""
        ...


def task_config(name: str, **fields: Any) -> TaskConfig:
    """Configuration of the task called ``name``. Raises ``ValueError`` with one line on a name or field unknown."""
    if name not in TASKS:
        raise ValueError(f"task {name}: expected one of {', '.join(TASKS)}")
    module, _, attribute = TASKS[name].partition(":")
    kind = getattr(importlib.import_module(module), attribute)
    known = [field.name for field in dataclasses.fields(kind)]
    for field in fields:
        if field not in known:
            raise ValueError(f"task {name} takes no {field}: expected {', '.join(known)}")
    config: TaskConfig = kind(**fields)
    return config
