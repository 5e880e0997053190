"""Verifying a run directory: is everything in it what was written there?"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from interp.base import UserError
from interp.store.directory import strangers
from interp.store.files import CheckpointError
from interp.store.layout import HISTORY, RECORD, SPLIT, STEPS, checkpoint_steps, file_of, is_there, resume_files
from interp.store.opening import open_record
from interp.store.resume import Saved, read_state
from interp.store.run import Run


class Verdict(NamedTuple):
    """What verifying found of one file."""

    file: str
    """Path of the file, relative to the run."""
    fault: str
    """What is wrong with the file, in one sentence; empty if nothing is."""


def verify(path: str | Path) -> Iterator[Verdict]:
    """Verdicts on every file of a run: run.json first, the rest in the order of the directory.

    Raises:
        UserError: there is no run.
    """
    path = Path(path)
    try:
        record = open_record(path)
    except CheckpointError as error:
        yield Verdict(RECORD, str(error))
        return
    yield Verdict(RECORD, "")
    run = Run(path, record, tuple(checkpoint_steps(path)))
    if record.sessions or record.origin or is_there(path / HISTORY):  # it is written after run.json, before a session
        yield Verdict(HISTORY, fault_of(lambda: last_row(run)))
    if is_there(path / SPLIT) or (record.origin and record.origin.knows_split):
        yield Verdict(SPLIT, fault_of(lambda: trained_prompts(run)))
    for checkpoint in run:
        yield Verdict(f"{STEPS}/{file_of(checkpoint.step)}", checked(run, checkpoint.step))
    newest = None
    for file in reversed(resume_files(path)):
        state, fault = looked_at(file, run)
        newest = state or newest
        if is_there(file):  # a run that is training replaces its states meanwhile
            yield Verdict(str(file.relative_to(path)), fault)
    if fault := missing(run, newest):
        yield Verdict(STEPS, fault)
    for stranger in strangers(path):
        yield Verdict(str(stranger.relative_to(path)), f"{stranger} is no file of a run; move it away")


def looked_at(file: Path, run: Run) -> tuple[Saved | None, str]:
    """A resume state (None if it is damaged), and what is wrong with it."""
    try:
        return read_state(file, run.record.config_sha256, run.config), ""
    except CheckpointError as error:
        return None, str(error)


def missing(run: Run, newest: Saved | None) -> str:
    """How many committed checkpoints are missing, in a sentence, as far as run.json or the newest state tell."""
    origin = run.record.origin
    if newest is None and (origin is None or origin.recorded):
        return ""
    steps = checkpoint_steps(run.path)  # once more: a run that is training has written some since
    there = sum(newest is None or step <= newest.step for step in steps)
    committed = newest.checkpoints if newest else origin.checkpoints if origin else 0
    if there >= committed:
        return ""
    return f"{run.path / STEPS} has {there} checkpoints, and {committed} were written; restore the others"


def trained_prompts(run: Run) -> None:
    """Raise CheckpointError if the list of trained prompts is damaged or missing."""
    if not is_there(run.path / SPLIT):
        raise CheckpointError(f"{run.path / SPLIT} is missing; restore it, or convert the run again")
    _ = run.split


def checked(run: Run, step: int) -> str:
    """What is wrong with a checkpoint, in a sentence; empty if nothing is."""
    if step > run.config.train.steps:
        return f"{run.at(step).path} lies beyond the {run.config.train.steps:,} steps of its run; restore run.json"
    return fault_of(lambda: run.at(step).read("restore it"))


def last_row(run: Run) -> None:
    """Raise CheckpointError if the history is damaged, or has rows beyond the run."""
    history = run.history
    if len(history) and int(history.index[-1]) > run.config.train.steps:
        raise CheckpointError(f"{run.path / HISTORY} has rows beyond the {run.config.train.steps:,} steps of its run")


def fault_of(look: Callable[[], object]) -> str:
    """The message of the error that `look` raises; empty if it raises none."""
    try:
        look()
    except UserError as error:
        return str(error)
    return ""
