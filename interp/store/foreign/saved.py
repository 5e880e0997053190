"""Weights that somebody saved, one state dict or several to a file, and what stands beside them: counters, curves, a config."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from interp.store.files import CheckpointError
from interp.store.foreign.asked import Asked
from interp.store.foreign.contents import Contents, whole
from interp.store.foreign.curves import counter_of, is_state, leave_rest, steps_or_none, take_curves
from interp.store.foreign.nanda import LAYOUT as NANDA
from interp.store.foreign.nanda import is_theirs, told_by_the_paper
from interp.store.foreign.pickles import WRAPPERS, unwrapped
from interp.store.foreign.states import axes_of_W_O, is_known
from interp.store.foreign.steps import Stated, name_without_step, stated_by_name, stated_inside
from interp.store.foreign.transformer_lens import LAYOUT, add_config

LISTS = ("state_dicts", "checkpoints", "models", "weights", "snapshots", "saved", "model_state_dicts")
"""Names that people give a list of state dicts."""


@dataclass(frozen=True)
class Saved:
    """A loaded file with the weights of one step."""

    path: Path
    state: dict[Any, Any]
    """The state dict, out of its wrapper."""
    beside: dict[Any, Any]
    """All other entries of the file."""
    stated: Stated | None
    """The step, as the user, the file or its name tells it."""

    @property
    def run(self) -> str:
        """What the file's name says beside the step: the name of the run."""
        counts = {whole(value) for name, value in self.beside.items() if isinstance(name, str) and counter_of(name)}
        stated = {self.stated.step} if self.stated else set[int]()
        return name_without_step(self.path.stem, stated | {count for count in counts if count is not None})


def saved(path: Path, found: Any, asked: Asked) -> Saved | None:
    """The weights in a loaded file; None if it has none, or those of several steps."""
    if not isinstance(found, dict):
        return None
    state, beside = apart(found)
    if not is_known(unwrapped(state)):
        return None
    inside = stated_inside(beside)
    if is_theirs(found) and (epoch := whole(found["epoch"])) is not None:
        inside = Stated(epoch + 1, "epoch, after its update")
    return Saved(path, unwrapped(state), beside, asked.told(path) or inside or stated_by_name(path.stem))


def apart(found: dict[Any, Any]) -> tuple[Any, dict[Any, Any]]:
    """The entry with the weights, and the others. A bare state dict may have others among its tensors."""
    name = next((name for name in WRAPPERS if isinstance(found.get(name), dict)), None)
    if name is not None:
        inside = {} if is_known(found[name]) else found[name]
        state, more = (
            apart(inside) if any(isinstance(inside.get(each), dict) for each in WRAPPERS) else (found[name], {})
        )
        return state, more | {other: value for other, value in found.items() if other != name}
    beside = {
        name: value for name, value in found.items()
        if isinstance(name, str) and "." not in name and not isinstance(value, Tensor)
    }  # fmt: skip
    return {name: value for name, value in found.items() if name not in beside}, beside


def alone(path: Path, found: Any, asked: Asked) -> list[Contents] | None:
    """Contents of a file with one state dict, given loaded; None for another file.

    Where nothing states the step, and curves stand beside the weights, these are taken as those at the end of the curves.
    """
    each = saved(path, found, asked)
    if each is None:
        return None
    contents = Contents(path.stem, layout_of(each.state), [path])
    if asked.step is not None:
        add_saved(contents, each, asked.step)
        if each.stated and each.stated.step != asked.step:
            contents.tell(f"step {asked.step} is given, where {path.name} says {each.stated.step} ({each.stated.by})")
        asked.used = True
    elif each.stated:
        add_saved(contents, each, each.stated.step)
        contents.tell(f"step {each.stated.step} of {path.name} is taken from its {each.stated.by}")
    else:
        add_at_the_end_of_curves(contents, each)
    return [contents]


def add_at_the_end_of_curves(contents: Contents, each: Saved) -> None:
    """Add weights of a step that nothing states: the end of the curves beside them, and without curves 0, as unknown."""
    end = end_of_curves(each)
    add_saved(contents, each, end)
    contents.knows_steps = end > 0
    if end:
        contents.tell(
            f"{each.path.name} does not say of which step its weights are; the end of its curves, {end}, is taken"
        )


def end_of_curves(each: Saved) -> int:
    """Number of updates at the end of the curves beside weights; 0 if there are none."""
    trial = Contents("", "", [])
    take_curves(trial, each.path, each.beside)
    return trial.end


def add_saved(contents: Contents, each: Saved, step: int) -> None:
    """Add the weights of a file at a step, with its curves and configuration; the rest is remembered as left."""
    contents.add_state(step, each.path, each.state)
    if each.stated == Stated(step, "epoch"):
        contents.tell("the epochs that files state are taken as numbers of updates")
    used = add_model(contents, each.path, each.state, each.beside)
    used |= take_curves(contents, each.path, each.beside, at=step, ignoring=used)
    leave_rest(contents, each.path, each.beside, used)


def add_model(contents: Contents, path: Path, state: dict[Any, Any], beside: dict[Any, Any]) -> set[str]:
    """Add what a file tells of the model beside the weights' shapes; returns the names of the entries that it read."""
    if axes_of_W_O(state) == 2:
        told_by_the_paper(contents)
        return set()
    return add_config(contents, path, beside)


def layout_of(state: Any) -> str:
    """Whose layout a state dict has."""
    return NANDA if axes_of_W_O(state) == 2 else LAYOUT


def several(path: Path, found: Any) -> list[Contents] | None:
    """Contents of a dictionary with several state dicts in one entry, given loaded; None for another file."""
    if isinstance(found, list) and are_states(found):
        found = {LISTS[0]: found}
    if not isinstance(found, dict):
        return None
    name = next((name for name in LISTS if are_states(found.get(name))), None)
    if name is None:
        return None
    beside = {other: value for other, value in found.items() if other != name}
    states, steps, counter = in_order(path, name, found[name], beside)
    contents = Contents(path.stem, f"{layout_of(unwrapped(states[0]))}, several state dicts in a file", [path])
    contents.knows_steps = bool(counter)
    for step, state in zip(steps, states, strict=True):
        contents.add_state(step, path, state)
    if counter_of(counter) == "epoch":
        contents.tell(f"{counter} in {path.name} is taken as the number of updates")
    config = add_model(contents, path, unwrapped(states[0]), beside)
    used = config | take_curves(contents, path, beside, ignoring=config)
    leave_rest(contents, path, beside, used | {counter})
    return [contents]


def are_states(value: Any) -> bool:
    """Whether a value is several state dicts of transformers, in a list or by their steps."""
    each = (
        list(value.values()) if isinstance(value, dict) and all(key_step(key) is not None for key in value) else value
    )
    return (
        isinstance(each, list | tuple)
        and bool(each)
        and all(is_state(one) and is_known(unwrapped(one)) for one in each)
    )


def key_step(key: Any) -> int | None:
    """The step that a key of a dictionary of state dicts stands for; None for another key."""
    return int(key) if isinstance(key, str) and key.isdecimal() and len(key) < 10 else whole(key)


def in_order(path: Path, name: str, states: Any, beside: dict[Any, Any]) -> tuple[list[Any], list[int], str]:
    """Several state dicts, their steps, and the entry that states these; 0, 1, 2, … and no entry if none does.

    Raises:
        CheckpointError: there are lists of steps, and none has a different step for each.
    """
    if isinstance(states, dict):
        return list(states.values()), [key_step(key) or 0 for key in states], name
    lists = {entry: steps for entry, value in beside.items() if isinstance(entry, str) and counter_of(entry)
             and (steps := steps_or_none(value))}  # fmt: skip
    fitting = [
        entry for entry, steps in lists.items() if len(steps) == len(states) == len(set(steps)) and min(steps) >= 0
    ]
    if fitting:
        return list(states), lists[fitting[0]], fitting[0]
    if lists:
        other, steps = next(iter(lists.items()))
        raise CheckpointError(
            f"{path} has {len(states):,} {name} and {len(steps):,} {other}; a different step for each is expected"
        )
    return list(states), list(range(len(states))), ""
