"""Taking a directory for a run: what is already there is refused, kept or cleared; the writer holds the lock."""

import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from interp.base import UserError
from interp.store.files import CheckpointError, is_scrap, read_json, sweep, told_in_a_sentence
from interp.store.layout import (
    ANALYSIS,
    HISTORY,
    KEPT,
    LOCK,
    PART,
    RECORD,
    RESUME,
    RESUME_1,
    SHOWN,
    SPLIT,
    STEPS,
    is_of_a_step,
    is_there,
)

FOLDERS = (STEPS, RESUME)
"""Folders of a run that hold one file for each of some steps, and nothing else."""

FILES = (HISTORY, RESUME_1, SPLIT)

RESULTS = (".html", ".csv", ".nc", ".png", ".js")
"""Suffixes of the files that analyses write into their folder. Other files there are the user's own."""


class InUse(UserError):
    """Raised when another process writes to a run."""


def claim(path: Path, *, resume: bool = False, overwrite: bool = False) -> FileLock:
    """The lock on a directory that may be written as a run. Deletes what killed writers left in it, and nothing else.

    Raises:
        UserError: it holds something that neither `resume` nor `overwrite` covers, another process writes to it, or it
            cannot be written.
    """
    refuse_what_is_there(path, resume, overwrite)
    with told_in_a_sentence(path):
        path.mkdir(parents=True, exist_ok=True)
    lock = locked(path)
    try:
        refuse_what_is_there(path, resume, overwrite)  # once more: whoever held the lock until now may have written
        with told_in_a_sentence(path):
            for folder in FOLDERS:
                (path / folder).mkdir(exist_ok=True)
        for directory in (path, *(path / folder for folder in FOLDERS)):
            sweep(directory)
    except BaseException:
        release(lock, path)
        raise
    return lock


def refuse_what_is_there(path: Path, resume: bool, overwrite: bool) -> None:
    """Raise UserError unless `path` is new, empty, or a run that was asked to be resumed or overwritten."""
    if resume and overwrite:
        raise UserError("--resume goes on with a run and --overwrite replaces it; give one of them")
    with told_in_a_sentence(path):
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file; give --out a directory")
        inside = {file.name for file in path.iterdir() if not is_scrap(file)} if path.is_dir() else set()
        remains = list(remains_of(path))
        strange = [file for file in strangers(path) if RECORD not in inside]
    if RECORD in inside:
        if not (resume or overwrite):
            raise UserError(
                f"{path} holds a run already; go on with it by --resume, replace it by --overwrite, or choose another "
                "--out"
            )
    elif strange or not inside <= {*FOLDERS, *FILES, LOCK}:
        raise UserError(f"{path} exists and is no run; choose another --out")
    elif remains and not overwrite:
        raise UserError(
            f"{path} has {remains[0].relative_to(path)} and no run.json; restore it, --overwrite what is there, or choose "
            "another --out"
        )


def remains_of(path: Path) -> Iterator[Path]:
    """Files of a run other than its run.json and the results of analyses."""
    yield from (path / name for name in FILES if is_there(path / name))
    for folder in FOLDERS:
        if (path / folder).is_dir():
            yield from (file for file in sorted((path / folder).iterdir()) if is_of_a_step(file.name))


def strangers(path: Path) -> Iterator[Path]:
    """Paths in the folders of a run that are not files of a run."""
    for folder in FOLDERS:
        if (path / folder).is_dir():
            inside = sorted((path / folder).iterdir())
            yield from (file for file in inside if not is_of_a_step(file.name) and not is_scrap(file))


def clear(path: Path) -> None:
    """Delete the files of a run and the results of its analyses, nothing else; run.json last, so that until then it is a run."""
    with told_in_a_sentence(path):
        for file in [*remains_of(path), *results_of(path), path / RECORD]:
            if file.is_dir() and not file.is_symlink():  # in the place of a file of ours
                shutil.rmtree(file)
            else:
                file.unlink(missing_ok=True)


def results_of(path: Path) -> Iterator[Path]:
    """Files that analyses of a run wrote, by their suffix."""
    here = path / ANALYSIS
    for folder, suffixes in (
        (here, RESULTS),
        (here / PART, RESULTS),
        (here / SHOWN, RESULTS),
        (here / KEPT, (".safetensors",)),
    ):
        if folder.is_dir():
            yield from (file for file in sorted(folder.iterdir()) if file.suffix in suffixes)


def locked(path: Path) -> FileLock:
    """The lock on a run; its file says who holds it. The system frees it when the holder dies, however it dies.

    Raises:
        InUse: another process holds it, which is named.
        UserError: it cannot be written.
    """
    lock = FileLock(path / LOCK)
    with told_in_a_sentence(path / LOCK):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InUse(f"{holder(path)} is writing to {path}; wait for it, or choose another --out") from None
        began = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            (path / LOCK).write_text(json.dumps({"process": os.getpid(), "host": platform.node(), "since": began}))
        except OSError:
            lock.release()
            raise
    return lock


def release(lock: FileLock, path: Path) -> None:
    """Release the lock on a run; does nothing if it is released already."""
    if lock.is_locked:
        with suppress(OSError):  # a name left in the file of a lock that nobody holds harms nobody
            (path / LOCK).write_text("")
        lock.release()


def holder(path: Path) -> str:
    """Who holds the lock on a run, in words."""
    try:
        owner = read_json(path / LOCK, at_most=1024)
        return f"process {owner['process']:d} on {owner['host']:.80}, since {owner['since']:.40},"
    except (CheckpointError, KeyError, TypeError, ValueError):
        return "another process"
