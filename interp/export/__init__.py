"""Histories and measurements of runs for other programs that show curves: one way, one file a program, each an extra."""

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from interp.base import UserError, near_miss
from interp.store import Run

TRACKERS: Mapping[str, str] = {"tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio"}
"""The library that each program needs, which is the name of its extra too."""


def export(run: Run, tracker: str, curves: Mapping[str, Mapping[int, float]], out: Path | None, project: str) -> str:
    """Write the curves of a run where a program finds them; returns the command that shows them.

    Args:
        run: the run; its configuration goes along.
        tracker: one of TRACKERS.
        curves: values by step of each curve, as `interp.export.curves.curves_of` gives them.
        out: directory for them; None: where the program looks for them.
        project: name of the project, in programs that have projects.

    Raises:
        UserError: there is no such program, its library is not installed, or the directory cannot be written or holds the run
            already.
    """
    if tracker not in TRACKERS:
        raise UserError(f'no program "{tracker}" to export to{near_miss(tracker, TRACKERS)}')
    if find_spec(TRACKERS[tracker]) is None:
        raise UserError(f'{TRACKERS[tracker]} is not installed; install it by pip install "interp[{tracker}]"')
    rows: dict[int, dict[str, float]] = {}
    for name, values in curves.items():
        for step, value in values.items():
            rows.setdefault(step, {})[name] = value
    return importlib.import_module(f"interp.export.to_{tracker}").write(run, dict(sorted(rows.items())), out, project)


__all__ = ["TRACKERS", "export"]
