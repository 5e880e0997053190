"""After how many updates weights are: as a file states it, or as its name does. A number in a name is a step only by its word."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from interp.store.foreign.contents import whole
from interp.store.foreign.curves import COUNTERS, counter_of, words_of

STEP_WORDS = ("step", "update", "iteration", "iter", "it", "ckpt", "checkpoint", "epoch")
"""Words before a step in a name, the most exact first."""

NUMBERED = re.compile(
    rf"(?:(?<![A-Za-z])|(?-i:(?<=[a-z])(?=[A-Z])))(?:global[_-]?)?({'|'.join(STEP_WORDS)})s?[\s_.=:-]*(\d{{1,9}})(?![\dA-Za-z]|\.\d)",
    re.IGNORECASE,
)
"""A step in a name: a word that starts there, separators or none, and a whole number."""

RATED = re.compile(
    r"(?:(?:train|test|val|valid)[_-]?)?(?:acc(?:uracy)?|loss|ppl|err(?:or)?)[_=-]?\d+(?:\.\d+)?(?:e-?\d+)?",
    re.IGNORECASE,
)
"""How good weights are, as some write it into a name."""

FIRST = re.compile(r"(?<![A-Za-z])(init|initial|start)(?![A-Za-z])", re.IGNORECASE)
ROLES = re.compile(r"(?<![A-Za-z])(init|initial|start|best|last|latest|final|end)(?![A-Za-z])", re.IGNORECASE)
"""Words for one of the checkpoints of a run."""


class Stated(NamedTuple):
    """A number of updates, and which entry or part of a name states it."""

    step: int
    by: str


def stated_inside(found: Any) -> Stated | None:
    """The number of updates that the entries of a file state; None if they state none.

    Entries that count updates go before the optimiser's own count, and that before an epoch, which may be many updates.
    """
    if not isinstance(found, Mapping):
        return None
    counts = [
        (COUNTERS.index(counter), name, step)
        for name, value in found.items()
        if isinstance(name, str)
        and (counter := counter_of(name))
        and not is_total(name)
        and (step := whole(value)) is not None
    ]
    counts += [
        (COUNTERS.index("epoch") - 0.5, name, step)
        for name, value in found.items()
        if (step := updates(name, value)) is not None
    ]
    return Stated(min(counts)[2], min(counts)[1]) if counts else None


def is_total(name: str) -> bool:
    """Whether a counter's name is in the plural, as that of a planned number: `epochs` is 50,000 before the first."""
    return name.lower().endswith("s") and "global" not in name.lower()


def updates(name: Any, optimizer: Any) -> int | None:
    """The updates that an optimiser's state counts; None if it counts none, or not the same for all weights."""
    if not isinstance(name, str) or not {"optimizer", "optim", "opt", "optimiser"} & {*words_of(name)}:
        return None
    state = optimizer.get("state") if isinstance(optimizer, Mapping) else None
    if not isinstance(state, Mapping) or not state:
        return None
    counts = {whole(each.get("step")) if isinstance(each, Mapping) else None for each in state.values()}
    return counts.pop() if len(counts) == 1 else None


def stated_by_name(stem: str) -> Stated | None:
    """The step in a file's name: the number after a word such as step, or the whole name; None if there is neither."""
    if re.fullmatch(r"\d{1,9}", stem):
        return Stated(int(stem), "name")
    found = [(STEP_WORDS.index(each[1].lower()), int(each[2])) for each in NUMBERED.finditer(stem)]
    if found:
        return Stated(min(found)[1], "name")
    return Stated(0, "name") if FIRST.search(stem) else None


def name_without_step(stem: str, steps: set[int]) -> str:
    """What a file's name says beside its step, and how good it is: the name of its run. Numbers in `steps` go too."""
    if stem.isdigit():
        return ""
    rest = ROLES.sub("", RATED.sub("", NUMBERED.sub("", stem)))
    rest = re.sub(r"\d+", lambda number: "" if int(number[0]) in steps else number[0], rest)
    return re.sub(r"[_\s.=-]{2,}", "_", rest).strip("_-. =")


def stated_by_pattern(pattern: str, name: str) -> int | None:
    """The number where a pattern such as model_STEP.pt has STEP; None if the name does not fit it."""
    before, _, after = pattern.partition("STEP")
    found = re.fullmatch(rf"{re.escape(before)}(\d{{1,9}}){re.escape(after)}", name)
    return int(found[1]) if found else None
