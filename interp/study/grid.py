"""Many configurations from one: every combination of values, each with several seeds."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from interp.base import UserError, near_miss
from interp.command_line import whole_number
from interp.config import RunConfig, flatten

LONGEST_NAME = 100
"""Most characters that the name of a run may have."""


def grid(base: RunConfig, seeds: int = 1, vary: Mapping[str, Sequence[Any]] | None = None) -> dict[str, RunConfig]:
    """Configurations with every combination of the values and `seeds` seeds each, by a name that says what differs.

    >>> list(grid(RunConfig(), seeds=2, vary={"train.weight_decay": [0.3, 1]}))
    ['weight_decay=0.3+seed=0', 'weight_decay=0.3+seed=1', 'weight_decay=1+seed=0', 'weight_decay=1+seed=1']

    The i-th seed adds i to each of the base's seeds (`Seeds`). The name gives the seed of the model.

    Raises:
        UserError: a field or a value that is not allowed, a value given twice, or none at all.
    """
    if seeds < 1:
        raise UserError(f"the number of seeds is {seeds}; it should be at least 1")
    empty = [field for field, values in (vary or {}).items() if not len(values)]
    if empty:
        raise UserError(f"{empty[0]} has no values to vary; give at least one")
    axes = [[(field, value) for value in values] for field, values in (vary or {}).items()]
    found: dict[str, RunConfig] = {}
    for chosen in itertools.product(*axes):
        for seed in range(seeds):
            words = [f"{field.rsplit('.', 1)[-1]}={plain(value)}" for field, value in chosen]
            numbered = seeds > 1 or not words
            name = "+".join([*words, *([f"seed={base.seeds.model + seed}"] if numbered else [])])
            config = changed(base, name, dict(chosen), seed)
            twin = next((other for other, known in found.items() if known.but(name=config.name) == config), None)
            if twin is not None:
                raise UserError(f"{name} is the same run as {twin}; give each value once")
            found[name] = config
    return found


def plain(value: Any) -> str:
    """A value as text, in characters that the name of a run may have."""
    return re.sub(r"[^\w.=@-]+", "_", str(value)).strip("_")


def changed(base: RunConfig, name: str, values: Mapping[str, Any], seed: int) -> RunConfig:
    """The base with the fields of `values` (by dotted name) replaced, and `seed` added to each of its seeds."""
    whole = f"{base.name}+{name}"
    if len(whole) > LONGEST_NAME:
        raise UserError(
            f"{whole} has more than {LONGEST_NAME} characters; vary fewer fields at a time, or shorten the name"
        )
    nested = base.model_dump()
    nested["seeds"] = {kind: value + seed for kind, value in nested["seeds"].items()}
    nested["name"] = whole
    known = {field for field in flatten(base.model_dump()) if field != "name" and not field.startswith("start.")}
    for field, value in values.items():
        if field not in known:
            raise UserError(f'no field "{field}" to vary{near_miss(field, known)}')
        section, last = field.rsplit(".", 1)
        # Whole numbers may be written as elsewhere on the command line, such as 1e4.
        whole = type(nested[section][last]) is int and isinstance(value, str) and re.fullmatch(r"\d+e\d+", value)
        nested[section][last] = whole_number(value) if whole else value
    return RunConfig(**nested)


def parse_axis(words: str) -> tuple[str, list[str]]:
    """Field and values of an axis written as `train.weight-decay=0.3,1`."""
    field, equals, values = words.partition("=")
    if not equals or not all(values.split(",")):
        raise UserError(f"--vary is {words!r}; write a field and its values, such as train.weight-decay=0.3,1,3")
    return field.replace("-", "_"), values.split(",")
