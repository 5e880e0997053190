"""Writing a run directory: one writer, and every file that it reports is whole."""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from interp.base import UserError
from interp.config import RunConfig, differences
from interp.models.family import misfit
from interp.store import history
from interp.store.directory import claim, clear, refuse_what_is_there, release
from interp.store.files import CheckpointError, told_in_a_sentence, write_whole
from interp.store.layout import (
    HISTORY,
    RECORD,
    RESUME,
    checkpoint_file,
    checkpoint_header,
    checkpoint_steps,
    is_there,
    resume_files,
)
from interp.store.record import Origin, Record, Session, read_record
from interp.store.resume import Saved, read_resume, write_resume
from interp.store.tensors import Tensors, write_tensors


class RunWriter:
    """Writer of a run; only one process can be. Use as a context manager: leaving it releases the directory.

    `resume_step` is None for a fresh run; otherwise the step of the state that `resume_state()` returns, or the last step of
    a finished run, whose state may be gone.
    """

    def __init__(
        self,
        path: Path,
        config: RunConfig,
        *,
        resume: bool = False,
        overwrite: bool = False,
        origin: Origin | None = None,
    ):
        """Claim `path`. Its files are changed only on entering, so that several runs can be claimed before any is changed.

        `origin` says what is not known of a run that is recorded beside somebody's own loop. Its rows may have more columns.

        Raises:
            UserError: the directory is not empty and neither `resume` nor `overwrite` is true, another process writes
                to it, or it cannot be written. On entering: it holds another configuration, is damaged, or is to be
                resumed and has steps but no resume state.
        """
        self.path, self.config, self._origin = path, config, origin
        self._resume, self._overwrite = resume, overwrite
        self._history, self._columns = path / HISTORY, config.train.columns
        self._sizes = config.model.tensor_shapes(config.task.shape)
        self._saved: Saved | None = None
        self._position: history.Position | None = None
        self._committed = 0
        self._lock = claim(path, resume=resume, overwrite=overwrite)

    def __enter__(self) -> "RunWriter":
        try:
            if self._overwrite:
                clear(self.path)
            self.resume_step = self._open(self._resume)
        except BaseException:
            self.release()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def release(self) -> None:
        """Release the directory."""
        release(self._lock, self.path)

    def _open(self, resume: bool) -> int | None:
        """Write run.json, or compare it with the one there; returns the step to resume from, None for a fresh run."""
        sessions: tuple[Session, ...] = ()
        digest = self.config.digest
        if resume and is_there(self.path / RECORD):
            self.record = read_record(self.path / RECORD)
            refuse_another(self.path, self.record, self.config, self._origin)
            saved, faults = self._newest_state()
            if saved is not None:
                recorded, reaches = self._origin is not None, saved.history
                self._columns, self._position = history.cut_history(
                    self._history,
                    last_step=saved.step,
                    most_rows=self.record.config.train.steps + 1,
                    reaches=history.Position(reaches.rows, None) if recorded and reaches else reaches,
                    checked=self.record.format_version >= 2,
                    columns=None if recorded else self._columns,
                )
                self._leave_out(faults, saved.step)
                self.record = self.record.but(config=self.config)
                self._saved, self._committed = saved, saved.checkpoints
                return saved.step
            if (step := step_without_state(self.path, self.record, self.config)) is not None:
                return step
            # A checkpoint of step 0 carries the digest, and stays what was announced when the run is to go further.
            sessions, digest = self.record.sessions, self.record.config_sha256
        self.record = Record(config=self.config, config_sha256=digest, sessions=sessions, origin=self._origin)
        write_whole(self.path / RECORD, self.record.to_json())
        self._position = history.write_history(self._history, [], self._columns)
        return None

    def _leave_out(self, faults: list[CheckpointError], step: int) -> None:
        """Delete damaged states that are newer than the one to go on from, and say why; they would be taken for newer."""
        for fault in faults:
            print(f"{fault}. Going on from the state before it, of step {step:,}.", file=sys.stderr)
        for file in resume_files(self.path)[: len(faults)]:
            with told_in_a_sentence(file):
                file.unlink()

    def begin(self, session: Session) -> None:
        """Record the session in which the next steps are computed: when, where and with what."""
        self.record = self.record.but(format_version=2, sessions=(*self.record.sessions, session))
        write_whole(self.path / RECORD, self.record.to_json())

    def log(self, row: history.Row) -> None:
        """Append one row to the history. One of a recorded run may have more columns, and lack any but the step."""
        assert self._position is not None, "a finished run has no more rows"
        if self._origin is not None:
            if more := tuple(name for name in row if name not in self._columns):
                self._position = history.widen(self._history, self._columns, more)
                self._columns += more
            row = dict.fromkeys(self._columns, math.nan) | row
        self._position = history.append(self._history, row, self._position, self._columns)

    def checkpoint(self, step: int, weights: Mapping[str, Tensor]) -> Path:
        """Write the weights after `step` updates; returns the path once they, and every row so far, are on the disk.

        Raises:
            UserError: a tensor is missing, extra or of another size than the model's; or the file cannot be written.
        """
        odd = misfit({name: tuple(tensor.shape) for name, tensor in weights.items()}, self._sizes)
        if odd:
            raise UserError(
                f"the weights of step {step:,} have {odd}, and {self.path} is of {self.config.model.about}; give the weights of "
                "that model"
            )
        history.flush(self._history)
        path = checkpoint_file(self.path, step)
        float32 = {name: tensor.float() for name, tensor in weights.items()}  # also of what trains in float64
        write_tensors(path, float32, checkpoint_header(self.record.config_sha256, step))
        self._committed += 1
        return path

    def save_resume(self, step: int, state: Tensors, **more: Any) -> None:
        """Write the resume state, from which training goes on after `step` as if it had never stopped; `more` are JSON values
        that go along."""
        # The rows first: a state that survives a power cut while they do not would lose them.
        assert self._position is not None, "a finished run has no more states"
        history.flush(self._history)
        write_resume(self.path, self.record.config_sha256, step, state, self._position, self._committed, **more)
        self.resume_step = step

    def resume_state(self) -> Tensors:
        """Tensors of the resume state from which the run goes on; CheckpointError if it is finished and the state gone."""
        return self.resume_saved().tensors

    def resume_saved(self) -> Saved:
        """The whole resume state from which the run goes on; CheckpointError if it is finished and the state gone."""
        assert self.resume_step is not None
        if self._saved is None or self._saved.step != self.resume_step:
            self._saved = self._newest_state()[0]
        if self._saved is None:
            raise CheckpointError(
                f"{self.path} is finished and has no resume state; its weights are in its last checkpoint"
            )
        return self._saved

    def _newest_state(self) -> tuple[Saved | None, list[CheckpointError]]:
        """The newest resume state that is whole (None if there is none), and the errors of newer ones."""
        return read_resume(self.path, self.record.config_sha256, self.config)


SHOWN = 3
"""Most differences between two configurations that a sentence names."""


def refuse_another(path: Path, record: Record, config: RunConfig, origin: Origin | None = None) -> None:
    """Raise UserError unless the run that is there has the configuration asked for, or the same with fewer steps.

    `origin` is that of the run to go on with, if it is recorded.
    """
    if record.absent:
        raise UserError(f"{'; '.join(record.absent.values())}: {path} cannot go on; install it, or add the class first")
    if origin is not None and (record.origin is None or not record.origin.recorded):
        raise UserError(
            f"{path} holds a run that was not recorded; record into another directory, or take overwrite=True"
        )
    if record.origin is not None and record.origin.between is not None:
        raise UserError(
            f"{path} is a path between two networks and no training: there is nothing to go on from; choose another --out, or "
            f"begin a run from one of its points by --from {path}@STEP"
        )
    if record.origin is not None and record.origin.recorded and origin is None:
        raise UserError(
            f"{path} was recorded beside a loop of its own, so there is nothing that training could go on from; go on with it in "
            "that loop by interp.record and run.resume(), or choose another --out"
        )
    if record.origin is not None and not record.origin.recorded:
        raise UserError(
            f"{path} was converted from {record.origin.layout}, which does not hold what training needs "
            "to go on; choose another --out"
        )
    # A run may be asked to go further: more steps leave those that are done as they are, unless the rate falls toward the
    # last one.
    ours, theirs = config.train, record.config.train
    if ours.schedule == "constant" and ours.steps > theirs.steps:
        # A list of steps with a checkpoint may go further too, if it is the same as far as the run was to go.
        same = [step for step in ours.checkpoint_steps if step <= theirs.steps] == list(theirs.checkpoint_steps)
        listed = ours.checkpoint_steps if same and theirs.checkpoint_steps else theirs.checkpoint_steps
        theirs = theirs.but(steps=ours.steps, examples=ours.examples, checkpoint_steps=listed)
    # The other run that it began from may have moved: its weights are known by their digest.
    start = config.start if config.start.sha256 == record.config.start.sha256 else record.config.start
    odd = differences(config, record.config.but(train=theirs, start=start))
    if odd:
        more = f"; and {len(odd) - SHOWN} more" if len(odd) > SHOWN else ""
        raise UserError(
            f"{path} holds another run: {'; '.join(odd[:SHOWN])}{more}; resume it as it was, or choose another --out"
        )


def step_without_state(path: Path, record: Record, config: RunConfig) -> int | None:
    """The last step of a run without a resume state, if it is finished; None if training may begin it at step 0.

    Raises:
        CheckpointError: it is neither. Training cannot go on, and beginning again would replace what is there.
    """
    saved, file = checkpoint_steps(path), path / HISTORY
    if config.train.steps in saved:
        return config.train.steps
    logged = []
    if is_there(file):
        checked = record.format_version >= 2
        steps, columns = record.config.train.steps, None if record.origin else record.config.train.columns
        logged = history.read_history(file, steps + 1, None, checked, columns=columns).index.tolist()
    steps_there = [*saved, *logged]
    # What training wrote at step 0 it writes again. Without a session somebody else wrote it, with weights of their own.
    if not any(steps_there) and (record.sessions or not steps_there):
        return None
    step = max(steps_there)
    from_here = f"begin another run with its weights by --from {path}@{saved[-1]}, " if saved else ""
    raise CheckpointError(
        f"{path} has no resume state, so training cannot go on after its step {step:,}; restore {path / RESUME}, {from_here}"
        "or begin it again with --overwrite"
    )


def saved_step(path: Path, config: RunConfig) -> int | None:
    """The step from which `RunWriter` would go on with a run; None if there is no run yet. Changes no file.

    It is 0 if nothing was saved, or if all that was saved is damaged or gone; whoever resumes the run is told so. It is the
    last step of a finished run, whose resume states may be gone.

    Raises:
        UserError: the directory holds something else, or another run.
    """
    refuse_what_is_there(path, resume=True, overwrite=False)
    if not is_there(path / RECORD):
        return None
    try:
        record = read_record(path / RECORD)
        refuse_another(path, record, config)
        saved, _ = read_resume(path, record.config_sha256, config)
        return saved.step if saved else step_without_state(path, record, config) or 0
    except CheckpointError:
        return 0
