"""The run directory: the only place that knows file names, formats, locks and digests.

Names are loaded when first used, so that the help of `python -m interp.store` does not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.store.files import CheckpointError
    from interp.store.opening import find_runs, open_record, open_run, runs_in
    from interp.store.run import Checkpoint, Run
    from interp.store.writer import RunWriter

_HOME = {
    "CheckpointError": "interp.store.files",
    "Checkpoint": "interp.store.run",
    "Run": "interp.store.run",
    "find_runs": "interp.store.opening",
    "open_record": "interp.store.opening",
    "open_run": "interp.store.opening",
    "runs_in": "interp.store.opening",
    "RunWriter": "interp.store.writer",
}

__all__ = ["Checkpoint", "CheckpointError", "Run", "RunWriter", "find_runs", "open_record", "open_run", "runs_in"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'interp.store' has no attribute {name!r}")
