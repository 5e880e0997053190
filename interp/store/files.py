"""Files that are whole or absent, and tensors that are what was written or an error."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from interp.base import UserError

Tensors = dict[str, Tensor]
Header = dict[str, str | int]
"""What a file says of itself, such as its step."""

REMEDY = "restore or delete it, or leave it out with --skip-broken"


class CheckpointError(UserError):
    """A file of a run that cannot be trusted: which one, and why."""


@contextmanager
def told_in_a_sentence(path: Path) -> Iterator[None]:
    """Turn a refusal of the operating system (read-only, full, not ours) into a UserError that names the path."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {(error.strerror or str(error)).lower()}; choose another place with --out"
        ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path` so that a reader, also after a crash, sees the old file or the new one and no mixture.

    A temporary file in the same directory (rename is atomic within a filesystem only), flushed to the disk, renamed,
    and the directory flushed, without which the rename itself may be lost.
    """
    with told_in_a_sentence(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide the run from colleagues
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        flush_directory(path.parent)


def flush_directory(path: Path) -> None:
    """Have the disk remember which files the directory holds."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Header) -> None:
    """Write one safetensors file, whole or not at all, with `header` and a digest of both in its metadata."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    signed = header | {"sha256": digest(plain, header)}
    # One entry: safetensors writes several in an order that changes from call to call, and equal runs are equal bytes.
    write_whole(path, save(plain, metadata={"interp": json.dumps(signed)}))


def read_header(path: Path, remedy: str = REMEDY) -> Header:
    """The header of a file written by `write_tensors`, without its tensors and not yet checked against the digest."""
    try:
        with safe_open(path, framework="pt") as file:
            return own_header(path, file, remedy)
    except (SafetensorError, OSError) as error:
        raise damaged(path, error, remedy) from error


def own_header(path: Path, file: Any, remedy: str) -> Header:
    """What the open file says of itself, its digest included."""
    try:
        header = json.loads((file.metadata() or {}).get("interp", "null"))
    except ValueError as error:
        raise damaged(path, error, remedy) from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} was not written by interp: it has no header of ours; {remedy}")
    return header


def read_tensors(
    path: Path, header: Header, shapes: dict[str, tuple[int, ...]] | None = None, remedy: str = REMEDY
) -> Tensors:
    """The tensors of a file written by `write_tensors` with this header, as views of the mapped file.

    `shapes`, where given, are compared with the file's own table before any memory is taken.

    Raises:
        CheckpointError: the file is missing, damaged, or another than the one that is expected here.
    """
    tensors, expected = map_tensors(path, header, shapes, remedy)
    if digest(tensors, header) != expected:
        raise CheckpointError(f"{path} is damaged: its content does not match its digest; {remedy}")
    return tensors


def map_tensors(
    path: Path, header: Header, shapes: dict[str, tuple[int, ...]] | None = None, remedy: str = REMEDY
) -> tuple[Tensors, str]:
    """The same with header and shapes checked but not the content, and the digest that the content should have."""
    try:
        with safe_open(path, framework="pt") as file:
            signed = own_header(path, file, remedy)
            expected = str(signed.pop("sha256", ""))
            fits(path, signed, header)
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  not a dict
            if shapes is not None and found != shapes:
                odd = min(name for name in found.keys() | shapes.keys() if found.get(name) != shapes.get(name))
                raise CheckpointError(
                    f"{path} does not fit its run: {odd} has shape {found.get(odd, 'none')}, "
                    f"and {shapes.get(odd, 'none')} is expected"
                )
            return {name: file.get_tensor(name) for name in sorted(found)}, expected
    except (SafetensorError, OSError) as error:
        raise damaged(path, error, remedy) from error


def fits(path: Path, signed: Header, header: Header) -> None:
    """CheckpointError unless a file says of itself what is expected."""
    if signed != header:
        odd = next(name for name in header.keys() | signed.keys() if header.get(name) != signed.get(name))
        raise CheckpointError(
            f"{path} is out of place: its {odd} is {signed.get(odd)!r}, and {header.get(odd)!r} is expected"
        )


def damaged(path: Path, error: Exception, remedy: str) -> CheckpointError:
    """The error for a file that cannot even be parsed."""
    if isinstance(error, FileNotFoundError):
        return CheckpointError(f"{path} is missing; {remedy}")
    return CheckpointError(f"{path} is damaged ({error}); {remedy}")


def digest(tensors: Tensors, header: Header) -> str:
    """SHA-256 over the header, and over names, types, shapes and bytes in the order of the names."""
    total = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
