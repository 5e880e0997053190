"""Named tensors in safetensors files. Reading gives what was written, or an error with file and reason."""

import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from interp.base import Shown
from interp.store.files import REMEDY, CheckpointError, opened, write_whole

Tensors = dict[str, Tensor]


class Weights(Shown, Tensors):
    """Weights of a network by name: a dictionary that is shown as a table of names, shapes and norms."""

    def cells(self) -> list[tuple[str, ...]]:
        """Name, shape and norm of each tensor."""
        return [(name, " × ".join(map(str, t.shape)), f"norm {t.norm():.3g}") for name, t in self.items()]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """What is pickled: an OrderedDict, as torch's state dicts are, which opens where interp is not installed."""
        return OrderedDict, (), None, None, iter(self.items())


Shapes = dict[str, tuple[int, ...]]
Header = dict[str, Any]
"""Header of a file, what it says of itself, such as its step: JSON values by name."""

MAX_TABLE = 1 << 20
"""Most bytes of a file's own table of tensors; a model of 64 layers needs a tenth of that."""

MAX_BYTES = 1 << 36
"""Most bytes of a file whose shapes are not known beforehand. It is mapped, not read into memory."""

UNREADABLE = (SafetensorError, OSError, MemoryError, RuntimeError)
"""Errors that reading a file can raise. torch maps the file, and raises its own errors, for instance if the file vanishes."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Header) -> None:
    """Write one safetensors file, whole or not at all, with `header` and a digest of both in its metadata."""
    write_whole(path, packed(tensors, header))


def packed(tensors: Mapping[str, Tensor], header: Header) -> bytes:
    """Bytes of the safetensors file that `write_tensors` writes."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    signed = header | {"sha256": digest(plain, header)}
    # One entry: safetensors writes several in an order that changes from call to call, and equal runs are equal bytes.
    return save(plain, metadata={"interp": json.dumps(signed)})


def read_header(path: Path, remedy: str = REMEDY) -> Header:
    """The header of a file written by `write_tensors`, without its tensors and not yet checked against the digest."""
    bounded(path, None, remedy)
    try:
        with safe_open(path, framework="pt") as file:
            return own_header(path, file, remedy)
    except UNREADABLE as error:
        raise damaged(path, error, remedy) from error


def own_header(path: Path, file: Any, remedy: str) -> Header:
    """Header of an open file, its digest included."""
    try:
        header = json.loads((file.metadata() or {}).get("interp", "null"))
    except (ValueError, RecursionError) as error:
        raise damaged(path, error, remedy) from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} was not written by interp: it has no header of ours; {remedy}")
    return header


def read_tensors(
    path: Path, expected: Header, shapes: Shapes | None = None, remedy: str = REMEDY, at_most: int = MAX_BYTES
) -> Tensors:
    """Tensors of a file written by `write_tensors`, as views of the mapped file. Its header must have what is `expected`.

    `shapes`, if given, are those of float32 tensors. They are compared with the file's own table before any memory is
    taken. If they are not given, the tensors may have at most `at_most` bytes.

    Raises:
        CheckpointError: the file is missing, damaged, or not the one that is expected here.
    """
    tensors, header = map_tensors(path, expected, shapes, remedy, at_most)
    expected_digest = header.pop("sha256", None)
    if digest(tensors, header) != expected_digest:
        raise CheckpointError(f"{path} is damaged: its content does not match its digest; {remedy}")
    return tensors


def map_tensors(
    path: Path, expected: Header, shapes: Shapes | None = None, remedy: str = REMEDY, at_most: int = MAX_BYTES
) -> tuple[Tensors, Header]:
    """Tensors of a file as `read_tensors` gives them, their content not verified; and the header, which has its digest."""
    bounded(path, shapes, remedy, at_most)
    try:
        with safe_open(path, framework="pt") as file:
            header = own_header(path, file, remedy)
            says(path, header, expected)
            fits(path, file, shapes)
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, header
    except UNREADABLE as error:
        raise damaged(path, error, remedy) from error


def bounded(path: Path, shapes: Shapes | None, remedy: str, at_most: int = MAX_BYTES) -> None:
    """Raise CheckpointError unless the sizes of a file and of its table are possible; the parser would accept any."""
    content = at_most if shapes is None else 4 * sum(map(math.prod, shapes.values()))
    with opened(path, 8 + MAX_TABLE + content, remedy) as file:
        size = file.seek(0, 2)
        file.seek(0)
        table = int.from_bytes(file.read(8), "little")
    if not 8 < 8 + table <= size:
        raise CheckpointError(f"{path} is damaged: it is cut short or has no table of tensors; {remedy}")
    if table > MAX_TABLE:
        raise CheckpointError(
            f"{path} is damaged: its table of tensors has {table:,} bytes, at most {MAX_TABLE:,} are expected; {remedy}"
        )
    if shapes is not None and size != 8 + table + content:
        raise CheckpointError(
            f"{path} is damaged or does not fit its run: its tensors have {size - 8 - table:,} bytes, and {content:,} are "
            f"expected; {remedy}"
        )


def fits(path: Path, file: Any, shapes: Shapes | None) -> None:
    """Raise CheckpointError unless the open file has tensors of these names and shapes, float32."""
    if shapes is None:
        return
    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  not a dict
    found = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    wanted = {name: (tuple(shape), "F32") for name, shape in shapes.items()}
    if found != wanted:
        odd = min(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))

        def words(named: dict[str, tuple[tuple[int, ...], str]]) -> str:
            return "{} {}".format(*named[odd]) if odd in named else "none"

        raise CheckpointError(
            f"{path} does not fit its run: {odd!r:.100} has shape {words(found)}, and {words(wanted)} is expected"
        )


def says(path: Path, header: Header, expected: Header) -> None:
    """Raise CheckpointError unless a header has all that is expected; it may have more."""
    odd = next((name for name in expected if header.get(name) != expected[name]), None)
    if odd is not None:
        raise CheckpointError(
            f"{path} is out of place: its {odd} is {header.get(odd)!r:.100}, and {expected[odd]!r} is expected"
        )


def damaged(path: Path, error: Exception, remedy: str) -> CheckpointError:
    """The error for a file that cannot be parsed."""
    return CheckpointError(f"{path} is damaged ({error!s:.200}); {remedy}")


def digest(tensors: Mapping[str, Tensor], header: Header) -> str:
    """Digest of a file's content: SHA-256 of the header, and of names, types, shapes and bytes in the order of the names."""
    total = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
