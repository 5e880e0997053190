"""What the live page knows of the runs in a directory: read from their files, and again when these change."""

import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from interp.base import UserError, shortened
from interp.store.files import CheckpointError, read_json
from interp.store.history import LOGGED
from interp.store.layout import HISTORY, LOCK, RECORD
from interp.store.opening import open_record
from interp.store.record import Record

DEPTH = 3
"""Folders below the directory in which runs are looked for."""
TAIL = 4096
"""Bytes at the end of a history in which its last row is looked for: a row has some 100."""
ELSEWHERE = 600.0
"""Seconds since its last logged step for which a run on another machine counts as training."""


class Last(NamedTuple):
    """The last logged row of a run."""

    step: int
    columns: dict[str, float]


class Listed(NamedTuple):
    """A run in the list."""

    name: str
    """Path from the directory that is shown; `.` if that is the run."""
    path: Path
    about: str
    """What it learns, and what it is; of a damaged run what is wrong."""
    last: Last
    steps: int
    """Steps that it is trained for."""
    training: bool
    left: float
    """Seconds until its end, by the steps that it made since it was first listed; NaN where that is not known."""


@dataclass
class Listing:
    """The runs in a directory."""

    directory: Path
    _records: dict[Path, tuple[tuple[int, int], Record | str]] = field(default_factory=dict)
    _paces: dict[Path, tuple[float, int]] = field(default_factory=dict)

    def all(self) -> list[Listed]:
        """Every run, by name."""
        return [self.listed(path) for path in sorted(runs_below(self.directory))]

    def path_of(self, name: str) -> Path:
        """Directory of the run of that name; UserError if there is none, as for a name that leads out of the directory."""
        path = self.directory / name
        try:
            inside = path.resolve().is_relative_to(self.directory) and (path / RECORD).is_file()
        except (OSError, ValueError):  # a name too long for the system, or with a null byte
            inside = False
        if not inside:
            raise UserError(f"no run {shortened(name)} in {self.directory}")
        return path.resolve()

    def name_of(self, path: Path) -> str:
        """Name under which a run is listed."""
        return path.relative_to(self.directory).as_posix()

    def listed(self, path: Path) -> Listed:
        """A run as its files are now."""
        record, last = self._record(path), last_row(path)
        if isinstance(record, str):
            return Listed(self.name_of(path), path, record, last, 0, False, float("nan"))
        steps, training = record.config.train.steps, is_training(path)
        about = f"{record.config.task.about}; {record.config.model.about}"
        left = self._left(path, last.step, steps) if training else float("nan")
        return Listed(self.name_of(path), path, about, last, steps, training, left)

    def _record(self, path: Path) -> Record | str:
        """The record of a run, read again when its file changes; a sentence if it is damaged."""
        state = (path / RECORD).stat()
        stamp = (state.st_mtime_ns, state.st_size)
        if self._records.get(path, ((0, 0), ""))[0] != stamp:
            try:
                found: Record | str = open_record(path)
            except UserError as error:
                found = str(error)
            self._records[path] = (stamp, found)
        return self._records[path][1]

    def _left(self, path: Path, step: int, steps: int) -> float:
        """Seconds until the last step, at the pace since the run was first listed in training."""
        now = time.monotonic()
        since, at = self._paces.setdefault(path, (now, step))
        return (steps - step) * (now - since) / (step - at) if step > at else float("nan")


def runs_below(directory: Path, depth: int = DEPTH) -> Iterator[Path]:
    """Directories of runs in a directory, up to `depth` folders down; itself, if it is one. Links are not followed."""
    if (directory / RECORD).is_file():
        yield directory
    elif depth:
        for entry in os.scandir(directory):
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from runs_below(Path(entry.path), depth - 1)


def last_row(path: Path) -> Last:
    """The last whole row of a run's history, from the end of the file alone; step 0 and nothing where there is none."""
    try:
        with (path / HISTORY).open("rb") as file:
            names = file.readline(TAIL).decode(errors="replace").strip().split(",")
            begin = file.tell()
            end = file.seek(0, os.SEEK_END)
            file.seek(max(begin, end - TAIL))
            lines = file.read().decode(errors="replace").split("\n")[:-1]
        values = dict(zip(names, lines[-1].split(","), strict=False))
        columns = {name: number(values.get(name, "")) for name in LOGGED}
        return Last(int(values["step"]), columns)
    except (OSError, ValueError, KeyError, IndexError):
        return Last(0, {})


def number(word: str) -> float:
    """The number that a cell holds; NaN if it holds none."""
    try:
        return float(word)
    except ValueError:
        return float("nan")


def is_training(path: Path) -> bool:
    """Whether a process holds the lock on a run. It is not tried, since a trainer that begins then would be refused."""
    try:
        owner: Any = read_json(path / LOCK, at_most=1024)
        process, host = int(owner["process"]), str(owner["host"])
    except (CheckpointError, OSError, KeyError, TypeError, ValueError):
        return False
    if process <= 0:
        return False
    if host != platform.node():
        return (path / HISTORY).exists() and time.time() - (path / HISTORY).stat().st_mtime < ELSEWHERE
    try:
        os.kill(process, 0)  # signal 0 is sent to nobody: it asks whether there is such a process
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
