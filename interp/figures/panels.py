"""Empty figures in the house style: panels over a step axis or over none, with their colours, legends and caption."""

import html
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

TRAIN, TEST, QUIET, INK = "#2563ab", "#e8730c", "#8a93a0", "#1f2933"
PALETTE = ("#5b3a9b", "#0f8a6d", "#c2255c", "#8d6e00", "#0b7285", "#d9480f", "#495057")
"""Colours of everything that is neither train nor test."""
PIXELS_PER_HEIGHT = 62
STEPS = "step (optimiser updates)"
"""Title of the step axis."""
CAPTION = "caption"
"""Name of the annotation that is a figure's caption."""
FONT = "Inter, 'Helvetica Neue', Arial, sans-serif"


def panels(
    titles: list[str], heights: list[float], title: str, columns: int = 1, over_steps: bool = True, gap: int = 46
) -> go.Figure:
    """An empty figure of panels in a grid, filled row by row, `gap` pixels apart; with `over_steps` they share the step axis."""
    rows = len(heights)
    inside = PIXELS_PER_HEIGHT * sum(heights)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_xaxes=over_steps,
        row_heights=heights,
        subplot_titles=[html.escape(name) for name in titles],
        vertical_spacing=gap / (inside + gap * (rows - 1)) if rows > 1 else 0,
        horizontal_spacing=0.07,
    )
    figure.update_layout(
        title={"text": html.escape(title), "x": 0, "xref": "paper", "xanchor": "left", "font": {"size": 18}},
        template="plotly_white",
        font={"family": FONT, "size": 13, "color": INK},
        height=inside + gap * (rows - 1) + 160,
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
    for axes in (figure.update_xaxes, figure.update_yaxes):
        axes(gridcolor="#e9edf1", zeroline=False, title_font_size=12, tickfont_size=11)
    if over_steps:
        figure.update_xaxes(title_text=STEPS, row=rows, col=1)
        figure.update_layout(updatemenus=[step_axis_buttons(rows)])
    return figure


def own_axes(figure: go.Figure, titles: Mapping[int, str]) -> None:
    """Give the last rows of panels over steps horizontal axes of their own, with these titles by row.

    The buttons choose the scale of the rows above. Rows need a gap of 70 pixels, for the titles.
    """
    above = min(titles) - 1
    figure.update_xaxes(matches="x")
    for row, title in {above: STEPS, **titles}.items():
        figure.update_xaxes(title_text=title, title_standoff=4, showticklabels=True, row=row)
    for row in titles:
        figure.update_xaxes(matches=None, row=row)
    figure.layout.updatemenus = [step_axis_buttons(above)]


def over_points(figure: go.Figure, along: str) -> go.Figure:
    """The figure over points on a path: `along` in place of the title of the step axis, and no choice of its scale."""
    for axis in figure.select_xaxes(selector={"title.text": STEPS}):
        axis.title.text = html.escape(along)
        figure.update_layout(updatemenus=[])
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
    return figure.add_annotation(
        text=html.escape(text), showarrow=False, name=CAPTION, font={"size": 10, "color": QUIET}, **foot
    )


def legend_of(row: int) -> str:
    """Name of the legend beside a panel."""
    return "legend" if row == 1 else f"legend{row}"


def step_axis_buttons(rows: int) -> dict[str, Any]:
    """Two buttons that set every panel's step axis to a linear or a logarithmic scale."""
    axes = ["xaxis" if row == 1 else f"xaxis{row}" for row in range(1, rows + 1)]
    choices = [
        {
            "label": f"{scale} steps",
            "method": "relayout",
            "args": [{f"{axis}.type": scale for axis in axes} | {f"{axis}.autorange": True for axis in axes}],
        }
        for scale in ("linear", "log")
    ]
    return buttons(choices, above=28)


def buttons(choices: list[dict[str, Any]], above: int) -> dict[str, Any]:
    """Buttons side by side, so many pixels above the right end of the panels."""
    return {
        "type": "buttons", "direction": "right", "x": 1, "y": 1, "xanchor": "right", "yanchor": "bottom",
        "pad": {"b": above}, "font": {"size": 11}, "buttons": choices,
    }  # fmt: skip
