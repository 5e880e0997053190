"""Step axes that end where the data end: panels over one axis begin and end together."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from interp.figures.panels import STEPS


def to_the_ends(figure: go.Figure) -> go.Figure:
    """The figure with step axes from the first to the last step of its curves; on a logarithmic axis from the first above 0.

    Plotly would leave room around dots, and half a cell around heat maps.
    """
    traces: Any = figure.data
    if not any(True for _ in figure.select_xaxes(selector={"title.text": STEPS})):
        return figure
    parts = [np.asarray(trace.x) for trace in traces if trace.x is not None]
    steps = np.concatenate([part.astype(float) for part in parts if part.dtype.kind in "iuf"] or [np.zeros(0)])
    steps = steps[np.isfinite(steps)]
    above = steps[steps > 0]
    if not len(above) or steps.min() == steps.max():
        return figure
    first = {"linear": float(steps.min()), "log": float(above.min())}
    for axis in figure.select_xaxes():
        axis.autorangeoptions = {"minallowed": first[axis.type or "linear"], "maxallowed": float(steps.max())}
    for menu in figure.layout.updatemenus:
        for button in menu.buttons:
            scale = button.label.removesuffix(" steps")
            if scale in first:
                names = [name.removesuffix(".type") for name in button.args[0] if name.endswith(".type")]
                ends = {f"{name}.autorangeoptions.minallowed": first[scale] for name in names}
                button.args = [button.args[0] | ends]
    return figure
