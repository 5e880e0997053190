"""The order in which what was measured of a run is told: first what happened, then what was built, then how it lies."""

from collections.abc import Iterable

STORY = (
    "curves", "phases", "stages", "examples", "breakdown", "positions", "double_descent", "gap",
    "fourier", "progress", "logits", "neurons", "attention", "clock_pizza", "ablate", "groups", "neurons_for_noise", "tsne",
    "superposition", "regimes", "geometry", "parallelograms", "variance",
    "norms", "spectra", "trajectory", "numerics", "lazy", "readout", "complexity", "sharpness", "curvature", "llc", "plane",
    "path",
)  # fmt: skip
"""Analyses of this package in the order of the story. Those of others come after them, by name."""


def in_order(names: Iterable[str]) -> list[str]:
    """The names in the order of the story."""
    return sorted(names, key=lambda name: (STORY.index(name) if name in STORY else len(STORY), name))
