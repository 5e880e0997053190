"""What files of others tell of a run, as read; what they leave open is found later (describe.py)."""

import math
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from interp.store.files import CheckpointError
from interp.store.foreign.pickles import REMEDY, dense, state_dict, tensor_of, unwrapped
from interp.store.foreign.stand_ins import Array
from interp.store.foreign.states import State
from interp.store.history import Row

MOST_ROWS = 2_000_000

MOST_UPDATES = 100_000_000
"""Most updates that a file is believed to state."""

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
    split_file: Path | None = None
    """File of its own that they are from, if the user gave one."""
    notes: list[str] = field(default_factory=list)
    bytes: dict[Path, int] = field(default_factory=dict)
    """Bytes of all state dicts that each file gave."""
    shared: dict[Any, list[int]] = field(default_factory=dict)
    """Steps whose state dicts are one and the same in a file, by what they share."""
    knows_steps: bool = True
    """Whether the files or the user tell after how many updates the weights are."""
    end: int = 0
    """Number of updates at the end of the curves: one after the last value, where values are of weights before an update."""
    counted: bool = True
    """Whether the files state of which steps the values of their curves are; otherwise one for each update is taken."""
    as_module: bool = False
    """Whether the weights are taken as those of some module, whatever network their names tell."""
    left: dict[str, list[str]] = field(default_factory=dict)
    """Entries of files that nothing took in, each with the names of the files that have it."""

    def add_state(self, step: int, path: Path, found: Any) -> None:
        """Add the state dict of a step, unless it is there already.

        If a file has one set of tensors for several steps, its author did not copy them: they are those of the last step, and
        are kept for it alone.

        Raises:
            CheckpointError: it is not a state dict, the file names the same weights again and again, or other weights are
                there for this step.
        """
        size = path.stat().st_size
        state = state_dict(path, unwrapped(found), size)
        steps = self.shared.setdefault((path, *[(name, *place(tensor)) for name, tensor in state.items()]), [])
        if steps and step < steps[-1]:
            steps.insert(0, step)
            return
        if not steps:
            self.bytes[path] = self.bytes.get(path, 0) + sum(
                each.numel() * each.element_size() for each in state.values()
            )
        elif step > steps[-1]:
            self.states.pop(steps[-1], None)
        steps.append(step)
        if self.bytes[path] > MOST_TIMES * size:
            raise CheckpointError(f"{path} names the same weights again and again; {REMEDY}")
        if step not in self.states:
            self.states[step] = (path, state)
        elif not equal(state, self.states[step][1]):
            both = f"{path} has" if path == self.states[step][0] else f"{path} and {self.states[step][0].name} have"
            raise CheckpointError(
                f"{both} different weights for step {step:,}; keep one of them, or convert each alone"
            )

    def add_losses(self, path: Path, name: str, values: Any, first: int = 0, every: int = 1) -> None:
        """Add a learning curve: its values are those of steps first, first + every, …"""
        found = numbers(path, name, values)
        self.add_values(path, name, {first + index * every: value for index, value in enumerate(found)})

    def add_values(self, path: Path, name: str, values: Mapping[int, float | None]) -> None:
        """Add values of a column of the history, by step. Those that are not finite stay unknown, and a note counts them."""
        found = {step: value for step, value in values.items() if value is not None and math.isfinite(value)}
        if len(found) < len(values):
            self.notes.append(f"{path.name} has a finite {name} at {len(found):,} of {len(values):,} steps")
        if name.endswith("accuracy") and max(found.values(), default=0) > 1:
            if max(found.values()) > 100:
                self.leave(path, [name])
                return
            found = {step: value / 100 for step, value in found.items()}
            self.tell(f"{name} in {path.name} is taken as percent")
        differing = 0
        for step, value in found.items():
            before = self.rows.setdefault(step, {}).get(name, value)
            differing += not math.isclose(before, value, rel_tol=1e-5)
            self.rows[step][name] = value
        if differing:
            self.notes.append(
                f"{path.name} has another {name} at {differing:,} steps than what was read before; it is taken"
            )

    def tell(self, note: str) -> None:
        """Add a note, once."""
        if note not in self.notes:
            self.notes.append(note)

    def leave(self, path: Path, names: Iterable[Any]) -> None:
        """Remember entries of a file that nothing took in."""
        for name in names:
            self.left.setdefault(name if isinstance(name, str) else reprlib.repr(name), []).append(path.name)

    def leftovers(self) -> list[str]:
        """Notes that name what nothing took in, and the steps whose weights a file does not have: many files in one note."""
        by_files: dict[tuple[str, ...], list[str]] = {}
        for name, files in self.left.items():
            by_files.setdefault(tuple(dict.fromkeys(files)), []).append(name)
        return [
            *[
                f"{key[0].name} has one set of tensors for steps {listed(map(str, sorted({*steps})), 6)}, saved without a "
                f"copy: the weights are those of step {max(steps)} alone"
                for key, steps in self.shared.items()
                if len({*steps}) > 1
            ],
            *[
                f"{listed(files, 3)} also {'has' if len(files) == 1 else 'have'} {listed(names, 20)}, not taken in"
                for files, names in by_files.items()
            ],
        ]


def place(tensor: Tensor) -> tuple[Any, ...]:
    """Where a tensor lies in memory, and how: equal for two names of one tensor alone."""
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()


def equal(state: State, other: State) -> bool:
    """Whether two state dicts have the same names and the same weights."""
    return state.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in state.items())


def listed(names: Iterable[str], most: int) -> str:
    """Names in a row, `most` at most, then the number of those that are not named."""
    names = [name[:80] for name in names]
    more = [f"{len(names) - most:,} more"] if len(names) > most else []
    *before, last = names[:most] + more
    return f"{', '.join(before)} and {last}" if before else last


def finite_or_nan(value: Any) -> float | None:
    """A number as a float: of Python's, a tensor's or an array's. NaN if it is missing or not finite, None if it is no number."""
    if isinstance(value, Tensor | Array):
        found = tensor_of(value) if isinstance(value, Array) else value
        value = found.item() if found is not None and found.numel() == 1 and found.layout == torch.strided else "none"
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < LARGEST else math.nan


def whole(value: Any) -> int | None:
    """A whole number from 0 up, of Python's, a tensor's or an array's; None for anything else."""
    number = finite_or_nan(value)
    return int(number) if number is not None and 0 <= number <= MOST_UPDATES and number == int(number) else None


def numbers_or_none(values: Any) -> list[float] | None:
    """A list, tensor or array of numbers as floats, NaN where one is missing or not finite; None for anything else."""
    if isinstance(values, Tensor | Array):
        found = tensor_of(values) if isinstance(values, Array) else values
        small = found is not None and found.ndim == 1 and found.layout == torch.strided and 0 < len(found) <= MOST_ROWS
        values = found.tolist() if found is not None and small else None
    if not isinstance(values, list | tuple) or not 0 < len(values) <= MOST_ROWS:
        return None
    found = []
    for value in values:
        number = finite_or_nan(value)
        if number is None:
            return None
        found.append(number)
    return None if all(math.isnan(number) for number in found) else found


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


def whole_number(path: Path, what: str, value: Any, at_most: int = MOST_UPDATES) -> int:
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
