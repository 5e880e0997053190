"""A callback for Hugging Face's Trainer that records its run (extra interp[hugging-face])."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from interp.train.beside import Beside

NAMES = {"loss": "train_loss", "eval_loss": "test_loss", "eval_accuracy": "test_accuracy"}
"""Columns of the history by the Trainer's names. Its loss is a mean over the steps since it last logged."""


class Recording(TrainerCallback):
    """Callback that records: `Trainer(…, callbacks=[Recording("checkpoints/mine")])`; further arguments are those of `record`."""

    def __init__(self, path: str | Path, *, names: Mapping[str, str] = NAMES, **how: Any):
        self._beside = Beside(path, names, how)

    def on_train_begin(self, args: Any, state: Any, control: Any, **now: Any) -> None:
        """Begin, or go on where the Trainer does."""
        if state.is_world_process_zero:
            self._beside.begin(now["model"], [now["optimizer"]], state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] = {}, **now: Any) -> None:
        """Keep what is logged of a step; how fast it went, and means over the whole training, are left out."""
        if "train_runtime" not in logs:
            self._beside.tell({name: logs[name] for name in logs if not re.search("runtime|per_sec", name)})

    def on_step_begin(self, args: Any, state: Any, control: Any, **now: Any) -> None:
        """Record the step before."""
        self._beside.reach(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **now: Any) -> None:
        """Record the last step."""
        self._beside.reach(state.global_step)
        self._beside.close()
