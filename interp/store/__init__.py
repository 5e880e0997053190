"""The run directory: the only place that knows file names, formats, locks and digests."""

from interp.store.files import CheckpointError
from interp.store.run import Checkpoint, Run, find_runs, open_record, open_run
from interp.store.writer import RunWriter

__all__ = ["Checkpoint", "CheckpointError", "Run", "RunWriter", "find_runs", "open_record", "open_run"]
