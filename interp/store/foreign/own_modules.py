"""State dicts of modules of any kind: names, sizes and weights, and nothing of what is computed with them."""

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor

from interp.models.module.spec import Entry, ModuleSpec, role_of
from interp.store.foreign.states import State
from interp.store.tensors import Tensors

BUFFER = re.compile(r"(^|\.)(running_(mean|var)|num_batches_tracked)$")
"""Pattern of the names of a BatchNorm's statistics."""

NOTE = (
    "the network is no kind that interp computes: its weights are measured, and for what it computes give the module beside, "
    "model=Net() in Python or --model FILE.py:NAME in a command"
)

_ALLOWED: ContextVar[bool] = ContextVar("allowed", default=False)


@contextmanager
def allowed() -> Generator[None]:
    """Within, state dicts of any module are recognised: the last resort, after everything that interp can compute."""
    token = _ALLOWED.set(True)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def is_module(found: Mapping[Any, Any]) -> bool:
    """Whether named tensors pass for the state dict of some module, where that is allowed: one is a matrix of fractions."""
    return _ALLOWED.get() and any(
        isinstance(part, Tensor) and part.ndim > 1 and part.is_floating_point() for part in found.values()
    )


def module(state: State) -> tuple[Tensors, ModuleSpec]:
    """Weights by their own names, float32, and the table of them. Tied ones that share memory are there once, as first named."""
    once: dict[Any, str] = {}
    for name, tensor in state.items():
        once.setdefault((tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else name, name)
    state = {name: state[name] for name in once.values()}
    entries = tuple(
        Entry(name, tuple(tensor.shape), name.split(".")[0], role_of(name, tensor.ndim, learns), learns)
        for name, tensor in state.items()
        for learns in (not is_buffer(name, tensor),)
    )
    return {name: tensor.float() for name, tensor in state.items()}, ModuleSpec(entries=entries)


def is_buffer(name: str, tensor: Tensor) -> bool:
    """Whether a tensor does not learn: whole numbers, and statistics of a BatchNorm."""
    return not tensor.is_floating_point() or bool(BUFFER.search(name))
