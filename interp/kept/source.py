"""What a measurement is made from: everything that decides its numbers, as digests."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from interp.analyze import ANALYSES
from interp.base import Frozen
from interp.kept.code import version_of
from interp.measurement import AnalysisOptions
from interp.store import Run
from interp.store.files import CheckpointError, read_bytes
from interp.store.history import MAX_BYTES
from interp.store.layout import HISTORY, SPLIT, checkpoint_steps, is_there
from interp.store.run import Checkpoint

LENGTHS = ("steps", "examples", "checkpoint_steps")
"""Fields of the training that change when a run is lengthened, which leaves the checkpoints that it has as they are."""


class Rows(NamedTuple):
    """The first rows of a history: how many, the step of the last, and their digest."""

    number: int
    last: int
    sha256: str


class Source(Frozen):
    """What a measurement is made from."""

    code: str
    """Digest of the code."""
    options: str
    """Options of the analysis, as JSON."""
    run: str
    """Digest of all that run.json says of the run save how long it is, and of the list of its trained prompts."""
    length: str
    """Digest of the whole configuration."""
    history: Rows
    first: str
    """Digest of the run's first checkpoint, which is measured against where it is not in view; empty without one."""
    checkpoints: dict[int, str]
    """Digest of every checkpoint in view, by step; empty ones of an analysis that reads no weights."""


def source(run: Run, name: str, options: AnalysisOptions) -> Source | None:
    """What the measurement of a run is made from; None where that cannot be told, and nothing may be kept.

    So it is of weights of a resume state, which training replaces, and of damaged files.
    """
    code = version_of(ANALYSES.find(name))
    if not code or run.newest is not None or run.module is not None:  # someone's own code has no version
        return None
    weighs = ANALYSES.find(name).view.reads_weights
    try:
        first = [Checkpoint(run, step).digest for step in checkpoint_steps(run.path)[:1] if weighs]
        return Source(
            code=code,
            options=options.model_dump_json(),
            run=of_run(run),
            length=sha256(run.config.model_dump_json()),
            history=rows_of(run.path / HISTORY),
            first="".join(first),
            checkpoints={each.step: each.digest if weighs else "" for each in run.checkpoints},
        )
    except CheckpointError:  # which measuring reports, if it reads that file
        return None


def of_run(run: Run) -> str:
    """Digest of all that run.json says of a run save how long it is, and of the list of its trained prompts."""
    record = run.record
    content = json.loads(record.model_dump_json(include={"config", "config_sha256", "origin", "format_version"}))
    content["config"]["train"] = {
        name: value for name, value in content["config"]["train"].items() if name not in LENGTHS
    }
    split = run.path / SPLIT
    listed = hashlib.sha256(read_bytes(split, MAX_BYTES)).hexdigest() if is_there(split) else ""
    return sha256(json.dumps([content, listed], sort_keys=True))


def rows_of(path: Path, most: int | None = None) -> Rows:
    """The first rows of a history: `most` of them, or all that are whole."""
    lines = read_bytes(path, MAX_BYTES).split(b"\n")[:-1]  # the last is empty, or torn
    lines = lines if most is None else lines[: most + 1]
    step = lines[-1].partition(b",")[0] if len(lines) > 1 else b""
    return Rows(len(lines) - 1, int(step) if step.isdigit() else -1, hashlib.sha256(b"\n".join(lines)).hexdigest())


def why_not(kept: Source, now: Source, path: Path) -> str:
    """Why nothing that is kept counts any more, in words; empty where the rows of unchanged checkpoints count."""
    if kept.code != now.code:
        return "its code has changed"
    if kept.options != now.options:
        return "its options have changed"
    if kept.run != now.run or kept.first != now.first:
        return "the run is another"
    if kept.history != now.history and rows_of(path / HISTORY, kept.history.number) != kept.history:
        return "the history was written anew"
    return ""


def still(before: Source, after: Source | None, path: Path) -> bool:
    """Whether what was measured from `before` is kept: files may have been replaced meanwhile, and rows of a history added."""
    return after is not None and not why_not(before, after, path) and before.checkpoints == after.checkpoints


def changed(kept: Source, now: Source) -> str:
    """What of the checkpoints has changed, in words; empty if nothing has."""
    other = sorted(altered(kept, now))
    new, gone = now.checkpoints.keys() - kept.checkpoints.keys(), kept.checkpoints.keys() - now.checkpoints.keys()
    words = [
        f"step {other[0]:,} has other weights" if other else "",
        f"{count(len(new))} more" if new else "",
        f"{count(len(gone))} fewer" if gone else "",
        "the run is longer" if not new and (kept.length, kept.history) != (now.length, now.history) else "",
    ]
    return ", ".join(filter(None, words))


def altered(kept: Source, now: Source) -> set[int]:
    """Steps whose checkpoint is another than the one that was measured."""
    return {step for step, digest in now.checkpoints.items() if kept.checkpoints.get(step, digest) != digest}


def count(number: int) -> str:
    """A number of checkpoints, in words."""
    return f"{number:,} checkpoint{'s' * (number > 1)}"


def reusable(kept: Source, now: Source) -> tuple[int, ...]:
    """Steps in view whose checkpoints are those that were measured, with losses beside them."""
    same = (step for step, digest in now.checkpoints.items() if kept.checkpoints.get(step) == digest)
    return tuple(step for step in same if step <= kept.history.last or kept.history == now.history)


def sha256(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
