"""Heights over a plane, in square panels, with the way of a run in it."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from interp.figures.panels import INK, domain


def surface(
    figure: go.Figure, values: xr.DataArray, row: int, col: int, colours: str, log: bool = False, form: str = ".3g"
) -> None:
    """Draw heights [y, x] as colours between level lines, with `log` of their logarithm; colours are those of the whole row."""
    heights = values.transpose("y", "x").values
    shown = np.log10(np.maximum(heights, np.finfo(float).tiny)) if log else heights
    figure.add_contour(
        x=values["x"].values,
        y=values["y"].values,
        z=shown,
        customdata=heights,
        coloraxis=colours,
        contours={"coloring": "heatmap"},
        line={"width": 0.6, "color": "rgba(255,255,255,0.6)"},
        ncontours=18,
        hovertemplate=f"x %{{x:.3g}}<br>y %{{y:.3g}}<br>%{{customdata:{form}}}<extra></extra>",
        row=row,
        col=col,
    )


def way(
    figure: go.Figure,
    x: Float[np.ndarray, " step"],
    y: Float[np.ndarray, " step"],
    steps: np.ndarray,
    row: int,
    col: int,
) -> None:
    """Draw the way of a run in a plane: a dot at each step, a star at the last."""
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines+markers",
        text=[f"step {step:,}" for step in steps],
        hovertemplate="%{text}<extra></extra>",
        line={"color": "white", "width": 1.5},
        marker={
            "color": "white",
            "size": [6] * (len(x) - 1) + [13],
            "symbol": ["circle"] * (len(x) - 1) + ["star"],
            "line": {"color": INK, "width": 1},
        },
        showlegend=False,
        row=row,
        col=col,
    )


def colour_bar(figure: go.Figure, colours: str, row: int, title: str, **more: object) -> None:
    """Set the colours of a row of panels, with their bar to the right of it."""
    bottom, top = domain(figure, "y", row)
    bar = {"title": {"text": title, "side": "right"}, "thickness": 12, "x": 1.02, "len": top - bottom}
    bar |= {"y": (bottom + top) / 2, "yanchor": "middle"}
    figure.update_layout({colours: {"colorscale": "Viridis", "colorbar": bar, **more}})
