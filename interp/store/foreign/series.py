"""State dicts of known networks as several checkpoints in a dictionary {epoch: state dict}.

A checkpoint of the dictionary may be wrapped together with its losses, {epoch: {"model": …, "train_loss": …}}. Lists beside the
checkpoints may be learning curves.
"""

import re
from pathlib import Path
from typing import Any

from interp.store.files import CheckpointError
from interp.store.foreign import families
from interp.store.foreign.contents import Contents
from interp.store.foreign.curves import leave_rest, take_curves
from interp.store.foreign.pickles import unwrapped
from interp.store.foreign.saved import add_model, apart

LAYOUT = "PyTorch"
KEY = re.compile(r"(?i:(?:(global[_ -]?step|step|epoch|iter|iteration|update|ckpt|checkpoint)s?[_ =:-]?)?)([0-9]{1,9})")
"""Keys of a dictionary of checkpoints that are text: a number, behind a word that says what it counts."""


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
    for key, step in sorted(steps.items(), key=lambda each: each[1]):
        state, beside = apart(every[key])
        contents.add_state(step, path, state)
        used = add_model(contents, path, unwrapped(state), beside)
        leave_rest(contents, path, beside, used | take_curves(contents, path, beside, at=step, ignoring=used))
    rest = {name: value for name, value in every.items() if name not in steps}
    leave_rest(contents, path, rest, take_curves(contents, path, rest))
    return [contents]


def step_of(key: Any) -> int | None:
    """The number that a key of a dictionary of checkpoints stands for; None for a key of another kind."""
    if isinstance(key, str) and (match := KEY.fullmatch(key)):
        return int(match[2])
    return key if isinstance(key, int) and not isinstance(key, bool) and 0 <= key < 10**9 else None
