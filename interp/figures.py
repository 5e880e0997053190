"""Figures in one style, by plotly: labelled arrays in, a Figure out; train blue, test orange, the transition marked."""

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float
from plotly.subplots import make_subplots

TRAIN, TEST, QUIET, INK = "#2563ab", "#e8730c", "#8a93a0", "#1f2933"
PALETTE = ("#5b3a9b", "#0f8a6d", "#c2255c", "#8d6e00", "#0b7285", "#d9480f", "#495057")
"""Colours of everything that is neither train nor test."""
PIXELS_PER_HEIGHT = 62
LABELLED_UP_TO = 64
"""Most points in a plane that are labelled with their numbers. More would overlap; they show their number under the mouse."""
FONT = "Inter, 'Helvetica Neue', Arial, sans-serif"


def panels(titles: list[str], heights: list[float], title: str, columns: int = 1, over_steps: bool = True) -> go.Figure:
    """An empty figure of panels in a grid, filled row by row; with `over_steps` they share the step axis."""
    rows = len(heights)
    inside = PIXELS_PER_HEIGHT * sum(heights)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_xaxes=over_steps,
        row_heights=heights,
        subplot_titles=[html.escape(name) for name in titles],
        vertical_spacing=46 / (inside + 46 * (rows - 1)) if rows > 1 else 0,
        horizontal_spacing=0.07,
    )
    figure.update_layout(
        title={"text": html.escape(title), "x": 0, "xref": "paper", "xanchor": "left", "font": {"size": 18}},
        template="plotly_white",
        font={"family": FONT, "size": 13, "color": INK},
        height=inside + 46 * (rows - 1) + 160,
        margin={"l": 70, "r": 130, "t": 95, "b": 65},
        hovermode="x" if over_steps else "closest",
    )
    for row in range(1, rows + 1):
        left, top = domain(figure, "x", row)[0], domain(figure, "y", row)[1]
        figure.update_layout(
            {legend_of(row): {"x": 1.02, "y": top, "xanchor": "left", "yanchor": "top", "font": {"size": 12}}}
        )
        for annotation in (
            figure.select_annotations(selector={"text": html.escape(titles[row - 1])}) if over_steps else ()
        ):
            annotation.update(x=left, xanchor="left")
    figure.update_annotations(font_size=13)
    figure.update_xaxes(gridcolor="#e9edf1", zeroline=False).update_yaxes(gridcolor="#e9edf1", zeroline=False)
    if over_steps:
        figure.update_xaxes(title_text="step (optimiser updates)", row=rows, col=1)
        figure.update_layout(updatemenus=[step_axis_buttons(rows)])
    return figure


def domain(figure: go.Figure, axis: str, row: int) -> tuple[float, float]:
    """Begin and end of an axis of the first panel of a row, as shares of the figure, 0 to 1."""
    begin, end = next(
        iter(figure.select_xaxes(row=row, col=1) if axis == "x" else figure.select_yaxes(row=row, col=1))
    ).domain
    return begin, end


def caption(figure: go.Figure, text: str) -> go.Figure:
    """The figure with a caption in small letters at its foot."""
    shift = 18 - (figure.layout.margin.b or 80)  # plotly's default margin
    foot = {"xref": "paper", "yref": "paper", "x": 0, "y": 0, "xanchor": "left", "yanchor": "top", "yshift": shift}
    return figure.add_annotation(text=html.escape(text), showarrow=False, font={"size": 10, "color": QUIET}, **foot)


OWN_SCALE = "its own scale"
"""Mark of a curve whose heights are shares of what its own run did, and not those of another."""


def behind(figure: go.Figure, others: Sequence[go.Figure], about: str) -> go.Figure:
    """The figure with a band behind each of its curves: from the lowest to the highest of the same curve in other figures.

    A curve is known again by its panel and its name. Between the steps of another figure it is taken to be straight, and the
    band ends where one of them does. Curves of a single step, such as those of untrained networks, have a band of their own,
    with dotted edges, at one height throughout. `about` is what the others are, and is told in the title. A figure that moves
    stays as it is.
    """
    if figure.frames or not others:
        return figure
    known = [curves_of(other, at_least=1) for other in others]
    bands = []
    for key, trace in curves_of(figure).items():
        theirs = [points(each[key]) for each in known if key in each]
        steps = np.asarray(trace.x, dtype=float)
        lasting = [np.interp(steps, x, y, np.nan, np.nan) for x, y in theirs if len(x) > 1]
        level = [np.full(len(steps), y[0]) for x, y in theirs if len(x) == 1]
        kinds = ((level, LEVEL), (lasting, SHADE))
        bands += [band(trace, np.array(heights), about, look) for heights, look in kinds if heights]
    whole = go.Figure([*bands, *figure.data], figure.layout)
    title = figure.layout.title.text or ""
    return whole.update_layout(title_text=f"{title}<br><sup>shaded: {html.escape(about)}</sup>" if bands else title)


SHADE = {"opacity": 0.2, "mode": "lines", "line_width": 1}
"""Look of a band over steps."""
LEVEL = {"opacity": 0.35, "mode": "lines", "line_dash": "dot", "line_width": 1}
"""Look of a band at one height."""


def band(trace: Any, heights: Float[np.ndarray, "other step"], about: str, look: dict[str, Any]) -> go.Scatter:
    """From the lowest to the highest at the steps of a curve, in its colour; where one is NaN, there is none."""
    here = ~np.isnan(heights).any(axis=0)
    x, low, high = np.asarray(trace.x)[here], heights.min(axis=0)[here], heights.max(axis=0)[here]
    return go.Scatter(
        x=np.r_[x, x[::-1]], y=np.r_[high, low[::-1]], xaxis=trace.xaxis, yaxis=trace.yaxis, legendgroup=trace.legendgroup,
        fill="toself", fillcolor=trace.line.color, line_color=trace.line.color, hoverinfo="skip", showlegend=False,
        name=f"{about}: {trace.name}", **look,
    )  # fmt: skip


Key = tuple[str, str, int]
"""A curve in a figure: the axis of its panel, its name, and how many of that name came before."""


def curves_of(figure: go.Figure, at_least: int = 2) -> dict[Key, Any]:
    """Curves of a figure over numbers, of at least so many points, by panel and name."""
    found: dict[Key, Any] = {}
    traces: Any = figure.data
    for trace in traces:
        if trace.type != "scatter" or trace.mode != "lines" or trace.x is None or len(trace.x) < at_least:
            continue
        if trace.meta == OWN_SCALE:
            continue
        if not np.issubdtype(np.asarray(trace.x).dtype, np.number) or trace.fill == "toself":
            continue
        number = sum(key[:2] == (trace.yaxis, trace.name) for key in found)
        found[trace.yaxis, trace.name, number] = trace
    return found


def points(trace: Any) -> tuple[np.ndarray, np.ndarray]:
    """Where a curve is known."""
    x, y = np.asarray(trace.x, dtype=float), np.asarray(trace.y, dtype=float)
    known = ~np.isnan(y)
    return (x[known], y[known]) if known.any() else (np.zeros(1), np.full(1, np.nan))


def legend_of(row: int) -> str:
    """Name of the legend beside a panel."""
    return "legend" if row == 1 else f"legend{row}"


def step_axis_buttons(rows: int) -> dict[str, Any]:
    """Two buttons that set every panel's step axis to a linear or a logarithmic scale."""
    axes = ["xaxis" if row == 1 else f"xaxis{row}" for row in range(1, rows + 1)]
    scales = ("linear", "log")
    return {
        "type": "buttons",
        "direction": "right",
        "x": 1,
        "y": 1,
        "xanchor": "right",
        "yanchor": "bottom",
        "pad": {"b": 28},
        "font": {"size": 11},
        "buttons": [
            {
                "label": f"{scale} steps",
                "method": "relayout",
                "args": [{f"{axis}.type": scale for axis in axes} | {f"{axis}.autorange": True for axis in axes}],
            }
            for scale in scales
        ],
    }


def line(
    figure: go.Figure, values: xr.DataArray, name: str, colour: str, row: int = 1, dash: str = "solid", **more: Any
) -> None:
    """Draw one curve over steps, named in the legend beside its panel."""
    figure.add_scatter(
        x=values["step"].values,
        y=values.values,
        name=html.escape(name),
        mode="lines",
        line={"color": colour, "dash": dash, "width": 2},
        connectgaps=True,  # over steps at which a value was not logged
        legend=legend_of(row),
        row=row,
        col=1,
        **more,
    )


def error_band(
    figure: go.Figure, values: xr.DataArray, error: xr.DataArray, colour: str, row: int = 1, **more: Any
) -> None:
    """Shade one standard error to either side of a curve over steps; nothing where it is not known."""
    known = np.flatnonzero(error.notnull().values)
    steps, middle, by = (each.values[known] for each in (values["step"], values, error))
    if len(known):
        shade(figure, steps, middle - by, middle + by, colour, row, **more)


def shade(
    figure: go.Figure, steps: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str, row: int, **more: Any
) -> None:
    """Shade what lies between two curves over the same steps."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    figure.add_scatter(
        x=np.concatenate([steps, steps[::-1]]),
        y=np.concatenate([high, low[::-1]]),
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.18)",
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        row=row,
        col=1,
        **more,
    )


def losses(figure: go.Figure, found: xr.Dataset, row: int = 1) -> None:
    """Draw train and test loss on a logarithmic axis."""
    for split, colour in (("train", TRAIN), ("test", TEST)):
        line(figure, found[f"{split}_loss"], f"{split} loss", colour, row)
    both = found[["train_loss", "test_loss"]].to_array()
    smallest, largest = float(both.min()), float(both.max())
    decades = math.log10(largest / smallest) if 0 < smallest < largest < math.inf else 0.0
    ticks: dict[str, Any] = (
        {"dtick": math.ceil(decades / 6)} if decades >= 2 else {"nticks": 6}
    )  # whole powers of ten where there are
    figure.update_yaxes(
        title_text=f"loss ({found['train_loss'].attrs.get('units', 'nats')})",
        type="log",
        exponentformat="power",
        row=row,
        col=1,
        **ticks,
    )


def accuracies(figure: go.Figure, found: xr.Dataset, row: int = 1) -> None:
    """Draw train and test accuracy in per cent."""
    for split, colour in (("train", TRAIN), ("test", TEST)):
        line(figure, found[f"{split}_accuracy"], f"{split} accuracy", colour, row)
    figure.update_yaxes(title_text="accuracy", tickformat=".0%", range=[-0.02, 1.04], row=row, col=1)


def level(figure: go.Figure, y: float, row: int = 1, col: int = 1) -> None:
    """Draw a dotted horizontal line at a reference value."""
    line = {"color": QUIET, "dash": "dot", "width": 1}
    figure.add_shape(type="line", xref="x domain", x0=0, x1=1, y0=y, y1=y, line=line, row=row, col=col)


def stretch(figure: go.Figure, begin: float, end: float, colour: str, row: int = 1) -> None:
    """Shade a range of the horizontal axis in another colour, behind everything."""
    box = {"fillcolor": colour, "line_width": 0, "layer": "below"}
    figure.add_shape(type="rect", yref="y domain", x0=begin, x1=end, y0=0, y1=1, row=row, col=1, **box)


def heatmap(figure: go.Figure, values: xr.DataArray, row: int, colorbar: str | None = None) -> None:
    """Draw a heatmap over step (horizontal) and the other dimension (vertical)."""
    other = next(str(dim) for dim in values.dims if dim != "step")
    bottom, top = domain(figure, "y", row)
    figure.add_heatmap(
        x=values["step"].values,
        y=values[other].values,
        z=values.transpose(other, "step").values,
        colorscale="Viridis",
        zmin=0,
        hovertemplate=f"step %{{x}}<br>{other} %{{y}}<br>%{{z:.3f}}<extra></extra>",
        colorbar={
            "title": {"text": colorbar or "", "side": "right"},
            "x": 1.02, "xanchor": "left", "thickness": 12, "len": top - bottom, "y": (bottom + top) / 2,
        },
        row=row,
        col=1,
    )  # fmt: skip


def mark_transition(figure: go.Figure, found: xr.Dataset) -> go.Figure:
    """The figure with dotted lines at the steps of memorisation, generalisation and collapse, named in the first panel."""
    rows = sum(1 for _ in figure.select_yaxes())
    # A line higher than the other: in a short run they would lie on each other.
    marks = (("memorised", TRAIN, "<br> "), ("generalised", TEST, ""), ("collapsed", INK, "<br> <br> "))
    for name, colour, below in marks:
        step = found.attrs.get(name, math.nan)
        if math.isnan(step):
            continue
        for row in range(1, rows + 1):
            label = {
                "text": f"{name} {step:,.0f}{below}",
                "textposition": "start",
                "textangle": 0,
                "xanchor": "left",
                "yanchor": "bottom",
            }
            font = {"font": {"color": colour, "size": 11}, "padding": 4}
            where: Any = {"row": row, "col": 1}
            figure.add_vline(
                x=step,
                line={"color": colour, "dash": "dot", "width": 1.5},
                label=label | font if row == 1 else {},
                **where,
            )
    return figure


def planes(
    clouds: list[xr.DataArray], names: list[str], columns: int, colour: xr.DataArray, title: str,
    labels: xr.DataArray | None = None,
) -> go.Figure:  # fmt: skip
    """A figure with a square panel for each cloud of points [step, point, axis] at its last step, coloured by `colour`.

    Points are named by `labels`, or else by their colour's number.
    """
    labels = colour if labels is None else labels
    rows = math.ceil(len(clouds) / columns)
    figure = panels(names, heights=[4.4] * rows, title=title, columns=columns, over_steps=False)
    for number, cloud in enumerate(clouds):
        row, col = divmod(number, columns)
        figure.add_scatter(
            x=cloud[-1, :, 0].values,
            y=cloud[-1, :, 1].values,
            mode="markers+text" if cloud.shape[1] <= LABELLED_UP_TO else "markers",
            text=[str(label) for label in labels.values],
            textposition="top center",
            textfont={"size": 8, "color": QUIET},
            marker={
                "size": 8,
                "color": colour.values,
                "colorscale": "HSV",
                "cmin": 0,
                "cmax": float(colour.max()) + 1,  # a circle: the colour after the last residue is that of 0
                "showscale": number == 0,
                "colorbar": {"title": {"text": str(colour.name), "side": "right"}, "thickness": 12, "x": 1.02},
            },
            hovertemplate=f"{labels.name} %{{text}}<extra></extra>",
            showlegend=False,
            row=row + 1,
            col=col + 1,
        )
        figure.update_xaxes(showticklabels=False, row=row + 1, col=col + 1)
        figure.update_yaxes(showticklabels=False, row=row + 1, col=col + 1)
    return figure.update_layout(ranges(clouds, step=-1))


def ranges(clouds: list[xr.DataArray], step: int) -> dict[str, Any]:
    """Ranges of square axes around the points of one step. Each step has its own: t-SNE has no scale, and norms shrink."""
    axes = {}
    for number, cloud in enumerate(clouds):
        reach = 1.15 * float(abs(cloud[step]).max()) or 1.0
        axes |= {f"{axis}axis{number + 1 if number else ''}": {"range": [-reach, reach]} for axis in "xy"}
    return axes


def step_slider(figure: go.Figure, clouds: list[xr.DataArray], captions: list[str]) -> go.Figure:
    """The figure of `planes` with a slider through the steps, a caption for each step, a play and a stop button."""
    frames = [
        go.Frame(
            data=[go.Scatter(x=cloud[index, :, 0].values, y=cloud[index, :, 1].values) for cloud in clouds],
            traces=list(range(len(clouds))),
            layout=ranges(clouds, index),
        )
        for index in range(len(captions))
    ]
    return player(figure, frames, captions)


def animated(figure: go.Figure, steps: Sequence[int]) -> go.Figure:
    """The figure with its curves drawn up to each of these steps in turn, with a slider, a play and a stop button.

    Every trace must have its steps in ascending order. Axes without a range get one that holds all curves, so that they do
    not move.
    """
    curves: Any = figure.data
    for axis in (*figure.select_xaxes(), *figure.select_yaxes()):
        if axis.range is None:
            axis.range = reach(figure, axis)
    frames = [
        go.Frame(
            data=[go.Scatter(y=curve.y[: np.searchsorted(curve.x, step, side="right")]) for curve in curves],
            traces=list(range(len(curves))),
        )
        for step in steps
    ]
    return player(figure, frames, [f"step {step:,}" for step in steps])


def reach(figure: go.Figure, axis: Any) -> list[float] | None:
    """Range of the curves on an axis, with a margin; as powers of ten on a logarithmic axis. None without curves."""
    letter, name = axis.plotly_name[0], axis.plotly_name.replace("axis", "")
    curves: Any = figure.data
    parts = [curve[letter] for curve in curves if (curve[f"{letter}axis"] or letter) == name]
    values = np.concatenate([np.array([]), *parts]).astype(float)
    values = np.log10(values[values > 0]) if axis.type == "log" else values
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    room = 0.04 * (values.max() - values.min()) or 0.5
    return [values.min() - room, values.max() + room]


def player(figure: go.Figure, frames: Sequence[go.Frame], captions: Sequence[str]) -> go.Figure:
    """The figure with a slider through these frames, a play and a stop button; it shows the last frame.

    The buttons replace any others.
    """
    at_once = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    playing = {"fromcurrent": True, "frame": {"duration": 180, "redraw": True}, "transition": {"duration": 0}}
    for index, frame in enumerate(frames):
        frame.name = str(index)
    figure.frames = frames
    figure.layout.updatemenus = [
        {
            "type": "buttons",
            "direction": "right",
            "x": 1,
            "y": 1,
            "xanchor": "right",
            "yanchor": "bottom",
            "pad": {"b": 30},
            "font": {"size": 11},
            "buttons": [
                {"label": "▶ play", "method": "animate", "args": [None, playing]},
                {"label": "❚❚ stop", "method": "animate", "args": [[None], at_once]},
            ],
        }
    ]
    return figure.update_layout(
        height=figure.layout.height + 40,
        margin={"b": 110, "t": 110},
        sliders=[
            {
                "active": len(captions) - 1,
                "currentvalue": {"prefix": "", "xanchor": "left", "font": {"size": 13, "color": INK}},
                "font": {"size": 1, "color": "rgba(0,0,0,0)"},
                "ticklen": 3,
                "pad": {"t": 25},
                "steps": [
                    {"label": html.escape(text), "method": "animate", "args": [[str(index)], at_once]}
                    for index, text in enumerate(captions)
                ],
            }
        ],
    )


def still(figure: go.Figure, index: int) -> go.Figure:
    """A copy of a figure with a slider, shown at one of its frames."""
    frame: Any = figure.frames[index]
    shown: Any = go.Figure(figure.data, figure.layout)
    for trace, change in zip(frame.traces, frame.data, strict=True):
        shown.data[trace].update(change.to_plotly_json())
    shown.update_layout(frame.layout)
    shown.layout.sliders[0].active = index
    return shown


def relative_losses(figure: go.Figure, found: xr.Dataset, row: int = 1) -> None:
    """Train and test loss beside that of answering 0, which is 1."""
    for split, colour in (("train", TRAIN), ("test", TEST)):
        line(figure, found[f"{split}_relative"], f"{split} loss", colour, row)
    level(figure, 1, row)
    figure.update_yaxes(title_text="loss ÷ zero's", row=row, col=1)
