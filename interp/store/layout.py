"""Names of the files in a run directory (described for readers in checkpoints/README.md)."""

from pathlib import Path

from interp.config import RunConfig
from interp.store.files import Header

RECORD = "run.json"
HISTORY = "history.csv"
RESUME = "resume.safetensors"
LOCK = ".lock"
STEPS = "steps"
ANALYSIS = "analysis"


def checkpoint_file(run: Path, step: int) -> Path:
    """Where the weights after `step` updates lie; the padding makes names sort as steps do."""
    return run / STEPS / f"{step:08d}.safetensors"


def checkpoint_header(config: RunConfig, step: int) -> Header:
    """What a checkpoint says of itself."""
    return {"format": "interp checkpoint 1", "step": step, "config": config.digest}


def resume_header(config: RunConfig, step: int) -> Header:
    """What a resume state says of itself."""
    return {"format": "interp resume 1", "step": step, "config": config.digest}


def checkpoint_steps(run: Path) -> list[int]:
    """Steps that have a checkpoint file, ascending."""
    return sorted(int(file.stem) for file in (run / STEPS).glob("*.safetensors") if file.stem.isdigit())


def owned(run: Path) -> list[Path]:
    """What a run writes into its directory and may therefore delete on request."""
    return [run / name for name in (RECORD, HISTORY, RESUME, STEPS, ANALYSIS) if (run / name).exists()]
