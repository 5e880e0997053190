"""run.json: what a run is, and where and with what it was computed. Written before step 0."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from interp.base import Frozen, UserError, explain
from interp.config import RunConfig
from interp.models import Family
from interp.store.between import Between
from interp.store.files import CheckpointError, read_json
from interp.store.history import Position

VERSIONED = ("torch", "transformer-lens", "numpy", "numba", "safetensors")
MAX_BYTES = 1 << 24
"""Most bytes of run.json: enough for a run that was resumed ten thousand times."""

RESTORE = "restore it"


class Session(Frozen):
    """One uninterrupted stretch of training: a run that was resumed has several."""

    started: str
    """Time of the start in UTC, ISO 8601."""
    from_step: int
    device: str
    threads: int
    machine: str
    versions: dict[str, str]
    git_commit: str
    """Commit of interp's source, with "+changes" if it had uncommitted changes; "unknown" outside a checkout."""
    command: list[str] = Field(default_factory=list)

    @staticmethod
    def begin(from_step: int, device: str, threads: int) -> "Session":
        """A session that starts now, on this machine."""
        return Session(
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            from_step=from_step,
            device=device,
            threads=threads,
            machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
            versions={
                "python": platform.python_version(),
                **{name: version(name) for name in ("interp", *VERSIONED)},
            },
            git_commit=git_commit(),
            command=sys.argv,
        )


class Origin(Frozen):
    """Where a run comes from that training here did not make, and what is not known of it."""

    layout: str
    """Layout that the files were recognised as."""
    files: dict[str, str]
    """SHA-256 of every file that was read, by name."""
    unknown: tuple[str, ...] = ()
    """Fields of the configuration that the files do not tell, such as "seeds.model" or all of "train". Their values are
    defaults."""
    notes: tuple[str, ...] = ()
    """Notes for the reader: contradictions in the files, what was left out, what was found by trial."""
    history: Position
    """Position where the history ends."""
    checkpoints: int = Field(ge=0)
    """Number of checkpoints."""
    knows_split: bool
    """Whether the files told which prompts were trained on."""
    recorded: bool = False
    """Whether a recorder wrote the run beside a loop of somebody's own. Its history and checkpoints may then grow: numbers of
    them here are those at the start, and later ones are in the resume states."""
    between: Between | None = None
    """What a path between two networks is; None of a converted run."""

    def tells(self, field: str) -> bool:
        """Whether the files tell a field of the configuration, or a whole part of it."""
        return not any(field == name or f"{field}.".startswith(f"{name}.") for name in self.unknown)


class Record(Frozen):
    """The content of run.json."""

    format_version: Literal[1, 2] = 2
    config: RunConfig
    config_sha256: str
    """Digest of the configuration when the run began, which all files of the run repeat. It is stored, not computed again,
    because the configuration of a later version has more fields."""
    sessions: tuple[Session, ...] = ()
    origin: Origin | None = None
    """Origin of a run that was converted from files of others, was recorded, or is a path; None: it was trained here."""
    absent: dict[str, str] = Field(default_factory=dict, exclude=True)
    """Parts of the configuration, task and model, of packages that are not installed, with a sentence each. Never written."""

    def with_code(self, model: Family, loss: str) -> "Record":
        """The record of a run whose module is known now, and the loss of its answers."""
        config = self.config.but(model=model, **{"train.loss": loss})
        if self.origin is None:
            return self.but(config=config)
        known = {"model.code", "train.loss"}
        each = (fields("train") if name == "train" else (name,) for name in self.origin.unknown)
        unknown = tuple(name for names in each for name in names if name not in known)
        return self.but(config=config, origin=self.origin.but(unknown=unknown))

    def to_json(self) -> bytes:
        """The record as indented JSON, with a digest of all the rest; floats read back exactly."""
        content = json.loads(self.model_dump_json())
        return json.dumps({**content, "sha256": seal(content)}, indent=2, ensure_ascii=False).encode() + b"\n"


def fields(part: str) -> tuple[str, ...]:
    """Names of the fields of a part of the configuration, such as "train.lr"."""
    return tuple(f"{part}.{name}" for name in type(getattr(RunConfig(), part)).model_fields)


def seal(content: dict[str, Any]) -> str:
    """Digest of the content of run.json: SHA-256 of its canonical JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_record(path: Path) -> Record:
    """The record in a run.json, verified; CheckpointError with file and field if it is not as a version of interp wrote it."""
    content = read_json(path, MAX_BYTES, RESTORE)
    version = content.get("format_version") if isinstance(content, dict) else None
    if not isinstance(version, int) or version not in READERS:
        raise CheckpointError(
            f"{path} has format_version {version!r:.40}, and this interp reads {', '.join(map(str, READERS))}; "
            "it was damaged, or written by a later interp"
        )
    try:
        content = READERS[version](path, content)
        if version >= 2 and (gone := without(path, content)) is not None:  # its digest shows that it is no damage
            return gone
        return Record.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise CheckpointError(f"{path} is damaged: {explain(error)}; {RESTORE}") from error
    except UserError as error:  # from a part of the configuration that already speaks in sentences
        raise CheckpointError(f"{path} is damaged: {error}; {RESTORE}") from error


def without(path: Path, content: dict[str, Any]) -> "Record | None":
    """The record of a run whose task or model is of a package that is not installed, with what stands in for it; None if all
    of it is here."""
    from interp.store.absent import absent, with_stand_ins  # here: what is whole costs none of it

    config = content.get("config")
    if not isinstance(config, dict) or not (why := absent(config)):
        return None
    stands_in = with_stand_ins(path.parent, config, str(content.get("config_sha256")), why)
    rest = Record.model_validate_json(json.dumps({**content, "config": RunConfig().model_dump(mode="json")}))
    return rest.but(config=stands_in, absent=why)


def read_1(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Content of a run.json of format 1, which has no digest, a history without checksums, and one resume state."""
    return content


def read_2(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Content of a run.json of format 2, verified against its digest."""
    content = dict(content)
    if content.pop("sha256", None) != seal(content):
        raise CheckpointError(f"{path} was altered: its content does not match its digest; {RESTORE}")
    return content


READERS: dict[int, Callable[[Path, dict[str, Any]], dict[str, Any]]] = {1: read_1, 2: read_2}
"""Functions that read the content of a run.json, by version of the format; all versions that ever were."""


def version(library: str) -> str:
    """Version of an installed library; "not installed" if it is missing, as numba may."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "not installed"


@cache
def git_commit() -> str:
    """Commit of interp's source, as `Session.git_commit` has it."""

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
