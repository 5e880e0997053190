"""Writing a run directory: one writer, every announced file whole."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout
from torch import Tensor

from interp.base import UserError
from interp.config import RunConfig, differences
from interp.store import history
from interp.store.files import Tensors, read_header, read_tensors, told_in_a_sentence, write_tensors, write_whole
from interp.store.layout import (
    HISTORY,
    LOCK,
    OWNED,
    RECORD,
    RESUME,
    STEPS,
    checkpoint_file,
    checkpoint_header,
    owned,
    resume_header,
)
from interp.store.record import Record, Session, read_record

RESTART = "restore it, or delete it and --resume to start again from step 0"


class RunWriter:
    """The one process that writes a run. Use as a context manager: leaving it releases the directory.

    `resume_step` is None for a fresh run; otherwise the step of the state that `resume_state()` returns.
    """

    def __init__(self, path: Path, config: RunConfig, *, resume: bool = False, overwrite: bool = False):
        """Open `path` for writing.

        Raises:
            UserError: the directory is not empty and neither `resume` nor `overwrite` is asked for, another process
                writes to it, it holds another configuration, or it cannot be written.
        """
        self.path, self.config = path, config
        refuse_what_is_there(path, resume, overwrite)
        with told_in_a_sentence(path):
            (path / STEPS).mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / LOCK)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise UserError(f"another process is writing to {path}; wait for it, or choose another --out") from None
        try:
            if overwrite:
                self._clear()
            self.resume_step = self._open(resume)
        except BaseException:
            self._lock.release()
            raise

    def _clear(self) -> None:
        """Delete what a run writes, and nothing else."""
        with told_in_a_sentence(self.path):
            for file in owned(self.path):
                shutil.rmtree(file) if file.is_dir() else file.unlink()
            (self.path / STEPS).mkdir()

    def _open(self, resume: bool) -> int | None:
        """Write or compare run.json; return the step to resume from."""
        self._history, sessions = self.path / HISTORY, ()
        if resume and (self.path / RECORD).exists():
            self.record = read_record(self.path / RECORD)
            # A run may be asked to go further: more steps leave those that are done as they are.
            longer = max(self.config.train.steps, self.record.config.train.steps)
            before = self.record.config.but(train=self.record.config.train.but(steps=longer))
            odd = differences(self.config, before)
            if odd:
                raise UserError(
                    f"{self.path} holds another run: {'; '.join(odd)}; resume it as it was, or choose another --out"
                )
            if (self.path / RESUME).exists():
                self.record = self.record.but(config=self.config)
                step = int(read_header(self.path / RESUME, RESTART).get("step", 0))
                history.cut_history(self._history, step)
                return step
            sessions = self.record.sessions
        self.record = Record(config=self.config, config_sha256=self.config.digest, sessions=sessions)
        write_whole(self.path / RECORD, self.record.to_json())
        write_whole(self._history, history.header().encode())
        return None

    def begin(self, session: Session) -> None:
        """Record where and with what the steps that follow are computed."""
        self.record = self.record.but(sessions=(*self.record.sessions, session))
        write_whole(self.path / RECORD, self.record.to_json())

    def log(self, row: history.Row) -> None:
        """Append one row to the history."""
        with told_in_a_sentence(self._history), self._history.open("a") as file:
            file.write(history.line(row))

    def checkpoint(self, step: int, weights: Mapping[str, Tensor]) -> Path:
        """Commit the weights after `step` updates; when this returns they are on the disk."""
        path = checkpoint_file(self.path, step)
        write_tensors(path, weights, checkpoint_header(self.record.config_sha256, step))
        return path

    def save_resume(self, step: int, state: Tensors) -> None:
        """Commit what training needs to go on from `step` as if it had never stopped."""
        with told_in_a_sentence(self._history), self._history.open("a") as file:
            os.fsync(file.fileno())  # a state that survives a power cut while the rows before it do not would lose them
        write_tensors(self.path / RESUME, state, resume_header(self.record.config_sha256, step))
        self.resume_step = step

    def resume_state(self) -> Tensors:
        """What `save_resume` wrote."""
        assert self.resume_step is not None
        return read_tensors(
            self.path / RESUME, resume_header(self.record.config_sha256, self.resume_step), remedy=RESTART
        )

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()


def refuse_what_is_there(path: Path, resume: bool, overwrite: bool) -> None:
    """UserError unless `path` is new, empty, or a run that was asked to be resumed or overwritten."""
    if resume and overwrite:
        raise UserError("--resume goes on with a run and --overwrite replaces it; give one of them")
    with told_in_a_sentence(path):
        inside = {file.name for file in path.iterdir()} if path.is_dir() else set()
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file; give --out a directory")
    if inside <= {*OWNED, LOCK} - {RECORD}:  # nothing, or what a start that was stopped at once left behind
        return
    if RECORD not in inside:
        raise UserError(f"{path} exists and is no run; choose another --out")
    if not (resume or overwrite):
        raise UserError(
            f"{path} holds a run already; go on with it by --resume, replace it by --overwrite, or choose another --out"
        )
