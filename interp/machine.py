"""Memory of this machine: amounts as text, how much there is, and keeping what was freed."""

import contextlib
import ctypes
import os
import re
import sys

from interp.base import UserError


def memory_size(text: str | int, name: str = "memory") -> int:
    """Bytes of an amount of memory in text: `2GiB` (1024³), `512MB` (1000²), or a number of bytes.

    `name` is what the amount is called where it was given.
    """
    found = re.fullmatch(r"\s*([0-9]{1,18}(?:\.[0-9]+)?)\s*(?:([kmgt]?)(i?)b)?\s*", str(text), re.IGNORECASE)
    if found is None or (found[3] and not found[2]):
        raise UserError(f'{name} is "{text}"; write a number and a unit, such as 2GiB or 512MB')
    number, prefix, binary = found.groups()
    size = int(float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() if prefix else " "))
    if size < 1:
        raise UserError(f'{name} is "{text}"; it should be more than nothing, such as 2GiB')
    return size


def readable_size(size: float) -> str:
    """Text of a number of bytes, rounded up: `1.5 GiB`, `13 MiB`."""
    for unit, at_least in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if size >= at_least:
            return f"{-(-10 * size // at_least) / 10:.1f} {unit}"
    return f"{-(-size // 1024):.0f} KiB"


def ram() -> int:
    """Bytes of the machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def quarter_of_ram() -> int:
    """Bytes in a quarter of the machine's memory."""
    return ram() // 4


def keep_freed_memory() -> None:
    """Make glibc's malloc keep freed memory in this process.

    Otherwise tensors of some megabytes are returned to the system at every step, and fetched page by page at the next. That
    takes a tenth of the time of training at p = 113 (docs/decisions/0005).
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        if libc.mallopt(MMAP_THRESHOLD, 1 << 30) or libc.mallopt(MMAP_THRESHOLD, 1 << 25):  # older ones allow 32 MiB
            libc.mallopt(TRIM_THRESHOLD, (1 << 31) - 1)


TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers of two parameters of mallopt(3)."""


def give_back_freed_memory() -> None:
    """Return to the system what was freed and kept, of all threads.

    Each thread keeps its own, and a later thread cannot use what one that has ended kept.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # of another C library than GNU's
            ctypes.CDLL(None).malloc_trim(0)
