"""Modules that take numpy arrays, as tasks hand them out."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def takes_arrays(module: Module) -> Module:
    """The module itself, which from now on takes numpy arrays as well as tensors: alone, by name, and in `run_with_cache`."""
    module.register_forward_pre_hook(as_tensors, with_kwargs=True)
    return module


def as_tensors(
    module: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a forward pass with a tensor in place of each array, on the module's device; fractions in its precision."""
    whole = next((each for each in module.parameters() if each.is_floating_point()), torch.empty(0))

    def tensor(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        found = torch.tensor(value, device=whole.device)  # a copy: a table of a task may be read-only
        return found.to(whole.dtype) if found.is_floating_point() else found

    return tuple(map(tensor, inputs)), {name: tensor(value) for name, value in named.items()}
