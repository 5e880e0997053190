"""Opening a run directory: the run in it, its record, and the runs beside it; or one sentence that says what is wrong."""

from pathlib import Path

from interp.base import UserError, near_miss
from interp.store.layout import RECORD, checkpoint_steps
from interp.store.record import Record, read_record
from interp.store.run import Run


def open_run(path: str | Path) -> Run:
    """The run in a directory.

    Raises:
        UserError: the directory is missing or empty, holds no run, or has no checkpoint yet.
        CheckpointError: its run.json is damaged.
    """
    path, record = Path(path), open_record(path)
    steps = checkpoint_steps(path)
    if not steps and record.origin is None:
        raise UserError(f"{path} has no checkpoint yet; let it train, or go on with it by --resume")
    return Run(path, record, tuple(steps))


def open_record(path: str | Path) -> Record:
    """The record (run.json) of a directory; UserError if there is no such directory, or no run in it."""
    path, train_one = Path(path), "train one with: python -m interp.train quick"
    try:
        is_directory = path.is_dir()
    except OSError as error:  # a name too long for the system
        raise UserError(f"{path} cannot be opened: {(error.strerror or str(error)).lower()}") from error
    if not is_directory:
        siblings = [run.name for run in find_runs(path.parent)]
        hint = near_miss(path.name, siblings) + f" in {path.parent}" if siblings else f"; {train_one}"
        raise UserError(f"{path} is no directory{hint}")
    if not (path / RECORD).exists():
        inside = ", ".join(map(str, find_runs(path)))
        what = "has no run.json, so it is no run" if any(path.iterdir()) else "is empty"
        raise UserError(f"{path} {what}; " + (f"the runs in it are {inside}" if inside else train_one))
    return read_record(path / RECORD)


def find_runs(path: str | Path) -> list[Path]:
    """Directories of runs directly below `path`, by name."""
    return sorted(file.parent for file in Path(path).glob(f"*/{RECORD}"))
