"""What files of others tell of a run, as read; what they leave open is found later (describe.py)."""

import reprlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from torch import Tensor

from interp.store.files import CheckpointError
from interp.store.foreign.pickles import REMEDY, dense, state_dict, unwrapped
from interp.store.foreign.states import State
from interp.store.history import Row

MOST_ROWS = 2_000_000

MOST_TIMES = 3
"""Most bytes of state dicts per byte of file. Above 1, since a file of the grokking demo names its last weights twice."""


@dataclass
class Contents:
    """The parts of a run that some files hold. Each layout fills in what it knows."""

    name: str
    layout: str
    """Name of the layout in a few words: whose files these are."""
    files: list[Path]
    states: dict[int, tuple[Path, State]] = field(default_factory=dict)
    """State dicts, each with the file that held it, by number of updates."""
    rows: dict[int, Row] = field(default_factory=dict)
    """Rows of the history by number of updates; a value that is missing is not known."""
    task: dict[str, Any] = field(default_factory=dict)
    """Fields of the task that the files tell."""
    model: dict[str, Any] = field(default_factory=dict)
    """Fields of the model that the files tell and shapes do not."""
    train: dict[str, Any] = field(default_factory=dict)
    """Fields of the training that the files tell."""
    train_index: Int[np.ndarray, " n_train"] | None = None
    """Rows of the full table, in lexicographic order of (a, b), that were trained on."""
    notes: list[str] = field(default_factory=list)
    bytes: dict[Path, int] = field(default_factory=dict)
    """Bytes of all state dicts that each file gave."""

    def add_state(self, step: int, path: Path, found: Any) -> None:
        """Add the state dict of a step.

        Raises:
            CheckpointError: it is not a state dict, or the file names the same weights again and again.
        """
        size = path.stat().st_size
        state = state_dict(path, unwrapped(found), size)
        self.bytes[path] = self.bytes.get(path, 0) + sum(part.numel() * part.element_size() for part in state.values())
        if self.bytes[path] > MOST_TIMES * size:
            raise CheckpointError(f"{path} names the same weights again and again; {REMEDY}")
        self.states[step] = (path, state)

    def add_losses(self, path: Path, name: str, values: Any, first: int = 0, every: int = 1) -> None:
        """Add a learning curve: its values are those of steps first, first + every, …"""
        for index, value in enumerate(numbers(path, name, values)):
            self.rows.setdefault(first + index * every, {})[name] = value


def numbers(path: Path, what: str, values: Any) -> list[float]:
    """A list of finite numbers; CheckpointError for anything else."""
    if not isinstance(values, list | tuple) or not 0 < len(values) <= MOST_ROWS:
        raise CheckpointError(f"{path} has {what} as {type(values).__name__:.40}; a list of numbers is expected")
    found = []
    for value in values:
        value = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
            raise CheckpointError(f"{path} has {reprlib.repr(value)} among its {what}; finite numbers are expected")
        found.append(float(value))
    return found


LARGEST = 1e300
"""Largest absolute value that a logged number may have."""


def spacing(n_train: int, n_test: int) -> int | None:
    """Number of updates between two test losses, given a train loss for each update; None if the lengths do not tell.

    If several numbers explain both lengths, the one round number among them, such as 1000, if there is just one.
    """
    guesses = [n for n in range(max(1, n_train // (n_test + 1)), n_train + 1) if -(-n_train // n) == n_test][:MOST_ROWS]
    rounds = [n for n in guesses if n % 10 ** (len(str(n)) - 1) == 0]
    return guesses[0] if len(guesses) == 1 else rounds[0] if len(rounds) == 1 else None


def whole_number(path: Path, what: str, value: Any, at_most: int = 100_000_000) -> int:
    """An integer from 0 up; CheckpointError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= at_most:
        raise CheckpointError(
            f"{path} has {reprlib.repr(value)} as its {what}; a whole number from 0 to {at_most:,} is expected"
        )
    return value


def rows_of_table(path: Path, pairs: Any, p: int) -> Int[np.ndarray, " n"]:
    """Rows a·p + b of the full table for prompts (a, b, …); CheckpointError if they are not such prompts."""
    if isinstance(pairs, Tensor):
        pairs = dense(path, "train_data", pairs, path.stat().st_size).tolist()
    if not isinstance(pairs, list | tuple) or not 0 < len(pairs) <= p * p:
        raise CheckpointError(f"{path} has no list of prompts as its train_data, or more than there are modulo {p}")
    try:
        table = np.array([[int(pair[0]), int(pair[1])] for pair in pairs]).reshape(-1, 2)
    except (TypeError, ValueError, IndexError, KeyError):
        raise CheckpointError(f"{path} has prompts that are no pairs of numbers") from None
    if table.min() < 0 or table.max() >= p:
        raise CheckpointError(f"{path} has prompts with numbers outside 0 … {p - 1}")
    index = np.unique(table @ [p, 1])
    if len(index) != len(table):
        raise CheckpointError(f"{path} has a prompt twice in its training set")
    return index
