"""Where compiled loops (loops.py) take the place of torch's operations: where first derivatives alone are needed.

These are the steps of training, of chains (`llc`) and of curves between networks. Everything else goes the plain way, which can
be differentiated any number of times and is the reference.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

_once = ContextVar("first derivatives alone", default=False)


@contextmanager
def first_derivatives() -> Generator[None]:
    """A region in which what is computed is differentiated once at most."""
    token = _once.set(True)
    try:
        yield
    finally:
        _once.reset(token)


def once_at_most() -> bool:
    """Whether what is computed here is differentiated once at most."""
    return _once.get()


def serve(numbers: int, *tensors: Tensor) -> bool:
    """Whether compiled loops serve for these tensors: in a region of `first_derivatives`, for float32 on the CPU, if numba is
    there and there are many `numbers`. For few its import takes longer than they save."""
    if not _once.get() or numbers < MANY:
        return False
    if any(tensor.dtype != torch.float32 or tensor.device.type != "cpu" for tensor in tensors):
        return False
    from interp.maths.loops import numba

    return numba is not None


def arrays(*tensors: Tensor) -> list[Any]:
    """The tensors as arrays without gaps, since loops are compiled for one layout alone. What has no gaps keeps its memory."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


MANY = 2**13
"""Numbers from which on loops over them are compiled."""
