"""Figures for a page: without what the page says itself, and with numbers no finer than a screen shows."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from interp.figures.panels import CAPTION


def without_frame(figure: go.Figure) -> go.Figure:
    """A copy without title and caption, which a page has as text of its own, and with numbers of single precision."""
    # Part by part: of a whole figure plotly gives arrays that are packed already.
    parts: Any = figure
    data, frames = ([single(each.to_plotly_json()) for each in part] for part in (parts.data, parts.frames))
    layout = single(parts.layout.to_plotly_json())
    layout.pop("title", None)
    layout["annotations"] = [each for each in layout.get("annotations", ()) if each.get("name") != CAPTION]
    return go.Figure(data, layout, frames)


def five_digits(values: np.ndarray) -> np.ndarray:
    """Numbers of single precision, rounded to 16 binary digits: what is 0 at the end packs well."""
    fraction, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(fraction, 16)), exponent - 16).astype(np.float32)


def single(value: Any) -> Any:
    """Nested lists and dictionaries with arrays of single precision in place of double: half the bytes, five digits."""
    if isinstance(value, np.ndarray):
        return five_digits(value) if value.dtype == np.float64 else value
    if isinstance(value, dict):
        return {name: single(inner) for name, inner in value.items()}
    return [single(inner) for inner in value] if isinstance(value, list | tuple) else value
