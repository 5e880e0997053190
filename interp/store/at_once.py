"""Writing a whole run at once. run.json is written last: what a kill leaves half done is not a run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from interp.config import RunConfig
from interp.store.files import write_whole
from interp.store.history import Row, write_history
from interp.store.layout import HISTORY, RECORD, SPLIT, checkpoint_file, checkpoint_header
from interp.store.record import Origin, Record
from interp.store.split import write_split
from interp.store.tensors import Tensors, write_tensors


def write_at_once(
    path: Path,
    config: RunConfig,
    checkpoints: Mapping[int, Callable[[], Tensors]],
    rows: Sequence[Row],
    train_index: Int[np.ndarray, " n_train"] | None,
    **origin: Any,
) -> None:
    """Write a run that was not trained here into a directory that is claimed and empty, every file whole.

    Args:
        path: the directory.
        config: configuration of the run.
        checkpoints: functions that give the weights, by step.
        rows: the history.
        train_index: which prompts were trained on, where the configuration does not tell; None: it tells, or nobody knows.
        **origin: fields of `Origin`, save those that follow from what is written.
    """
    digest = config.digest
    for step, weights in checkpoints.items():
        write_tensors(checkpoint_file(path, step), weights(), checkpoint_header(digest, step))
    if train_index is not None:
        write_split(path / SPLIT, digest, train_index)
    position = write_history(path / HISTORY, list(rows))
    told = Origin(**origin, history=position, checkpoints=len(checkpoints), knows_split=train_index is not None)
    write_whole(path / RECORD, Record(config=config, config_sha256=digest, origin=told).to_json())
