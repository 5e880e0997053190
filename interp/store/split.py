"""split.safetensors: which prompts a converted run was trained on, if its files tell."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from interp.store.files import CheckpointError
from interp.store.layout import split_header
from interp.store.tensors import read_tensors, write_tensors
from interp.tasks import Examples, Split

NAME = "train_index"
REMEDY = "restore it, or convert the run again"


def write_split(path: Path, config_sha256: str, train_index: Int[np.ndarray, " n_train"]) -> None:
    """Write, whole or not at all, which rows of the task's table were trained on."""
    write_tensors(path, {NAME: torch.from_numpy(np.sort(train_index))}, split_header(config_sha256))


def read_split(path: Path, config_sha256: str, table: Examples) -> Split:
    """Training and test prompts of the table, from the rows in the file; CheckpointError if these cannot be rows of it."""
    index = read_tensors(path, split_header(config_sha256), remedy=REMEDY, at_most=8 * len(table)).get(NAME)
    if index is None or index.dtype != torch.int64 or index.ndim != 1 or not 0 < len(index) <= len(table):
        raise CheckpointError(f"{path} is damaged: it has no list of rows; {REMEDY}")
    if not (int(index[0]) >= 0 and int(index[-1]) < len(table) and bool((index.diff() > 0).all())):
        raise CheckpointError(f"{path} is damaged: its rows are not rows of the table, ascending; {REMEDY}")
    rows = index.numpy()
    return Split(table[rows], table[np.setdiff1d(np.arange(len(table)), rows)], rows, table.targets[rows])
