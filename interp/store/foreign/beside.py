"""What stands beside converted weights in files of its own: which prompts were trained on, and the learning curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from torch import Tensor

from interp.base import UserError
from interp.store.foreign.contents import Contents, whole
from interp.store.foreign.curves import by_column, leave_rest, take_curves
from interp.store.foreign.pickles import load

FORM = (
    "rows of the task's table, from 0 in the order of x and then y: a column, a list in JSON or a tensor of whole numbers; or "
    "columns x and y"
)
"""What a list of trained prompts may be, for messages."""


def add_beside(found: list[Contents], split: Path | None, history: Path | None, told: Mapping[str, Any]) -> None:
    """Add the trained prompts and the curves in files of their own to the only run that was found.

    Args:
        found: the runs.
        split: file with the prompts that were trained on.
        history: file with learning curves.
        told: what the user tells of the task.

    Raises:
        UserError: there are several runs, or a file has no such thing.
        CheckpointError: a file is damaged.
    """
    for option, file in (("--split", split), ("--history", history)):
        if file is not None and len(found) != 1:
            raise UserError(
                f"{option} {file} cannot be used: it is of one run, and there are {len(found)}; convert them alone"
            )
        if file is not None and not file.is_file():
            raise UserError(f"{option} {file} is no file; give one that is, or leave it out")
    if split is not None:
        found[0].train_index, found[0].split_file = trained(split, load(split), told), split
        found[0].files.append(split)
    if history is not None:
        content = by_column(load(history))
        used = take_curves(found[0], history, content) if isinstance(content, dict) else set()
        if not used:
            raise UserError(
                f"--history {history} has no learning curve; give columns such as step, train_loss, test_loss"
            )
        leave_rest(found[0], history, content, used)
        found[0].files.append(history)


def trained(path: Path, content: Any, told: Mapping[str, Any]) -> Int[np.ndarray, " n"]:
    """Rows of the table in the content of a file, ascending; UserError if there are none, or some twice."""
    content = by_column(content)
    if isinstance(content, dict) and {"x", "y"} <= content.keys():
        if whole(told.get("p")) is None:
            raise UserError(f"--split {path} has x and y, and the modulus is not known; give --task.p too")
        x, y = (whole_numbers(path, content[name]) for name in ("x", "y"))
        if len(x) != len(y) or max(x.max(), y.max()) >= told["p"]:
            raise UserError(f"--split {path} has pairs that are not of 0 to {told['p'] - 1}; take {FORM}")
        return distinct(path, x * told["p"] + y)
    if isinstance(content, dict) and len(content) == 1:
        (content,) = content.values()
    return distinct(path, whole_numbers(path, content))


def whole_numbers(path: Path, values: Any) -> Int[np.ndarray, " n"]:
    """Whole numbers from 0 in a list or a tensor of one axis; UserError if they are none."""
    found = values.tolist() if isinstance(values, Tensor) and values.ndim == 1 else values
    numbers = [whole(each) for each in found] if isinstance(found, list) and found else [None]
    if any(number is None or number < 0 for number in numbers):
        raise UserError(f"--split {path} has no list of whole numbers; take {FORM}")
    return np.array(numbers, dtype=np.int64)


def distinct(path: Path, rows: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The rows, ascending; UserError if one is there twice."""
    found = np.unique(rows)
    if len(found) < len(rows):
        raise UserError(f"--split {path} has {len(rows) - len(found):,} prompts more than once; leave each in once")
    return found
