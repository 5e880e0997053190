"""What a file is, told by its first bytes: what can be read, and a sentence for what cannot."""

import re
import zipfile
from pathlib import Path
from typing import Literal

from interp.store.files import CheckpointError, opened
from interp.store.tensors import MAX_BYTES

REMEDY = "get the file again from where it came"
HEAD = 1 << 12
"""Bytes at the beginning of a file that tell what it is."""

LFS = b"version https://git-lfs.github.com/spec/"
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of a file in torch.save's older format."""

SAVE = "have it saved by torch.save(model.state_dict())"
BEGINNINGS = {
    b"\x93NUMPY": f"is a NumPy array (.npy), not weights with names; {SAVE}",
    b"\x89HDF\r\n": f"is an HDF5 file, which interp does not read; {SAVE}",
    b"\x1f\x8b": "is compressed by gzip; unpack it first",
    b"BZh": "is compressed by bzip2; unpack it first",
    b"\xfd7zXZ": "is compressed by xz; unpack it first",
    b"(\xb5/\xfd": "is compressed by zstd; unpack it first",
    b"7z\xbc\xaf": "is a 7z archive; unpack it first",
    b"\x89PNG": "is a picture; give the file of weights or curves",
    b"\xff\xd8\xff": "is a picture; give the file of weights or curves",
    b"%PDF": "is a PDF; give the file of weights or curves",
    b"PAR1": "is a Parquet table; save it as CSV",
}
"""What files are that interp does not read, by their first bytes."""

Format = Literal["zip", "old torch", "safetensors", "text"]


def format_of(path: Path) -> Format:
    """The format of a file that can be read: zip and old torch are torch.save's, text is CSV, JSON or JSONL.

    Raises:
        CheckpointError: it is empty, a Git LFS pointer, a web page, or in a format that interp does not read.
    """
    with opened(path, MAX_BYTES, REMEDY) as file:
        head = file.read(HEAD)
        size = file.seek(0, 2)
    if not head:
        raise CheckpointError(f"{path} is empty; {REMEDY}")
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size:
        return "safetensors"
    if head.startswith(LFS):
        raise CheckpointError(f"{path} is a Git LFS pointer{told_size(head)}; run `git lfs pull` in its repository")
    if re.match(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head|!--)", head, re.IGNORECASE):
        raise CheckpointError(
            f"{path} is a web page (HTML), such as a download that asked for a login leaves; download the file itself"
        )
    for beginning, says in BEGINNINGS.items():
        if head.startswith(beginning):
            raise CheckpointError(f"{path} {says}")
    if head[257:262] == b"ustar":
        raise CheckpointError(f"{path} is a tar archive; unpack it first")
    if head.startswith((b"PK", OLD_TORCH)):
        kind = checked_archive(path) if head.startswith(b"PK") else "old torch"
        if path.suffix == ".safetensors":
            raise CheckpointError(f"{path} is a file of torch.save, and no safetensors file; rename it to .pt")
        return kind
    if re.match(rb"\x80[\x00-\x05]", head):
        raise CheckpointError(f"{path} is a pickle that torch.save did not write; {SAVE}")
    if is_text(head):
        return "text"
    if path.suffix == ".safetensors":
        return "safetensors"  # which reading it refuses, with what is wrong
    raise CheckpointError(f"{path} is damaged, or no file that torch.save wrote; {REMEDY}")


def told_size(pointer: bytes) -> str:
    """What a Git LFS pointer says of the file that it stands for."""
    size = re.search(rb"\nsize (\d{1,18})", pointer)
    return f", which stands for a file of {int(size[1]):,} bytes" if size else ", which stands for a file"


def is_text(head: bytes) -> bool:
    """Whether bytes are printed characters, in UTF-8."""
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(head) < HEAD or error.start < HEAD - 4:  # the last character may be cut
            return False
        text = head[: error.start].decode("utf-8-sig")
    return not re.search(r"[\x00-\x08\x0e-\x1f]", text)


def checked_archive(path: Path) -> Format:
    """The format of a ZIP archive that torch.save wrote.

    torch.save stores parts uncompressed and with a CRC-32, which torch.load does not check in a file that it maps.

    Raises:
        CheckpointError: it is cut short, compressed, damaged, or something else: NumPy's .npz, a program of TorchScript.
    """
    if not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is damaged: its end is missing; {REMEDY}")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            refuse_other_archives(path, [entry.filename for entry in entries])
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise CheckpointError(f"{path} is compressed, as torch.save never does; {REMEDY}")
            if damaged := archive.testzip():
                raise CheckpointError(
                    f"{path} is damaged: its part {damaged:.80} does not match its checksum; {REMEDY}"
                )
    except CheckpointError:
        raise
    except Exception:  # hostile bytes make parsers raise anything
        raise CheckpointError(f"{path} is damaged, or no file that torch.save wrote; {REMEDY}") from None
    return "zip"


def refuse_other_archives(path: Path, names: list[str]) -> None:
    """Raise CheckpointError for an archive that torch.save did not write."""
    if names and all(name.endswith(".npy") for name in names):
        arrays = ", ".join(name.removesuffix(".npy") for name in names[:4])
        raise CheckpointError(
            f"{path} is a NumPy archive (.npz) with {arrays:.100}, which interp does not read; {SAVE}"
        )
    inside = {name.split("/", 1)[-1] for name in names}
    if "constants.pkl" in inside:
        raise CheckpointError(f"{path} is a TorchScript program, which opening would have to run; {SAVE}")
    if "data.pkl" not in inside:
        raise CheckpointError(f"{path} is a ZIP archive that torch.save did not write; unpack it first")
