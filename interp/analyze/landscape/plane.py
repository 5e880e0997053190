"""A plane through a checkpoint: how does the loss look around it, and how much of the run's way lies in that plane?"""

from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from pydantic import Field, field_validator

from interp import figures
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.views.landscape import Landscape
from interp.views.plane import PLANES, Plane

MARGIN = 1.1
"""Half width of a plane of checkpoints ÷ the largest coordinate among them."""


class Options(AnalysisOptions):
    """Which plane, and how finely it is looked at."""

    directions: Literal["random", "pca", "checkpoints"] = "random"
    """random: two random directions, each filter with the norm of the checkpoint's (Li et al. 2018). pca: the two along which the
    checkpoints in view lie farthest from the last. checkpoints: through the first, the middle and the last of them."""
    points: int = Field(default=25, ge=3, le=1001)
    """Points along each side of the square; an odd number."""
    half_width: float = Field(default=0.0, ge=0)
    """Half the side of the square around the last checkpoint in view. random: in norms of the filters. Others: in units of the
    weights. 0: 1 for random, and for others just enough for all checkpoints in view."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of random directions."""

    @field_validator("points")
    @classmethod
    def _has_a_middle(cls, points: int) -> int:
        if points % 2 == 0:
            raise ValueError(f"should be odd, so that the checkpoint is one of them; take {points + 1}")
        return points


VARIABLES: Variables = {
    "loss": Var("split y x", "loss at a point of the plane", "{loss_units}"),
    "accuracy": Var("split y x", "accuracy at a point of the plane", "1"),
    "along_x": Var("step", "x of the checkpoint's projection into the plane"),
    "along_y": Var("step", "y of the checkpoint's projection into the plane"),
    "share_held": Var("step", "share of the squared distance from the centre that lies in the plane", "1"),
}


def measure(seen: Landscape, options: Options) -> xr.Dataset:
    """Loss and accuracy on a grid of a plane through the last checkpoint in view, and where the others lie in it.

    On training and test examples; on all where files of others do not tell which are which. Accuracies of vectors are left out.
    """
    plane = PLANES[options.directions](seen, options.seed)
    splits = [name for name in seen.parts if name != "all" and len(seen.parts[name])] or ["all"]
    half = options.half_width or auto(plane, options)
    axis = np.linspace(-half, half, options.points)
    heights = np.stack([plane.heights(seen.parts[split], axis) for split in splits])
    classes = seen.run.task.shape.outputs.kind == "classes"
    found = {
        "loss": heights[:, 0],
        **({"accuracy": heights[:, 1]} if classes else {}),
        "along_x": plane.way["x"],
        "along_y": plane.way["y"],
        "share_held": plane.way["share"],
    }
    return dataset(
        seen.run,
        options,
        found,
        VARIABLES,
        coords={"split": splits, "y": axis, "x": axis},
        definition="the last checkpoint in view + x·u + y·v over the weights that learn; random: u, v normal, each filter (the "
        "weights into one unit) scaled to the norm of the checkpoint's, 0 for biases and scales; pca: of the differences from "
        "the last checkpoint, not centred, length 1; checkpoints: orthonormal, u toward the first; projections are orthogonal",
        source="Li et al. 2018 (arXiv 1712.09913), sections 4 and 7; through three networks: Garipov et al. 2018",
    ).assign_attrs(centre=seen.run.final.step, held=plane.held)


def auto(plane: Plane, options: Options) -> float:
    """Half width that was not given."""
    return 1.0 if options.directions == "random" else MARGIN * float(np.abs([plane.way["x"], plane.way["y"]]).max())


ABOUT = {
    "random": "two random directions, filter-normalised",
    "pca": "the run's two largest principal components",
    "checkpoints": "through three checkpoints",
}


AXES = {
    "random": ("along the first direction (filters' norms)", "along the second direction (filters' norms)"),
    "pca": ("along component 1 (units of the weights)", "along component 2 (units of the weights)"),
    "checkpoints": (
        "toward the first checkpoint (units of the weights)",
        "toward the middle one (units of the weights)",
    ),
}
"""Names of the two directions of each plane, with their units."""


def draw(found: xr.Dataset) -> go.Figure:
    """Logarithm of the loss above the accuracy, where there is one, by split; white: the run, a star at its end."""
    options, splits = Options.model_validate_json(found.attrs["options"]), list(found["split"].values)
    rows = ["loss", *(["accuracy"] if "accuracy" in found else [])]
    titles = [f"{split} {name}" for name in rows for split in splits]
    held = "" if np.isnan(found.attrs["held"]) else f"; it holds {100 * found.attrs['held']:.3g} % of the run's motion"
    title = f"Plane around step {found.attrs['centre']:,}: {ABOUT[options.directions]}{held}"
    heights = [6.0 if len(splits) > 1 else 10.0] * len(rows)
    figure = figures.panels(titles, heights=heights, title=title, columns=len(splits), over_steps=False)
    for row, name in enumerate(rows, start=1):
        colours = "coloraxis" if row == 1 else f"coloraxis{row}"
        for col, split in enumerate(splits, start=1):
            figures.surface(figure, found[name].sel(split=split), row, col, colours, log=name == "loss")
            figures.way(figure, found["along_x"].values, found["along_y"].values, found["step"].values, row, col)
        if name == "loss":
            figures.colour_bar(figure, colours, row, f"log₁₀ loss ({found['loss'].attrs['units']})")
        else:
            figures.colour_bar(figure, colours, row, "accuracy", cmin=0, cmax=1)
    x, (along, across) = found["x"].values, AXES[options.directions]
    figure.update_xaxes(range=[x[0], x[-1]], constrain="domain").update_yaxes(range=[x[0], x[-1]])
    figure.update_xaxes(showticklabels=False).update_yaxes(title_text=across)
    figure.update_xaxes(title_text=along, showticklabels=True, row=len(rows))
    return figure


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Where each checkpoint lies in the plane, and how much of its way to the last one the plane holds."""
    table = by_step(found)
    for name, label in (("along_x", "x"), ("along_y", "y"), ("share_held", "share in the plane")):
        table[label] = found[name].values
    for split in found["split"].values:
        table[f"{split} loss"] = found[f"{split}_loss"].values if f"{split}_loss" in found else np.nan
    return table
