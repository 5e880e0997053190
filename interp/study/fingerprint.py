"""What decides the numbers of a machine: a digest of interp's code, and the versions of torch and Python."""

import hashlib
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

import interp


@cache
def fingerprint() -> str:
    """What this machine trains with, in words: "interp 0.1.0 (3f9a01c2), torch 2.13.0, Python 3.11.2"."""
    home, found = Path(interp.__file__).parent, hashlib.sha256()
    for file in sorted(home.rglob("*.py")):
        found.update(f"{file.relative_to(home)}\n".encode())
        found.update(file.read_bytes())
    versions = f"torch {metadata.version('torch').split('+')[0]}, Python {platform.python_version()}"
    return f"interp {metadata.version('interp')} ({found.hexdigest()[:8]}), {versions}"
