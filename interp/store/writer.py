"""Writing a run directory: one writer, every announced file whole."""

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
    RECORD,
    RESUME,
    STEPS,
    checkpoint_file,
    checkpoint_header,
    owned,
    resume_header,
)
from interp.store.record import Record, Session, read_record


class RunWriter:
    """The one process that writes a run. Use as a context manager: leaving it releases the directory.

    `resume_step` is None for a fresh run; otherwise the step at which training stopped, whose state `resume_state()`
    returns.
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
        self._history = self.path / HISTORY
        if resume and (self.path / RECORD).exists():
            self.record = read_record(self.path / RECORD)
            odd = differences(self.config, self.record.config)
            if odd:
                raise UserError(
                    f"{self.path} holds another run: {'; '.join(odd)}; resume it as it was, or choose another --out"
                )
            if (self.path / RESUME).exists():
                step = int(read_header(self.path / RESUME).get("step", 0))
                history.cut_history(self._history, step)
                return step
        self.record = Record(config=self.config)
        write_whole(self.path / RECORD, self.record.to_json())
        write_whole(self._history, history.header().encode())
        return None

    def begin(self, session: Session) -> None:
        """Record where and with what the steps that follow are computed."""
        self.record = Record(config=self.config, sessions=(*self.record.sessions, session))
        write_whole(self.path / RECORD, self.record.to_json())

    def log(self, row: history.Row) -> None:
        """Append one row to the history."""
        with told_in_a_sentence(self._history), self._history.open("a") as file:
            file.write(history.line(row))

    def checkpoint(self, step: int, weights: Mapping[str, Tensor]) -> Path:
        """Commit the weights after `step` updates; when this returns they are on the disk."""
        path = checkpoint_file(self.path, step)
        write_tensors(path, weights, checkpoint_header(self.config, step))
        return path

    def save_resume(self, step: int, state: Tensors) -> None:
        """Commit what training needs to go on from `step` as if it had never stopped."""
        write_tensors(self.path / RESUME, state, resume_header(self.config, step))

    def resume_state(self) -> Tensors:
        """What `save_resume` wrote."""
        assert self.resume_step is not None
        return read_tensors(self.path / RESUME, resume_header(self.config, self.resume_step))

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()


def refuse_what_is_there(path: Path, resume: bool, overwrite: bool) -> None:
    """UserError unless `path` is new, empty, or a run that was asked to be resumed or overwritten."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / RECORD).exists():
        raise UserError(f"{path} exists and is no run; choose another --out")
    if not (resume or overwrite):
        raise UserError(
            f"{path} holds a run already; go on with it by --resume, replace it by --overwrite, or choose another --out"
        )
