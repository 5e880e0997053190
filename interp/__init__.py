"""Train small networks with checkpoints throughout, and measure when and how they come to understand.

    run = interp.train_run(interp.preset("quick").config, "checkpoints/quick")
    run = interp.open_run("checkpoints/quick")
    run.at(900).model                   # a HookedTransformer
    run.applies                         # which analyses fit, and why the others do not
    run.measure("fourier")              # an xarray.Dataset; run.measure.<tab> lists the analyses that fit
    run.plot("fourier")                 # a plotly figure

Names are loaded when first used: `import interp` itself costs nothing. It does one thing: torch's idle threads sleep soon
(interp/threads.py), unless torch is imported already.
"""

import importlib
import time
from typing import TYPE_CHECKING, Any

from interp.threads import share_the_processor

if TYPE_CHECKING:
    from interp.analyze import analyses, applies, compare, draw, draw_runs, measure, summarise
    from interp.base import UserError
    from interp.config import RunConfig
    from interp.models.module.adapted import adapt
    from interp.models.registry import *  # noqa: F403
    from interp.recipe import Seeds, TrainConfig
    from interp.run import connect_runs, open_run, open_runs, train_run, train_runs
    from interp.store.start import start_from
    from interp.study import run_all, spread, tabulate
    from interp.study.grid import grid
    from interp.tasks import Corruption
    from interp.tasks.registry import *  # noqa: F403
    from interp.train.null import null_twin
    from interp.train.presets import PRESETS, preset
    from interp.train.recorder import record
    from interp.train.schedule import schedule

_HOME = {
    "interp.analyze": ("analyses", "applies", "compare", "draw", "draw_runs", "measure", "summarise"),
    "interp.base": ("UserError",),
    "interp.config": ("RunConfig",),
    "interp.models.module.adapted": ("adapt",),
    "interp.recipe": ("Seeds", "TrainConfig"),
    "interp.run": ("connect_runs", "open_run", "open_runs", "train_run", "train_runs"),
    "interp.store.start": ("start_from",),
    "interp.study": ("run_all", "spread", "tabulate"),
    "interp.study.grid": ("grid",),
    "interp.tasks": ("Corruption",),
    "interp.train.null": ("null_twin",),
    "interp.train.presets": ("PRESETS", "preset"),
    "interp.train.recorder": ("record",),
    "interp.train.schedule": ("schedule",),
}

__all__ = [
    "PRESETS", "Corruption", "RunConfig", "Seeds", "TrainConfig", "UserError", "adapt", "analyses", "applies", "compare",
    "connect_runs", "draw", "draw_runs", "grid", "measure", "null_twin", "open_run", "open_runs", "preset", "record",
    "run_all", "schedule", "spread", "start_from", "summarise", "tabulate", "train_run", "train_runs",
]  # fmt: skip

LOADED_AT = time.time()
"""When Python loaded this package, in seconds since 1970: a file of it that changed later is not the one that runs."""

share_the_processor()


def _kinds() -> dict[str, type]:
    """Every kind of task and of model by the name of its class: the registries' lines are the only list of them."""
    from interp.models.registry import FAMILIES
    from interp.tasks.registry import TASKS

    return {kind.__name__: kind for kind in (*TASKS.own, *FAMILIES.own)}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    if name.endswith(("Task", "Spec")) and name in (kinds := _kinds()):
        return kinds[name]
    raise AttributeError(f"module 'interp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_kinds()])
