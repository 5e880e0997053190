"""How a model learns: the loop, its optimiser, its schedules and the presets."""

from interp.train.loop import train
from interp.train.presets import PRESETS, preset

__all__ = ["PRESETS", "preset", "train"]
