"""Files of tensors from anywhere, opened without running what is in them and without more memory than they can need."""

import hashlib
import io
import os
import pickle
import re
import reprlib
import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from interp.base import UserError
from interp.store.files import CheckpointError, opened
from interp.store.foreign.formats import REMEDY, format_of
from interp.store.foreign.stand_ins import STAND_INS, Array
from interp.store.foreign.tables import number_or_text, read_text
from interp.store.tensors import MAX_BYTES, bounded

ROOM = 1 << 30
"""Bytes of address space that opening a file may take beside eight times its size."""

SECONDS = 5
"""Seconds of processor time that opening a file may take, beside its size ÷ BYTES_A_SECOND."""
BYTES_A_SECOND = 50_000_000


def load(path: Path) -> Any:
    """Content of a file by what it is: plain Python values, tensors on the CPU, and stand-ins for what would have to be run.

    Files of torch.save, safetensors (its metadata beside the tensors, if there is any), and tables of text.

    Raises:
        CheckpointError: it is truncated, of another format, holds objects that would have to be run, or asks for more
            memory than a file of its size can need.
    """
    kind = format_of(path)
    if kind == "text":
        return read_text(path)
    if kind == "safetensors":
        return from_safetensors(path)
    zipped = kind == "zip"
    try_in_a_child(path, zipped, path.stat().st_size)
    with in_a_sentence(path):
        return unpickled(path, zipped)


def from_safetensors(path: Path) -> dict[str, Any]:
    """Tensors of a safetensors file by name; in "state_dict", if metadata beside them says more than the library's name."""
    bounded(path, None, REMEDY)
    with in_a_sentence(path):
        with safe_open(path, framework="pt") as file:
            more = {name: number_or_text(text) for name, text in (file.metadata() or {}).items() if name != "format"}
        tensors = load_file(path)
    return more | {"state_dict": tensors} if more else tensors


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


@contextmanager
def in_a_sentence(path: Path) -> Generator[None]:
    """Turn any error of a parser into a CheckpointError that names the file, and repeats nothing of the parser's own words."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # hostile bytes make parsers raise anything
        foreign = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if foreign:
            raise CheckpointError(
                f"{path} holds {foreign[1]:.100}, an object that opening would have to run; have its author save "
                "model.state_dict() instead"
            ) from None
        raise CheckpointError(f"{path} is damaged, or no file that torch.save wrote; {REMEDY}") from error


LINUX = Path("/proc/self/statm").exists()
"""Whether the system tells the address space of a process. Elsewhere it is not limited."""


def state_dict(path: Path, found: Any, at_most: int) -> dict[str, Tensor]:
    """State dict: named, dense, floating-point tensors, without the buffers of attention.

    Raises:
        CheckpointError: it is something else, or a tensor has more bytes than the file (a view that repeats).
    """
    if not isinstance(found, dict) or not found:
        raise CheckpointError(f"{path} holds no state dict, but {type(found).__name__:.40}; save model.state_dict()")
    found = {name: tensor_of(part) if isinstance(part, Array) else part for name, part in found.items()}
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{path} holds {reprlib.repr(name)} where a named tensor is expected; save model.state_dict()"
            )
    weights = {name: tensor.detach() for name, tensor in found.items() if not name.endswith((".mask", ".IGNORE"))}
    for name, tensor in weights.items():
        dense(path, name, tensor, at_most)
        counts = tensor.dtype == torch.int64 and COUNTS.search(name)
        if not counts and tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            raise CheckpointError(f"{path} has {name!r:.60} as {tensor.dtype}; floats of 16 to 64 bits are expected")
    return weights


COUNTS = re.compile(r"(^|\.)(num_batches_tracked|position_ids)$")
"""Pattern of the names of torch's and Hugging Face's buffers of whole numbers."""


def dense(path: Path, name: str, tensor: Tensor, at_most: int) -> Tensor:
    """The tensor itself if dense and on the CPU; CheckpointError if not, or with more bytes than the file (a repeating view)."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise CheckpointError(
            f"{path} has {name!r:.60} as {tensor.layout} on {tensor.device}; a plain tensor is expected"
        )
    if tensor.numel() * tensor.element_size() > at_most:
        raise CheckpointError(f"{path} has {name!r:.60} with more bytes than the whole file; {REMEDY}")
    return tensor


WRAPPERS = ("model", "state_dict", "model_state_dict", "model_state", "network", "net", "weights", "params")
"""Names that people give the entry with the weights."""


def unwrapped(found: Any) -> Any:
    """The state dict inside a wrapper: a dictionary with other entries, or a prefix to every name.

    Knows the wrappers of Lightning, of nn.Module parents, of DataParallel and of torch.compile.
    """
    for name in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    while isinstance(found, dict) and found and all(isinstance(name, str) for name in found):
        prefix = next((each for each in PREFIXES if all(name.startswith(each) for name in found)), None)
        if prefix is None:
            break
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


PREFIXES = ("model.", "module.", "_orig_mod.")


def tensor_of(array: Array) -> Tensor | None:
    """A stand-in for numpy's array as a tensor; None if it holds no numbers."""
    found = array.numpy()
    return None if found is None else torch.from_numpy(found.astype(found.dtype.newbyteorder("=")))


def sha256(path: Path) -> str:
    """SHA-256 of the content of a file, in hexadecimal."""
    with opened(path, MAX_BYTES, REMEDY) as file:
        return hashlib.file_digest(cast("io.BufferedReader", file), "sha256").hexdigest()
