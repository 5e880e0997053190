"""Offset: how far does the bias of the answers move?"""

from interp import figures
from interp.measurement import AnalysisOptions, Var, by_step, dataset
from interp.views.view import Checkpoints
from interp.views.walk import over_checkpoints


class Options(AnalysisOptions):
    """There is nothing to choose."""


VARIABLES = {"distance": Var("step", "norm of the answers' bias")}


def measure(seen: Checkpoints, options: Options):
    """Norm of the bias."""
    found = over_checkpoints(seen.run, lambda weights: {"distance": weights["offset"].norm(dim=1)}, each=64)
    return dataset(seen.run, options, found, VARIABLES, definition="L2", source="here")


def draw(found):
    """The norm over steps."""
    figure = figures.panels(["norm"], heights=[4], title="Offset")
    figures.line(figure, found["distance"], "offset", figures.INK, row=1)
    return figure


def summarise(found):
    """The norm at each step."""
    return by_step(found).assign(distance=found["distance"].values)
