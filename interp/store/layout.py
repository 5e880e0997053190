"""Names of the files in a run directory (described for readers in checkpoints/README.md)."""

import re
from pathlib import Path

from interp.store.files import Header

RECORD = "run.json"
HISTORY = "history.csv"
RESUME = "resume.safetensors"
LOCK = ".lock"
STEPS = "steps"
ANALYSIS = "analysis"

OWNED = (HISTORY, RESUME, STEPS, ANALYSIS, RECORD)
"""All that a run writes and keeps, in the order of deletion: a directory is a run for as long as it has its record."""


def checkpoint_file(run: Path, step: int) -> Path:
    """Where the weights after `step` updates lie; the padding makes names sort as steps do."""
    return run / STEPS / f"{step:08d}.safetensors"


def checkpoint_header(config_sha256: str, step: int) -> Header:
    """What a checkpoint says of itself."""
    return {"format": "interp checkpoint 1", "step": step, "config": config_sha256}


def resume_header(config_sha256: str, step: int) -> Header:
    """What a resume state says of itself."""
    return {"format": "interp resume 1", "step": step, "config": config_sha256}


def checkpoint_steps(run: Path) -> list[int]:
    """Steps that have a checkpoint file, ascending."""
    names = (file.name for file in (run / STEPS).glob("*.safetensors"))
    return sorted(int(name[:-12]) for name in names if re.fullmatch(r"[0-9]{8,12}\.safetensors", name))


def owned(run: Path) -> list[Path]:
    """What a run writes into its directory and may therefore delete on request."""
    return [run / name for name in OWNED if (run / name).exists()]
