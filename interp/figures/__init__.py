"""Figures in one style, by plotly: labelled arrays in, a Figure out; train blue, test orange, the transition marked."""

from interp.figures.apart import apart
from interp.figures.behind import OWN_SCALE, behind
from interp.figures.curves import (
    accuracies,
    error_band,
    field,
    heatmap,
    level,
    line,
    losses,
    mark_transition,
    quartiles,
    relative_losses,
    shade,
    stretch,
)
from interp.figures.ends import to_the_ends
from interp.figures.moving import animated, player, still
from interp.figures.overlaid import overlaid
from interp.figures.panels import (
    CAPTION,
    INK,
    PALETTE,
    QUIET,
    TEST,
    TRAIN,
    caption,
    legend_of,
    over_points,
    own_axes,
    panels,
)
from interp.figures.planes import LABELLED_UP_TO, planes, step_slider
from interp.figures.settings import over_settings, scale_of_settings
from interp.figures.slim import without_frame
from interp.figures.surfaces import colour_bar, surface, way

__all__ = [
    "CAPTION", "INK", "LABELLED_UP_TO", "OWN_SCALE", "PALETTE", "QUIET", "TEST", "TRAIN", "accuracies", "animated", "apart",
    "behind", "caption", "colour_bar", "error_band", "field", "heatmap", "legend_of", "level", "line", "losses",
    "mark_transition",
    "over_points", "over_settings", "overlaid", "own_axes", "panels", "planes", "player", "quartiles", "relative_losses",
    "scale_of_settings", "shade", "step_slider", "still", "stretch", "surface", "to_the_ends", "way", "without_frame",
]  # fmt: skip
