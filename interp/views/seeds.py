"""Runs that differ in seeds alone: how far apart the vectors of each two of them are."""

import itertools
from collections.abc import Sequence

import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from interp.maths import geometry
from interp.maths.polygons import NONE
from interp.views.swept import swept

MATCHED = {"feature": "features", "represented": "represented features", "example": "examples"}
"""What is matched between two runs."""
MATCHED_UP_TO = 64
"""At most so many of the shown vectors of a kind are matched: the work grows with the cube."""


def between_seeds(found: Sequence[xr.Dataset]) -> pd.DataFrame:
    """A row for each two runs that differ in seeds alone: their numbers, and for each kind of vectors at the last step distance ÷
    null, the distance of the best match, and its null (`interp.maths.geometry.variability`).

    A hidden plane is compared whole. Of more dimensions two principal axes are shown, which need not be those of another run:
    such runs are left out, and so is a kind of which one of them has none.
    """
    fields = swept(found)
    columns = list(fields.columns)
    same = fields.groupby(columns, dropna=False).indices.values() if columns else [range(len(found))]
    rows = []
    for run, other in (pair for group in same for pair in itertools.combinations(sorted(group), 2)):
        row: dict[str, float] = {"run": run, "other": other}
        for kind in MATCHED:
            here, there = (chosen(found[index], kind) for index in (run, other))
            if len(here) and len(there):
                each = geometry.variability(here, there)
                row |= {kind: each.relative, f"{kind} distance": each.distance, f"{kind} null": each.null}
        rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else ["run", "other"])


def chosen(scene: xr.Dataset, kind: str) -> Float[Tensor, "n 2"]:
    """The vectors of a kind that are matched, at the last step; none unless the plane is all there is.

    Of features the longest: most are next to 0. Of examples, where there are more than are matched, evenly spaced ones in the
    order of lengths: the longest lie in few directions of a circle that is not quite round.
    """
    where = "example_plane" if kind == "example" else "feature_plane"
    if scene.attrs["d_hidden"] != 2 or where not in scene:
        return torch.zeros(0, 2)
    last = scene.isel(step=-1)
    here = torch.from_numpy(last[where].values)
    if kind == "represented":
        here = here[torch.from_numpy(last["feature_polygon"].values) != NONE]
    order = here.norm(dim=1).argsort(descending=True)
    if kind == "example" and len(here) > MATCHED_UP_TO:
        order = order[torch.linspace(0, len(here) - 1, MATCHED_UP_TO).round().long()]
    return here[order[:MATCHED_UP_TO]]
