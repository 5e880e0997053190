"""State dicts of known networks in no project's layout: one alone, or several checkpoints in a dictionary {epoch: state dict}.

A checkpoint of the dictionary may be wrapped together with its losses, {epoch: {"model": …, "train_loss": …}}. Lists
`train_losses` and `test_losses` beside the checkpoints are learning curves.
"""

import math
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from interp.store.files import CheckpointError
from interp.store.foreign import families
from interp.store.foreign.asked import Asked
from interp.store.foreign.contents import LARGEST, Contents, whole_number
from interp.store.foreign.nanda import add_curves
from interp.store.foreign.pickles import unwrapped
from interp.store.foreign.states import axes_of_W_O
from interp.store.foreign.transformer_lens import add_config

LAYOUT = "PyTorch"
KEY = re.compile(r"(?i:(?:(global[_ -]?step|step|epoch|iter|iteration|update|ckpt|checkpoint)s?[_ =:-]?)?)([0-9]{1,9})")
"""Keys of a dictionary of checkpoints that are text: a number, behind a word that says what it counts."""
COUNTERS = ("step", "global_step", "iteration", "epoch")
"""Names of the number of updates beside weights; an epoch counts as one."""
CURVES = ("train_losses", "test_losses")
WEIGHTS = ("model", "state_dict", "model_state_dict")
"""Names of the weights in a checkpoint that is wrapped together with other things."""
VALUES = {
    "train_loss": "train_loss", "test_loss": "test_loss", "val_loss": "test_loss",
    "train_acc": "train_accuracy", "train_accuracy": "train_accuracy", "test_acc": "test_accuracy",
    "test_accuracy": "test_accuracy", "val_acc": "test_accuracy", "val_accuracy": "test_accuracy",
}  # fmt: skip
"""Columns of a history, by the names of numbers beside a checkpoint."""


def alone(path: Path, found: Any, asked: Asked) -> list[Contents] | None:
    """Contents of a file with one state dict of a network that is no HookedTransformer, given loaded; None for another file."""
    state = unwrapped(found)
    if not families.is_known(state) or families.layout_of(state) is None:
        return None
    contents = Contents(path.stem, LAYOUT, [path])
    beside = {name: value for name, value in found.items() if not isinstance(value, Tensor) and name not in WEIGHTS}
    counted = next((name for name in COUNTERS if name in beside), None)
    if CURVES[0] in beside:
        add_curves(contents, path, beside[CURVES[0]], beside.get(CURVES[1]))
    if asked.step is not None:
        step, asked.used = asked.step, True
    elif CURVES[0] in beside:
        step = max(contents.rows) + 1
        contents.notes.append(f"the weights are taken to be those after the last of the losses, step {step}")
    elif counted is not None:
        step = whole_number(path, counted, beside[counted])
    else:
        step = 0
        contents.notes.append("the file does not say after how many updates its weights are; step 0 stands for that")
    contents.add_state(step, path, state)
    if others := sorted(map(str, beside.keys() - {*CURVES, counted})):
        contents.notes.append(f"left out, beside the weights: {', '.join(others[:8]):.200}")
    return [contents]


def by_epoch(path: Path, found: Any) -> list[Contents] | None:
    """Contents of a dictionary of checkpoints, given loaded; None for another file.

    Raises:
        CheckpointError: two keys stand for one step.
    """
    every = found if isinstance(found, dict) else {}
    steps = {
        key: step for key in every if (step := step_of(key)) is not None and families.is_known(unwrapped(every[key]))
    }
    if not steps:
        return None
    if len(set(steps.values())) < len(steps):
        raise CheckpointError(f"{path} has two checkpoints of one step among {len(steps)}; keep one of them")
    contents = Contents(path.stem, f"{LAYOUT}, state dicts by epoch", [path])
    contents.notes.append(
        "the keys of the checkpoints are taken as numbers of updates; with mini-batches an epoch has several"
    )
    for key, step in different(contents, every, steps).items():
        contents.add_state(step, path, every[key])
        add_values(contents, step, every[key])
        if axes_of_W_O(unwrapped(every[key])) == 3:
            add_config(contents, path, every[key])
    if CURVES[0] in every:
        add_curves(contents, path, every[CURVES[0]], every.get(CURVES[1]))
    beside = {str(key) for key in every if key not in steps and key not in CURVES}
    inside = {str(name) for key in steps for name, value in every[key].items() if not isinstance(value, Tensor)}
    for where, names in (
        ("the checkpoints", beside),
        ("the weights", inside - VALUES.keys() - set(WEIGHTS) - {"config", "cfg"}),
    ):
        if names:
            contents.notes.append(f"left out, beside {where}: {', '.join(sorted(names)[:8]):.200}")
    return [contents]


def step_of(key: Any) -> int | None:
    """The number that a key of a dictionary of checkpoints stands for; None for a key of another kind."""
    if isinstance(key, str) and (match := KEY.fullmatch(key)):
        return int(match[2])
    return key if isinstance(key, int) and not isinstance(key, bool) and 0 <= key < 10**9 else None


def different(contents: Contents, every: dict[Any, Any], steps: dict[Any, int]) -> dict[Any, int]:
    """Keys of the checkpoints in order of their steps; the last alone, with a note, if all are the same tensors."""
    chosen = dict(sorted(steps.items(), key=lambda each: each[1]))
    *_, last = chosen
    if len(chosen) == 1 or len({pointers(unwrapped(every[key])) for key in chosen}) > 1:
        return chosen
    contents.notes.append(
        f"the {len(chosen)} checkpoints are one and the same, as state_dict() is if it is kept without a copy; it is taken as "
        f"that of step {chosen[last]}, the last"
    )
    return {last: chosen[last]}


def pointers(state: dict[str, Tensor]) -> tuple[int, ...]:
    """Where the tensors of a state dict lie in memory."""
    return tuple(tensor.data_ptr() for tensor in state.values())


def add_values(contents: Contents, step: int, wrapped: Any) -> None:
    """Add the losses and accuracies that stand beside the weights of a step."""
    for name, value in wrapped.items():
        value = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
        if name not in VALUES or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > LARGEST:
            continue
        if "accuracy" in VALUES[name] and not 0 <= value <= 1:
            contents.notes.append(f"{name} of step {step} is left out: it is {value:g}, and no share")
        else:
            contents.rows.setdefault(step, {})[VALUES[name]] = float(value)
