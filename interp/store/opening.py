"""Opening a run directory: the run in it, its record, and the runs beside it; or one sentence that says what is wrong."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interp.base import UserError, near_miss
from interp.store.layout import ANALYSIS, RECORD, checkpoint_steps, is_there
from interp.store.record import Record, read_record
from interp.store.run import Run


def open_run(path: str | Path, model: Any = None) -> Run:
    """The run in a directory.

    Args:
        path: the directory.
        model: the torch module that was recorded there, newly made: `run.at(step).model` is a copy of it with the weights of that
            step. No code is imported because a run names it.

    Raises:
        UserError: the directory is missing or empty, holds no run, or has no checkpoint yet; or the module has other tensors
            than the run.
        CheckpointError: its run.json is damaged.
    """
    path, record = Path(path), open_record(path)
    steps = checkpoint_steps(path)
    if not steps and record.origin is None:
        raise UserError(f"{path} has no checkpoint yet; let it train, or go on with it by --resume")
    if model is None:
        return Run(path, record, tuple(steps))
    from interp.models.module.given import fitting  # here: a run of interp's own models needs none of it

    known = record.origin is not None and record.origin.tells("train.loss")
    loss = record.config.train.loss if known else "cross_entropy"
    module, spec = fitting(path, record.config.model, record.config.task.shape, model, loss)
    return Run(path, record.with_code(spec, spec.loss), tuple(steps), module=module)


def open_record(path: str | Path) -> Record:
    """The record (run.json) of a directory; UserError if there is no such directory, or no run in it."""
    path, train_one = Path(path), "train one with: python -m interp.train quick"
    try:
        is_directory = path.is_dir()
    except OSError as error:  # a name too long for the system
        raise UserError(f"{path} cannot be opened: {(error.strerror or str(error)).lower()}") from error
    if path.is_file():
        raise UserError(f"{path} is a file; give the directory of a run")
    if not is_directory:
        siblings = [run.name for run in find_runs(path.parent)]
        hint = near_miss(path.name, siblings) + f" in {path.parent}" if siblings else f"; {train_one}"
        raise UserError(f"{path} is no directory{hint}")
    if not (path / RECORD).exists():
        inside = ", ".join(map(str, find_runs(path)))
        what = "has no run.json, so it is no run" if any(path.iterdir()) else "is empty"
        raise UserError(f"{path} {what}; " + (f"the runs in it are {inside}" if inside else train_one))
    return read_record(path / RECORD)


def runs_in(dirs: Sequence[Path]) -> list[Path]:
    """Runs in these directories, each once: a directory is a run, or holds runs.

    A folder of results beside runs (`runs/grid/analysis` of `runs/grid/*`) is passed over.
    """
    inside = {path: find_runs(path) for path in dirs if os.path.isdir(path) and not is_there(path / RECORD)}
    results = [path for path, runs in inside.items() if path.name == ANALYSIS and not runs]
    found = [run for path in dirs if path not in results for run in inside.get(path) or [path]]
    return list({path.absolute(): path for path in found or results}.values())


def find_runs(path: str | Path) -> list[Path]:
    """Directories of runs directly below `path`, by name."""
    return sorted(file.parent for file in Path(path).glob(f"*/{RECORD}"))
