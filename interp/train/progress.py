"""What a person sees while a run trains: a bar in a terminal, plain lines elsewhere; on stderr, not stdout."""

import sys
import time
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from interp.store.history import Row


class Watcher(Protocol):
    """Told of every step, and of every row that the history gets."""

    def step(self, step: int) -> None:
        """`step` updates are done."""

    def row(self, row: Row) -> None:
        """A row was logged."""


class Silent:
    """Watches without a word: for use as a library."""

    def step(self, step: int) -> None:
        """Nothing."""

    def row(self, row: Row) -> None:
        """Nothing."""


class Bar:
    """A progress bar with step, time left, losses and accuracies. Use as a context manager."""

    def __init__(self, total: int, start: int):
        # Fits 80 columns: step 25000/25000, a short bar, the time left, and `brief`.
        self._progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=8),
            TimeRemainingColumn(),
            TextColumn("left  {task.fields[numbers]}", table_column=Column(no_wrap=True)),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("", total=total, completed=start, numbers="")

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def step(self, step: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=step)

    def row(self, row: Row) -> None:
        """Show the latest losses and accuracies."""
        self._progress.update(self._task, numbers=brief(row))


class Lines:
    """One plain line every few seconds, for logs and pipes. Use as a context manager."""

    def __init__(self, total: int, start: int, seconds: float = 5.0):
        self._total, self._start, self._seconds = total, start, seconds
        self._began = self._last = time.monotonic()

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def step(self, step: int) -> None:
        """Nothing: lines come with rows."""

    def row(self, row: Row) -> None:
        """Print the row when the last line is old enough, and the first and last row always."""
        step, now = int(row["step"]), time.monotonic()
        if step not in (self._start, self._total) and now - self._last < self._seconds:
            return
        self._last = now
        done = step - self._start
        left = f"{(now - self._began) / done * (self._total - step):.0f} s left" if done else "starting"
        print(f"step {step:>6,} of {self._total:,}  {left:>10}  {numbers(row)}", file=sys.stderr, flush=True)


def watch(total: int, start: int) -> Bar | Lines:
    """A bar when stderr is a terminal, plain lines otherwise."""
    return Bar(total, start) if sys.stderr.isatty() else Lines(total, start)


def numbers(row: Row) -> str:
    """Losses and accuracies of a row, train before test."""
    return (
        f"loss {row['train_loss']:.2e} / {row['test_loss']:.2e}  "
        f"accuracy {row['train_accuracy']:6.1%} / {row['test_accuracy']:6.1%} (train / test)"
    )


def brief(row: Row) -> str:
    """The same in half the width, for a bar."""
    return (
        f"loss {row['train_loss']:.0e}/{row['test_loss']:.0e} "
        f"acc {row['train_accuracy']:.0%}/{row['test_accuracy']:.0%} train/test"
    )
