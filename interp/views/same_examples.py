"""Answers of several runs on the same examples, grouped by what their seeds have in common."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from interp.base import UserError
from interp.views.swept import swept

SAMPLE = ("split", "labels")
"""Seeds of the sample: which examples are trained on, and which of them have a wrong label."""
CHANCE = ("model", "order", "noise")
"""Seeds of the training on a sample."""
FEWEST = 20
"""Examples that runs must have in common, at least, unless they have no more than that themselves."""


class Group(NamedTuple):
    """Runs that differ in seeds alone."""

    fields: tuple[Any, ...]
    """Values of the fields in which the groups differ."""
    over: str
    """In what these runs differ: seeds, samples, or seeds and samples; or one run, if there is no other."""
    runs: list[xr.Dataset]


def names(found: Sequence[xr.Dataset]) -> list[str]:
    """Fields in which the groups differ."""
    return [str(name) for name in swept(found)]


def groups(found: Sequence[xr.Dataset]) -> Iterator[Group]:
    """Groups of two or more runs: on one sample with several seeds, and with one seed on several samples.

    Runs whose every seed differs are a group of their own, if there are no others. A run that is given twice counts once.
    """
    fields = swept(found)
    keys = [tuple(row) for row in fields.itertuples(index=False)] if len(fields.columns) else [()] * len(found)
    for key in sorted(dict.fromkeys(keys), key=lambda key: tuple(map(sortable, key))):
        cell = {seeds(each, SAMPLE + CHANCE): each for each, own in zip(found, keys, strict=True) if own == key}
        runs, several = list(cell.values()), False
        for over, held in (("seeds", SAMPLE), ("samples", CHANCE)):
            for kept in dict.fromkeys(seeds(each, held) for each in runs):
                group = [each for each in runs if seeds(each, held) == kept]
                if len(group) > 1:
                    several = True
                    yield Group(key, over, group)
        if not several:
            yield Group(key, "seeds and samples" if len(runs) > 1 else "one run", runs)


def sortable(value: Any) -> tuple[bool, Any]:
    """Numbers before words, each in their order."""
    return isinstance(value, str), value


def seeds(found: xr.Dataset, which: tuple[str, ...]) -> tuple[int, ...]:
    """Some of a run's seeds."""
    known = json.loads(found.attrs["config"])["seeds"]
    return tuple(known[name] for name in which)


def answers(
    runs: Sequence[xr.Dataset], step: int
) -> tuple[Float[np.ndarray, "run example answer"], Int[np.ndarray, " example"]]:
    """What comes out of each run at a step for the examples that all have, and their right answers.

    Raises:
        UserError: they have too few test examples in common.
    """
    common = set.intersection(*(set(each["example"].values.tolist()) for each in runs))
    least = min(FEWEST, *(each.sizes["example"] for each in runs))
    if len(common) < least:
        raise UserError(
            f"the runs have {len(common)} test examples in common, and {least} are needed: seeds.split decides which are trained "
            "on and which are tested; keep it and vary the others (--vary seeds.model=0,1,2), or, for samples, take a task whose "
            "test examples are apart, such as images of idx files"
        )
    chosen = [each.sel(step=step, example=sorted(common)) for each in runs]
    return np.stack([each["output"].values for each in chosen]), chosen[0]["right"].values
