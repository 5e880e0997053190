"""Way of the weights: how straight is it, how far does it lead, and how few directions hold it, beside a random walk?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from pydantic import Field

from interp import figures
from interp.maths import trajectories
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.views.way import Way


class Options(AnalysisOptions):
    """How much is told of the components."""

    components: int = Field(default=3, ge=1)
    """Principal components that are told, largest first; at most one less than checkpoints."""


VARIABLES: Variables = {
    "position": Var("step component", "coordinate along a principal component"),
    "component_share": Var("component", "share of the variance of the weights over checkpoints", "1"),
    "walk_share": Var("component", "that share for a random walk whose moves are as long", "1"),
    "beside_share": Var("component", "that share in the runs beside, median", "1"),
    "path_length": Var("step", "length of the way up to here, straight from checkpoint to checkpoint"),
    "displacement": Var("step", "distance from the first checkpoint in view"),
    "length_ratio": Var("step", "path length ÷ displacement", "1"),
    "cosine_start": Var("step", "cosine of the weights with those of the first checkpoint in view", "1"),
    "cosine_end": Var("step", "cosine of the weights with those of the last checkpoint in view", "1"),
}


def measure(seen: Way, options: Options) -> xr.Dataset:
    """Principal components of the weights over checkpoints, lengths of the way, cosines to its ends; a random walk beside."""
    motion = seen.motion()
    found = trajectories.principal(motion.moved, options.components)
    walk = trajectories.principal(trajectories.random_walk(motion.lengths), options.components)
    length, away = trajectories.path_length(motion.lengths), trajectories.displacement(motion.moved)
    return dataset(
        seen.run,
        options,
        {
            "position": found.positions.numpy(),
            "component_share": found.shares.numpy(),
            "walk_share": walk.shares.numpy(),
            "path_length": length.numpy(),
            "displacement": away.numpy(),
            "length_ratio": (length / away.where(away > 0, np.nan)).numpy(),
            "cosine_start": trajectories.cosines(motion.products, 0).numpy(),
            "cosine_end": trajectories.cosines(motion.products, -1).numpy(),
        },
        VARIABLES,
        coords={"component": np.arange(1, len(found.shares) + 1)},
        definition="of all parameters as one vector, every checkpoint in view once, whatever steps lie between; components of "
        "the centred weights, the last checkpoint on the positive side; random walk: moves as long as between these checkpoints, "
        "at right angles to each other, as in very many dimensions; path length ÷ displacement is 1 on a straight line, and a "
        "lower bound between checkpoints; NaN where nothing has moved",
        source="components of weights over training: Li et al. 2018 (arXiv 1712.09913), section 7; of a random walk: Antognini & "
        "Sohl-Dickstein 2018 (arXiv 1806.08805)",
    )


def against(found: xr.Dataset, beside: Sequence[xr.Dataset]) -> xr.Dataset:
    """The measurement with the shares of the components in the runs beside it, such as its null twins; their median."""
    theirs = [each["component_share"].reindex(component=found["component"].values).values for each in beside]
    values = VARIABLES["beside_share"].labelled(np.median(theirs, axis=0), {})
    names = " ".join(sorted({each.attrs["run"] for each in beside}))
    return found.assign(beside_share=values).assign_attrs(beside=names)


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above components, cosines and lengths over steps; and the way in the plane of the first two components."""
    shares = {"": "component_share", "random walk ": "walk_share", "runs beside ": "beside_share"}
    told = [name + in_per_cent(found[variable].values) for name, variable in shares.items() if variable in found]
    figure = figures.panels(
        [
            "loss",
            f"principal components of the weights, with {'; '.join(told)} of the variance",
            "cosine with the weights at the ends",
            "length of the way, and distance from its beginning",
            "path length ÷ displacement: 1 on a straight line",
            "the way in the plane of the first two components",
        ],
        heights=[3, 4, 3, 3, 3, 6],
        title="Way of the weights",
        gap=70,
    )
    figures.losses(figure, found, row=1)
    for number, colour in zip(found["component"].values, figures.PALETTE, strict=False):
        figures.line(figure, found["position"].sel(component=number), f"component {number}", colour, row=2)
    ends = (("cosine_start", "first checkpoint"), ("cosine_end", "last checkpoint"))
    lengths = (("path_length", "path length"), ("displacement", "displacement"))
    for row, curves in ((3, ends), (4, lengths), (5, (("length_ratio", "ratio"),))):
        for (name, label), colour in zip(curves, figures.PALETTE, strict=False):
            figures.line(figure, found[name], label, colour, row)
    figures.level(figure, 1, row=5)
    for row, title in ((2, "weights"), (3, "cosine"), (4, "weights"), (5, "ratio")):
        figure.update_yaxes(title_text=title, row=row)
    if found.sizes["component"] > 1:
        x, y = found["position"].values[:, 0], found["position"].values[:, 1]
        figures.way(figure, x, y, found["step"].values, row=6, col=1)
        look = {"line": {"color": figures.PALETTE[0]}, "marker": {"color": figures.PALETTE[0]}}
        figure.update_traces(look, selector={"mode": "lines+markers"})
    figures.own_axes(figure, {6: "component 1"})
    figure.update_yaxes(title_text="component 2", row=6)
    return figures.mark_transition(figure, found, rows=5)


def in_per_cent(shares: np.ndarray) -> str:
    """Shares in words: 71, 12 and 5 %."""
    *others, last = (f"{100 * share:.3g}" for share in shares)
    return f"{', '.join(others)} and {last} %" if others else f"{last} %"


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Components, lengths and cosines at each step; shares of the variance stand in the names of the components."""
    table = by_step(found)
    for number, share in zip(found["component"].values, found["component_share"].values, strict=True):
        table[f"component {number} ({100 * share:.3g} %)"] = found["position"].sel(component=number).values
    for name in ("path_length", "displacement", "length_ratio", "cosine_start", "cosine_end"):
        table[name.replace("_", " ")] = found[name].values
    return table
