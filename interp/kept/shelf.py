"""Where measurements are kept: in memory with the run, and in files beside it."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from interp import analyze
from interp.base import UserError
from interp.kept import file
from interp.kept.source import Source
from interp.measurement import AnalysisOptions
from interp.store import Run
from interp.store.files import CheckpointError
from interp.store.layout import ANALYSIS, KEPT, checkpoint_steps, is_there

MOST = 8
"""Most files that are kept of one analysis: of different options, and choices of checkpoints."""

Pair = tuple[Source, xr.Dataset]
"""What a measurement was made from, and the measurement."""


def by_checkpoint(name: str) -> bool:
    """Whether an analysis measures each checkpoint alone."""
    return getattr(analyze.find(name), "BY_CHECKPOINT", False)


def names_kept(run: Run) -> set[str]:
    """Analyses of which something is kept beside a run."""
    files = (run.path / ANALYSIS / KEPT).glob("*.safetensors")
    return {each.name.rpartition("-")[0] for each in files} & {*analyze.analyses()}


@dataclass(frozen=True)
class Shelf:
    """The place of one analysis with its options: a file and an entry in memory."""

    run: Run
    name: str
    options: AnalysisOptions

    @property
    def path(self) -> Path:
        """Path of the file. Rows of all choices of checkpoints share it where each is measured alone."""
        whole = by_checkpoint(self.name) or list(self.run.steps) == checkpoint_steps(self.run.path)
        question = f"{self.options.model_dump_json()} {'' if whole else self.run.steps}"
        digest = hashlib.sha256(question.encode()).hexdigest()[:16]
        return self.run.path / ANALYSIS / KEPT / f"{self.name}-{digest}.safetensors"

    def take(self) -> tuple[Pair | None, str]:
        """What is kept, unchecked as to whether it is still so; and why there is nothing where something was."""
        if (pair := self.run.kept.get(self._key)) is not None:
            return pair, ""
        if not is_there(self.path):
            return None, ""
        try:
            return file.read(self.path), ""
        except CheckpointError:
            return None, "what was kept is damaged"

    def remember(self, pair: Pair) -> None:
        """Keep a measurement in memory, for all views of the run."""
        self.run.kept[self._key] = pair

    def write(self, pair: Pair) -> bool:
        """Keep a measurement in its file, and say whether that was possible; the oldest of many files goes."""
        folder, written = self.path.parent, False
        with suppress(OSError, UserError, file.NotKept):  # a run that may only be read is measured all the same
            folder.mkdir(parents=True, exist_ok=True)
            file.write(self.path, *pair)
            written = True
            kept = sorted(
                folder.glob(f"{self.name}-????????????????.safetensors"), key=lambda each: each.stat().st_mtime
            )
            for older in kept[:-MOST]:
                older.unlink(missing_ok=True)
        return written

    @property
    def _key(self) -> bytes:
        return str(self.path).encode()
