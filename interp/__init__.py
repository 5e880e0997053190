"""Train small networks with checkpoints throughout, and measure when and how they come to understand.

    run = interp.train_run(interp.preset("quick").config, "checkpoints/quick")
    run = interp.open_run("checkpoints/quick")
    run.at(900).model                   # a HookedTransformer
    run.measure("fourier")              # an xarray.Dataset; run.measure.<tab> lists the analyses
    run.plot("fourier")                 # a plotly figure

Names are loaded when first used: `import interp` itself costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.analyze import analyses, compare, draw, draw_runs, measure, summarise
    from interp.base import UserError
    from interp.config import RunConfig, Seeds, TrainConfig
    from interp.models import ToySpec, TransformerSpec
    from interp.probe import open_run, open_runs, train_run, train_runs
    from interp.study import run_all, spread, tabulate
    from interp.study.grid import grid
    from interp.tasks import (
        AdditionTask,
        Corruption,
        GroupTask,
        JointTask,
        ModularTask,
        RepeatedTask,
        SkipTrigramTask,
        SparseFeaturesTask,
    )
    from interp.train.presets import PRESETS, preset

_HOME = {
    "interp.analyze": ("analyses", "compare", "draw", "draw_runs", "measure", "summarise"),
    "interp.base": ("UserError",),
    "interp.config": ("RunConfig", "Seeds", "TrainConfig"),
    "interp.models": ("ToySpec", "TransformerSpec"),
    "interp.probe": ("open_run", "open_runs", "train_run", "train_runs"),
    "interp.study": ("run_all", "spread", "tabulate"),
    "interp.study.grid": ("grid",),
    "interp.tasks": (
        "AdditionTask",
        "Corruption",
        "GroupTask",
        "JointTask",
        "ModularTask",
        "RepeatedTask",
        "SkipTrigramTask",
        "SparseFeaturesTask",
    ),
    "interp.train.presets": ("PRESETS", "preset"),
}

__all__ = [
    "PRESETS", "AdditionTask", "Corruption", "GroupTask", "JointTask", "ModularTask", "RepeatedTask", "RunConfig", "Seeds",
    "SkipTrigramTask", "SparseFeaturesTask", "ToySpec", "TrainConfig", "TransformerSpec", "UserError", "analyses", "compare",
    "draw", "draw_runs", "grid", "measure", "open_run", "open_runs", "preset", "run_all", "spread", "summarise", "tabulate",
    "train_run", "train_runs",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'interp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
