"""Files of tensors from anywhere, opened without running what is in them and without more memory than they can need."""

import hashlib
import io
import os
import pickle
import re
import reprlib
import resource
import struct
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor

from interp.base import UserError
from interp.store.files import CheckpointError, opened
from interp.store.tensors import MAX_BYTES, bounded

ROOM = 1 << 30
"""Bytes of address space that opening a file may take beside eight times its size."""

SECONDS = 5
"""Seconds of processor time that opening a file may take, beside its size ÷ BYTES_A_SECOND."""
BYTES_A_SECOND = 50_000_000

REMEDY = "get the file again from where it came"


class Settings:
    """Stands in for a configuration object in a pickle: has its fields, and none of the code of its class."""


class Dtype:
    """Stands in for numpy's dtype in a pickle."""

    def __init__(self, name: str = "", *_: Any):
        self.name = name

    def __setstate__(self, state: Any) -> None:
        pass


def scalar(dtype: Any, content: Any) -> float | None:
    """Stands in for numpy's constructor of a number in a pickle; a float64, None for other types."""
    whole = isinstance(dtype, Dtype) and dtype.name == "f8" and isinstance(content, bytes) and len(content) == 8
    return struct.unpack("<d", content)[0] if whole else None


STAND_INS: list[Any] = [
    (Settings, "transformer_lens.config.hooked_transformer_config.HookedTransformerConfig"),
    (Settings, "transformer_lens.config.HookedTransformerConfig.HookedTransformerConfig"),
    (Settings, "transformer_lens.HookedTransformerConfig.HookedTransformerConfig"),
    (Settings, "easy_transformer.EasyTransformerConfig.EasyTransformerConfig"),
    (scalar, "numpy._core.multiarray.scalar"),
    (scalar, "numpy.core.multiarray.scalar"),
    (Dtype, "numpy.dtype"),
]
"""Objects that stand in for names in pickles of the TransformerLens family, which would otherwise be refused."""


def load(path: Path) -> Any:
    """Content of a .pth, .pt or .safetensors file: plain Python values, tensors on the CPU and `Settings`.

    Raises:
        CheckpointError: it is truncated, of another format, holds objects that would have to be run, or asks for more
            memory than a file of its size can need.
    """
    if path.suffix == ".safetensors":
        bounded(path, None, REMEDY)
        with in_a_sentence(path):
            return load_file(path)
    with opened(path, MAX_BYTES, REMEDY) as file:
        size = file.seek(0, 2)
        file.seek(0)
        zipped = zipfile.is_zipfile(file)
        if zipped:
            check_archive(path)
    try_in_a_child(path, zipped, size)
    with in_a_sentence(path):
        return unpickled(path, zipped)


def unpickled(path: Path, zipped: bool) -> Any:
    """Content of a file as torch.load gives it, without running anything in it."""
    with torch.serialization.safe_globals(STAND_INS):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)


def try_in_a_child(path: Path, zipped: bool, size: int) -> None:
    """Raise CheckpointError if opening a file of `size` bytes takes too long or too much memory, or kills the process.

    A pickle of a kilobyte can ask for unlimited time and memory, by naming the same part again and again. So a child process
    opens it first, under limits of the operating system. Other errors are left to this process, which will raise them too.
    """
    seconds = SECONDS + size // BYTES_A_SECOND
    child = os.fork()
    if child == 0:
        os._exit(TOO_LARGE if wants_too_much(path, zipped, ROOM + 8 * size, seconds) else 0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise CheckpointError(f"{path} takes more than {seconds} s to open, as no file of weights does; {REMEDY}")
    if os.WEXITSTATUS(status) == TOO_LARGE:
        raise CheckpointError(f"{path} asks for more memory than a file of its size can need; {REMEDY}")


TOO_LARGE = 3
"""Exit code of a child process that was refused the memory it asked for."""


def wants_too_much(path: Path, zipped: bool, more: int, seconds: int) -> bool:
    """Whether opening a file fails for lack of memory; False for other faults. Sets limits that this process keeps."""
    try:
        limit(more, seconds)
        unpickled(path, zipped)
    except MemoryError:
        return True
    except BaseException as error:
        return "memory" in str(error)  # torch's allocator has an error of its own
    return False


def limit(more: int, seconds: int) -> None:
    """Limit this process from now on to `more` further bytes of address space, and `seconds` of processor time."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    if LINUX:
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + more, now + more))


def check_archive(path: Path) -> None:
    """Raise CheckpointError if an archive is compressed, or if a part of it does not match its checksum.

    torch.save stores parts uncompressed and with a CRC-32, which torch.load does not check in a file that it maps.
    """
    with in_a_sentence(path), zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise CheckpointError(f"{path} is compressed, as torch.save never does; {REMEDY}")
        if damaged := archive.testzip():
            raise CheckpointError(f"{path} is damaged: its part {damaged:.80} does not match its checksum; {REMEDY}")


@contextmanager
def in_a_sentence(path: Path) -> Generator[None]:
    """Turn any error of a parser into a CheckpointError that names the file."""
    try:
        yield
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        if foreign := re.search(r"GLOBAL (\S+)", str(error)):
            raise CheckpointError(
                f"{path} holds {foreign[1]:.100}, an object that opening would have to run; have its author save "
                "model.state_dict() instead"
            ) from None
        raise CheckpointError(f"{path} is damaged, or no file that torch.save wrote; {REMEDY}") from None
    except Exception as error:  # hostile bytes make parsers raise anything
        raise CheckpointError(f"{path} is damaged ({str(error).splitlines()[0] if str(error) else type(error).__name__:.150}); "
                              f"{REMEDY}") from error  # fmt: skip


LINUX = Path("/proc/self/statm").exists()
"""Whether the system tells the address space of a process. Elsewhere it is not limited."""


def state_dict(path: Path, found: Any, at_most: int) -> dict[str, Tensor]:
    """State dict: named, dense, floating-point tensors, without the buffers of attention.

    Raises:
        CheckpointError: it is something else, or a tensor has more bytes than the file (a view that repeats).
    """
    if not isinstance(found, dict) or not found:
        raise CheckpointError(f"{path} holds no state dict, but {type(found).__name__:.40}; save model.state_dict()")
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{path} holds {reprlib.repr(name)} where a named tensor is expected; save model.state_dict()"
            )
    weights = {name: tensor.detach() for name, tensor in found.items() if not name.endswith((".mask", ".IGNORE"))}
    for name, tensor in weights.items():
        dense(path, name, tensor, at_most)
        if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            raise CheckpointError(f"{path} has {name!r:.60} as {tensor.dtype}; floats of 16 to 64 bits are expected")
    return weights


def dense(path: Path, name: str, tensor: Tensor, at_most: int) -> Tensor:
    """The tensor itself if dense and on the CPU; CheckpointError if not, or with more bytes than the file (a repeating view)."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise CheckpointError(
            f"{path} has {name!r:.60} as {tensor.layout} on {tensor.device}; a plain tensor is expected"
        )
    if tensor.numel() * tensor.element_size() > at_most:
        raise CheckpointError(f"{path} has {name!r:.60} with more bytes than the whole file; {REMEDY}")
    return tensor


def unwrapped(found: Any) -> Any:
    """The state dict inside a wrapper: a dictionary with other entries, or a prefix to every name.

    Knows the wrappers of Lightning, of nn.Module parents, of DataParallel and of torch.compile.
    """
    for name in ("model", "state_dict", "model_state_dict"):
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    while isinstance(found, dict) and found and all(isinstance(name, str) for name in found):
        prefix = next((each for each in PREFIXES if all(name.startswith(each) for name in found)), None)
        if prefix is None:
            break
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


PREFIXES = ("model.", "module.", "_orig_mod.")


def sha256(path: Path) -> str:
    """SHA-256 of the content of a file, in hexadecimal."""
    with opened(path, MAX_BYTES, REMEDY) as file:
        return hashlib.file_digest(cast("io.BufferedReader", file), "sha256").hexdigest()
