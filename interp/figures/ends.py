"""Step axes that end where the data end: panels over one axis begin and end together."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from interp.figures.panels import STEPS


def to_the_ends(figure: go.Figure) -> go.Figure:
    """The figure with step axes from the first to the last step of its curves; on a logarithmic axis from the first above 0.

    Plotly would leave room around dots, and half a cell around heat maps. Axes of anything else stay as they are.
    """
    traces: Any = figure.data
    axes = over_steps(figure)
    names = {axis.plotly_name.replace("axis", "") for axis in axes}
    parts = [np.asarray(trace.x) for trace in traces if trace.x is not None and (trace.xaxis or "x") in names]
    steps = np.concatenate([part.astype(float) for part in parts if part.dtype.kind in "iuf"] or [np.zeros(0)])
    steps = steps[np.isfinite(steps)]
    above = steps[steps > 0]
    if not len(above) or steps.min() == steps.max():
        return figure
    first = {"linear": float(steps.min()), "log": float(above.min())}
    for axis in axes:
        axis.autorangeoptions = {"minallowed": first[axis.type or "linear"], "maxallowed": float(steps.max())}
    for menu in figure.layout.updatemenus:
        for button in menu.buttons:
            scale = button.label.removesuffix(" steps")
            if scale in first:
                scaled = [name.removesuffix(".type") for name in button.args[0] if name.endswith(".type")]
                ends = {f"{name}.autorangeoptions.minallowed": first[scale] for name in scaled}
                button.args = [button.args[0] | ends]
    return figure


def over_steps(figure: go.Figure) -> list[Any]:
    """Horizontal axes that are called steps, or share their numbers with one that is."""

    def shared(axis: Any) -> str:
        """The axis whose numbers it has: another, or itself."""
        return axis.matches or axis.plotly_name.replace("axis", "")

    called = {shared(axis) for axis in figure.select_xaxes(selector={"title.text": STEPS})}
    return [axis for axis in figure.select_xaxes() if shared(axis) in called]
