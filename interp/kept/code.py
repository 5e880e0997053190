"""Version of an analysis' code: a digest of its file, of all that it may import, and of the libraries' versions."""

import hashlib
import platform
import sys
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path

import interp
from interp.analyze import Analysis

HOME = Path(interp.__file__).parent

BELOW = (
    "base", "machine", "denormals", "threads", "shape", "plugins", "recipe", "maths", "tasks", "models", "config", "store",
    "objective", "measurement", "views",
)  # fmt: skip
"""Files and folders of interp from which an analysis takes its numbers. What it draws with is not among them."""

LIBRARIES = (
    "interp",
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "xarray",
    "scikit-learn",
    "numba",
    "transformer-lens",
    "mlxtend",
)
"""Libraries whose version may move a number."""

State = tuple[int, int]
"""Time of change and size of a file."""


@cache
def files_below() -> tuple[Path, ...]:
    """Every source file that an analysis of interp may import, beside its own."""
    found = (path for name in BELOW for path in [HOME / f"{name}.py", *(HOME / name).rglob("*.py")])
    return tuple(sorted(path for path in found if path.exists()))


def version_of(analysis: Analysis) -> str:
    """Digest of the code that measures; empty where the code that runs cannot be told from its files.

    So it is of somebody else's analysis, which may import anything, and of files that were edited after Python loaded them.
    """
    if not analysis.home.startswith("interp.analyze."):
        return ""
    paths = (*files_below(), Path(str(analysis.module.__file__)))
    try:
        states = tuple(state(path) for path in paths)
    except OSError:  # the package is being replaced
        return ""
    edited = any(changed > interp.LOADED_AT * 1e9 for changed, _ in states)
    return "" if edited else digest(paths, states)


def state(path: Path) -> State:
    """Time of change and size of a file."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=256)
def digest(paths: Sequence[Path], states: Sequence[State]) -> str:
    """SHA-256 of versions, and of names and content of files; `states` tells when to read them again."""
    total = hashlib.sha256(versions().encode())
    for path in paths:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(HOME)} {content}\n".encode())
    return total.hexdigest()


@cache
def versions() -> str:
    """Versions of Python and of the libraries, as text."""
    return f"{sys.implementation.name} {platform.python_version()} {[version(name) for name in LIBRARIES]}"


def version(library: str) -> str:
    """Version of a library; empty if it is not installed."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""
