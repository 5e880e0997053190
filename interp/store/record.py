"""run.json: what a run is, and where and with what it was computed. Written before step 0."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from interp.base import Frozen, UserError, explain
from interp.config import RunConfig
from interp.store.files import CheckpointError

VERSIONED = ("torch", "transformer-lens", "numpy", "safetensors")
MAX_BYTES = 1 << 20


class Session(Frozen):
    """One uninterrupted stretch of training: a run that was resumed has several."""

    started: str
    """UTC, ISO 8601."""
    from_step: int
    device: str
    threads: int
    machine: str
    versions: dict[str, str]
    git_commit: str
    """Of interp's own source, with "+changes" when it had uncommitted ones; "unknown" outside a checkout."""
    command: list[str] = Field(default_factory=list)

    @staticmethod
    def begin(from_step: int, device: str, threads: int) -> "Session":
        """A session that starts now, here."""
        return Session(
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            from_step=from_step,
            device=device,
            threads=threads,
            machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
            versions={
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in ("interp", *VERSIONED)},
            },
            git_commit=git_commit(),
            command=sys.argv,
        )


class Record(Frozen):
    """The content of run.json."""

    format_version: Literal[1] = 1
    config: RunConfig
    config_sha256: str
    """Digest of the configuration as it was when the run began; its files carry it. Stored, not computed anew, because
    a later version's configuration has more fields."""
    sessions: tuple[Session, ...] = ()

    def to_json(self) -> bytes:
        """Indented, so that a person can read it; floats as the shortest text that reads back exactly."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def read_record(path: Path) -> Record:
    """run.json, checked; CheckpointError naming file and field when it is not what this version writes."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    if len(content) > MAX_BYTES:
        raise CheckpointError(f"{path} has more than {MAX_BYTES:,} bytes, so it is no run.json of ours; restore it")
    try:
        return Record.model_validate_json(content)
    except ValidationError as error:
        raise CheckpointError(f"{path} is damaged: {explain(error)}; restore it") from error
    except UserError as error:  # from a part of the configuration that already speaks in sentences
        raise CheckpointError(f"{path} is damaged: {error}; restore it") from error


@cache
def git_commit() -> str:
    """The commit of interp's source."""

    def git(*words: str) -> Any:
        return subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *words], capture_output=True, text=True, timeout=10
        )

    try:
        commit = git("rev-parse", "HEAD")
        if commit.returncode != 0 or git("ls-files", "--error-unmatch", __file__).returncode != 0:
            return "unknown"
        changes = git("status", "--porcelain", "--untracked-files=no").stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return commit.stdout.strip() + ("+changes" if changes else "")
