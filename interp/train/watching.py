"""What a person sees while a run trains: a bar in a terminal, plain lines elsewhere; on stderr, not stdout."""

import math
import statistics
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

from rich.progress import TextColumn
from rich.table import Column

from interp.bars import LEFT, bar
from interp.store.history import Row


class Watcher(Protocol):
    """Base of what shows progress: is told of every step, and of every row of the history."""

    def step(self, step: int) -> None:
        """Take note that `step` updates are done."""

    def rows(self, rows: Sequence[Row]) -> None:
        """Take note of the latest rows, one for each run side by side; none if all have diverged."""


class Silent:
    """A watcher that prints nothing, for use as a library."""

    def step(self, step: int) -> None:
        """Do nothing."""

    def rows(self, rows: Sequence[Row]) -> None:
        """Do nothing."""


class Bar:
    """A progress bar with step, time left, losses and accuracies. Use as a context manager."""

    def __init__(self, total: int, start: int, label: str):
        self._label = label
        # Fits 80 columns: a short bar, step 25000/25000, the time left, and `brief`.
        self._total, numbers = total, TextColumn(" {task.fields[numbers]}", table_column=Column(no_wrap=True))
        self._progress = bar(*LEFT, numbers)
        self._task = self._progress.add_task(f"step {start}/{total}", total=total, completed=start, numbers="")

    def __enter__(self) -> "Bar":
        if self._label:  # on a line of its own: beside the numbers it would not fit
            medians = "; losses and accuracies are medians" * self._label.startswith("runs")
            self._progress.console.print(self._label + medians)
        self._progress.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def step(self, step: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=step, description=f"step {step}/{self._total}")

    def rows(self, rows: Sequence[Row]) -> None:
        """Show the latest losses and accuracies."""
        if rows:
            self._progress.update(self._task, numbers=brief(median(rows)))


class Lines:
    """One plain line every few seconds, for logs and pipes. Use as a context manager."""

    def __init__(self, total: int, start: int, label: str, seconds: float = 5.0):
        self._total, self._start, self._label, self._seconds = total, start, label, seconds
        self._began = self._last = time.monotonic()

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def step(self, step: int) -> None:
        """Do nothing: lines come with rows."""

    def rows(self, rows: Sequence[Row]) -> None:
        """Print the medians of the rows, if the last line is old enough; always print the first and the last."""
        if not rows:
            return
        row = median(rows)
        step, now = int(row["step"]), time.monotonic()
        if step not in (self._start, self._total) and now - self._last < self._seconds:
            return
        self._last = now
        done = step - self._start
        left = f"{(now - self._began) / done * (self._total - step):.0f} s left" if done else "starting"
        which = f"{self._label}, median: " if len(rows) > 1 else f"{self._label}: " * bool(self._label)
        print(f"{which}step {step:>6,} of {self._total:,}  {left:>10}  {numbers(row)}", file=sys.stderr, flush=True)


def watch(total: int, start: int, label: str = "") -> Bar | Lines:
    """A bar if stderr is a terminal, plain lines otherwise; `label` names the runs if there are several batches."""
    return Bar(total, start, label) if sys.stderr.isatty() else Lines(total, start, label)


def median(rows: Sequence[Row]) -> Row:
    """Median of each column over the rows of several runs."""
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def numbers(row: Row) -> str:
    """Losses and accuracies of a row as text, train before test; or the one loss that it has."""
    if "loss" in row:
        return f"loss {row['loss']:.2e}"
    losses = f"loss {row['train_loss']:.2e} / {row['test_loss']:.2e}"
    if math.isnan(row["train_accuracy"]):
        return f"{losses} (train / test)"
    return f"{losses}  accuracy {row['train_accuracy']:6.1%} / {row['test_accuracy']:6.1%} (train / test)"


def brief(row: Row) -> str:
    """Losses and accuracies of a row as short text, for a bar."""
    if "loss" in row:
        return numbers(row)
    losses = f"loss {row['train_loss']:.0e}/{row['test_loss']:.0e}"
    if math.isnan(row["train_accuracy"]):
        return f"{losses} train/test"
    return f"{losses} acc {row['train_accuracy']:.0%}/{row['test_accuracy']:.0%} train/test"
