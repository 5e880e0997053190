"""Writing files that are whole or absent, and reading files from anywhere within bounds."""

import errno
import json
import os
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from interp.base import UserError

REMEDY = "restore or delete it, or leave it out with --skip-broken"

UMASK = os.umask(0o077)
os.umask(UMASK)  # which can only be read by setting it

DEEPEST = 32
"""Deepest nesting of lists and objects in a JSON file that is read."""

REMEDIES = {
    errno.ENOSPC: "make room, then go on with --resume",
    errno.EDQUOT: "make room, then go on with --resume",
    errno.EFBIG: "allow larger files (ulimit -f), then go on with --resume",
    errno.EIO: "see to the disk, then go on with --resume",
}
"""What the user should do when writing fails, by error number. For other errors: write to another place."""


WITHOUT_RESUME = {"then go on with --resume": "then give the command again"}
"""What a command that does not train says in place of these remedies."""


class CheckpointError(UserError):
    """Raised for a file of a run that cannot be trusted; says which file, and why."""


@contextmanager
def told_in_a_sentence(path: Path) -> Generator[None]:
    """Turn a refusal of the operating system (read-only, full, not ours) into a UserError that names the path."""
    try:
        yield
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, "choose another place with --out")
        raise UserError(f"cannot write {path}: {reason(error)}; {remedy}") from error


def reason(error: OSError) -> str:
    """What the operating system says of an error, beginning with a small letter."""
    return (error.strerror or str(error)).lower()


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a mixture, also after a crash.

    A temporary file in the same directory (rename is atomic only within a file system) is flushed to the disk and renamed.
    Then the directory is flushed, without which the rename itself may be lost.
    """
    with told_in_a_sentence(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~UMASK)  # mkstemp's 0600 would hide the run from colleagues
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        flush_directory(path.parent)


def flush_directory(path: Path) -> None:
    """Flush a directory to the disk: which files it holds."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(directory: Path) -> None:
    """Delete the temporary files that killed writers left in a directory. Only the holder of the lock may do so."""
    with told_in_a_sentence(directory):
        for scrap in filter(is_scrap, directory.iterdir()):
            scrap.unlink(missing_ok=True)


def is_scrap(path: Path) -> bool:
    """Whether a file has the name of a temporary file of `write_whole`."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


@contextmanager
def opened(path: Path, at_most: int, remedy: str = REMEDY) -> Generator[BinaryIO]:
    """A regular file of at most `at_most` bytes, open for reading.

    Raises:
        CheckpointError: it is missing, larger, or not a regular file (a pipe would block, a device has no end).
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; {remedy}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"cannot read {path}: {reason(error) if isinstance(error, OSError) else error}; {remedy}"
        ) from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)  # fdopen would refuse a directory in words of its own, and leave it open
        raise CheckpointError(f"{path} is no regular file; {remedy}")
    with os.fdopen(handle, "rb") as file:
        if status.st_size > at_most:
            raise CheckpointError(
                f"{path} has {status.st_size:,} bytes, and at most {at_most:,} are expected; {remedy}"
            )
        yield file


def identity(path: Path) -> tuple[int, ...]:
    """Inode, size and times of a file; while these stay, so does the content. Empty if there is no such file."""
    try:
        status = path.stat()
    except OSError:  # which reading the file says better
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_bytes(path: Path, at_most: int, remedy: str = REMEDY) -> bytes:
    """Content of a regular file of at most `at_most` bytes; CheckpointError otherwise."""
    with opened(path, at_most, remedy) as file:
        try:
            return file.read(at_most)
        except OSError as error:
            raise CheckpointError(f"cannot read {path}: {reason(error)}; {remedy}") from error


def read_json(path: Path, at_most: int, remedy: str = REMEDY) -> Any:
    """Value in a JSON file of bounded size and depth; CheckpointError for anything else, NaN and infinity included."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    content = read_bytes(path, at_most, remedy)
    try:
        value = json.loads(content, parse_constant=refuse)
        if deeper(value, DEEPEST):
            raise RecursionError
    except RecursionError:
        raise CheckpointError(f"{path} is damaged: it nests deeper than {DEEPEST} levels; {remedy}") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}; {remedy}") from error
    return value


def deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects nest deeper than `levels`."""
    if not isinstance(value, list | dict):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(deeper(part, levels - 1) for part in parts)
