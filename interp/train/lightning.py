"""A callback for Lightning's Trainer that records its run. Needs pytorch-lightning or lightning (interp[lightning])."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.train.beside import Beside

if importlib.util.find_spec("lightning") is None or TYPE_CHECKING:
    from pytorch_lightning import Callback
else:
    from lightning.pytorch import Callback

NAMES = {"val_loss": "test_loss", "val_acc": "test_accuracy", "train_acc": "train_accuracy"}
"""Columns of the history by the names that modules usually log under; all others keep theirs."""


class Recording(Callback):
    """Callback that records: `Trainer(…, callbacks=[Recording("checkpoints/mine")])`; further arguments are those of `record`."""

    def __init__(self, path: str | Path, *, names: Mapping[str, str] = NAMES, **how: Any):
        self._beside, self._seen = Beside(path, names, how), dict[str, Any]()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: D102  begin, or go on where the Trainer does
        if trainer.is_global_zero:
            self._beside.begin(pl_module, trainer.optimizers, trainer.global_step)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:  # noqa: D102
        self._record(trainer)

    def _record(self, trainer: Any) -> None:
        new = {name: each for name, each in trainer.callback_metrics.items() if self._seen.get(name) is not each}
        self._seen |= new  # metrics stay until they are logged again: one object is one log
        self._beside.tell(new)
        self._beside.reach(trainer.global_step)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:  # noqa: D102  release the directory
        self._beside.close()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: D102  record the last step
        self._record(trainer)
        self._beside.close()
