"""Learning curves among the entries of a file, by the names that people give them, and the steps that they are of.

A curve may be a list, a tensor or an array; an entry of a dictionary, a column of a table, or a value in every line of a log.
Its name is read as words: `train_losses`, `trainLoss`, `Loss/train` and {"losses": {"train": …}} are all the train loss.
"""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from interp.store.foreign.contents import Contents, finite_or_nan, numbers_or_none, spacing, whole
from interp.store.foreign.pickles import unwrapped

WORDS: dict[str, str] = {
    "losses": "loss", "accuracies": "accuracy", "acc": "accuracy", "accs": "accuracy",
    "training": "train", "trn": "train",
    "testing": "test", "val": "test", "valid": "test", "validation": "test", "eval": "test", "evaluation": "test",
    "dev": "test", "heldout": "test",
    "steps": "step", "iterations": "iteration", "iter": "iteration", "iters": "iteration", "updates": "update",
    "epochs": "epoch",
}  # fmt: skip
"""Words of names, each with the one that is used for it here."""

CONTAINERS = {"history", "metrics", "metric", "log", "logs", "curves", "results", "stats", "training_history"}
"""Words for what holds curves, which say nothing of the curve."""

COUNTERS = ("step", "update", "iteration", "epoch")
"""Words for numbers of updates, the most exact first. An epoch is one update if batches are full."""

MOST_ENTRIES = 1000
"""Most entries that are looked at."""


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, in lower case and by their common form."""
    parts: list[str] = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name.rsplit(" - ", 1)[-1])
    found = [WORDS.get(part.lower(), part.lower()) for part in parts]
    return tuple(word for word in found if word not in CONTAINERS)


def column_of(name: str) -> str | None:
    """The column of the history that a name means; None if it means none. A loss of no side is taken as the train loss."""
    words = words_of(name)
    for quantity in ("loss", "accuracy"):
        if sorted(words) == sorted({quantity}):
            return f"train_{quantity}"
        for side in ("train", "test"):
            if sorted(words) == sorted({quantity, side}):
                return f"{side}_{quantity}"
    return None


def counter_of(name: str) -> str | None:
    """The counter that a name of numbers of updates means, such as "epoch" for `checkpoint_epochs`; None if it means none."""
    words = words_of(name)
    others = {"global", "checkpoint", "checkpoints", "ckpt", "saved", "save", "logged", "log", "current"}
    found = [word for word in words if word in COUNTERS]
    return found[0] if len(found) == 1 and {*words} - {*found} <= others else None


def exactness(name: str) -> tuple[int, str]:
    """Rank of a name among those that mean one column: names that say the side, and "test" rather than "val", come first."""
    literal = re.findall(r"[a-z]+", name.lower())
    return (0 if {"train", "test"} & {*literal} else 1 if len(words_of(name)) > 1 else 2), name


def flat(found: Mapping[Any, Any], depth: int = 2) -> dict[str, Any]:
    """Entries by name, those of dictionaries inside by both names joined; logs of rows as columns. No state dicts."""
    entries: dict[str, Any] = {}
    for name, value in found.items():
        value = by_column(value)
        if not isinstance(name, str) or len(entries) > MOST_ENTRIES:
            continue
        if isinstance(value, dict) and depth and not is_state(value):
            entries |= {f"{name}/{inner}": part for inner, part in flat(value, depth - 1).items()}
        else:
            entries[name] = value
    return entries


def by_column(value: Any) -> Any:
    """A list of rows, each a dictionary, as a dictionary of columns; anything else as it is."""
    if not isinstance(value, list) or not value or not all(isinstance(row, dict) for row in value):
        return value
    if any(is_state(row) for row in value[:2]):
        return value
    names = [name for name in dict.fromkeys(name for row in value for name in row) if isinstance(name, str)]
    return {name: [row.get(name, math.nan) for row in value] for name in names[:MOST_ENTRIES]}


def is_state(value: Any) -> bool:
    """Whether a value is weights: a dictionary that has matrices, bare or in a wrapper."""
    inside = unwrapped(value)
    return isinstance(inside, dict) and any(isinstance(part, Tensor) and part.ndim > 1 for part in inside.values())


def take_curves(
    contents: Contents,
    path: Path,
    found: Mapping[Any, Any],
    at: int | None = None,
    later: Iterable[str] = (),
    ignoring: Iterable[str] = (),
) -> set[str]:
    """Add every learning curve among the entries of a file; returns the names of all entries that were used.

    Args:
        contents: what the curves are added to.
        path: the file.
        found: its entries.
        at: the step that a single number is of; without one, single numbers are not used.
        later: columns whose values are of the weights after an update, not before it.
        ignoring: names of entries that are something else.
    """
    entries = {name: value for name, value in flat(found).items() if name.split("/")[0] not in ignoring}
    named: dict[str, str] = {}
    for name in sorted(entries, key=lambda name: (numbers_or_none(entries[name]) is None, exactness(name))):
        column = column_of(name)
        usable = numbers_or_none(entries[name]) is not None or (
            at is not None and finite_or_nan(entries[name]) is not None
        )
        if column and column not in named and usable:
            named[column] = name
    curves = {column: curve for column, name in named.items() if (curve := numbers_or_none(entries[name]))}
    longest = max(map(len, curves.values()), default=0)
    used = set(named.values())
    for column, curve in curves.items():
        counter = best_counter(entries, named[column], len(curve))
        if counter is not None:
            used.add(counter)
            add_at(contents, path, column, curve, counter, steps_or_none(entries[counter]) or [])
        elif not add_evenly(contents, path, column, curve, longest, first=1 if column in later else 0):
            used.discard(named[column])
    for column in named.keys() - curves.keys():
        contents.add_values(path, column, {at or 0: finite_or_nan(entries[named[column]])})
    told = [name for column, name in named.items() if "train" not in words_of(name) and column.startswith("train")]
    contents.notes += [f"{name} in {path.name} does not say of which prompts; train is taken" for name in told]
    return used


def best_counter(entries: Mapping[str, Any], curve: str, length: int) -> str | None:
    """Name of the entry that says of which steps the values of a curve are; None if there is none.

    Of several, the one that stands beside the curve, and counts updates rather than epochs.
    """
    found = [
        (name.rpartition("/")[0] != curve.rpartition("/")[0], COUNTERS.index(counter), name)
        for name, value in entries.items()
        if (counter := counter_of(name)) and (steps := steps_or_none(value)) and len(steps) == length
    ]
    return min(found)[-1] if found else None


def steps_or_none(value: Any) -> list[int] | None:
    """A list of numbers of updates; None for anything else."""
    found = numbers_or_none(value)
    if not found or not all(
        number >= 0 and number == int(number) and number < 1e9 for number in found if number == number
    ):
        return None
    return [int(number) if number == number else -1 for number in found]


def add_at(contents: Contents, path: Path, column: str, curve: list[float], counter: str, steps: list[int]) -> None:
    """Add a curve whose steps a file tells. A value without a step is left out."""
    values: dict[int, float] = {}
    again = 0
    for step, value in zip(steps, curve, strict=True):
        if step >= 0 and not (math.isnan(value) and step in values):
            again += step in values and values[step] != value and not math.isnan(values[step])
            values[step] = value
    if again:
        contents.notes.append(
            f"{path.name} has several values of {column} for {again:,} of its steps; the last is taken"
        )
    if -1 in steps:
        contents.notes.append(f"{path.name} has {steps.count(-1):,} rows without a {counter}, which are left out")
    contents.add_values(path, column, values)
    contents.end = max(contents.end, *steps)
    if counter_of(counter) == "epoch":
        contents.tell(f"{counter} in {path.name} is taken as the number of updates")


def add_evenly(contents: Contents, path: Path, column: str, curve: list[float], longest: int, first: int) -> bool:
    """Add a curve without steps: a value for each update, or if another is longer, for each n-th; whether n is known."""
    every = spacing(longest, len(curve))
    kind = column.replace("_", " ")
    if every is None:
        plural = "losses" if column.endswith("loss") else "accuracies"
        contents.notes.append(
            f"{path.name} has {longest:,} values of its longest curve and {len(curve):,} of the {kind}, which does not tell "
            f"their epochs: the {column.split('_')[0]} {plural} are left out"
        )
        return False
    contents.counted, contents.end = False, max(contents.end, longest)
    contents.add_values(path, column, {first + index * every: value for index, value in enumerate(curve)})
    if every > 1:
        contents.notes.append(f"the file has a {kind} for one epoch in {every}")
    return True


def leave_rest(contents: Contents, path: Path, found: Mapping[Any, Any], used: set[str]) -> None:
    """Remember the entries of a file that nothing took in; those of a dictionary one by one, if a part of it was used.

    A single count of updates or epochs is used, since the step was chosen by it or against it.
    """
    for name, value in found.items():
        inside = {each for each in used if isinstance(name, str) and each.startswith(f"{name}/")}
        if inside:
            contents.leave(path, [each for each in flat({name: value}) if each not in inside])
        elif name not in used and not (isinstance(name, str) and counter_of(name) and whole(value) is not None):
            contents.leave(path, [name])
