"""Someone's own module, given beside a run that was recorded from it: it fits, and it takes the weights of any checkpoint."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from interp.base import UserError
from interp.models.family import Family, Sizes, misfit
from interp.models.module.seen import sizes_of, tensors_of, unwrapped


def fitting(path: Path, spec: Family, expected: Sizes, module: Any) -> nn.Module:
    """The module inside of its wrappers.

    Raises:
        UserError: it is no module, the run has a model of interp's own, or names and sizes of its tensors are not the run's.
    """
    if spec.has_code:
        raise UserError(f"{path} has a model that interp computes ({spec.about}); leave model out")
    if not isinstance(module, nn.Module):
        what = f"the class {module.__name__}" if isinstance(module, type) else f"a {type(module).__name__}"
        raise UserError(f"model is {what}; give a torch module, such as model=Net()")
    module = unwrapped(module)
    if odd := misfit(sizes_of(tensors_of(module)), expected):
        raise UserError(
            f"{type(module).__name__} has {odd}, and {path} was recorded from {spec.about}; give the module as it was then"
        )
    return module


def with_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """A copy of an unwrapped module in eval mode with these weights, each in the module's own precision and on its device.

    Raises:
        UserError: the module cannot be copied.
    """
    try:
        found = copy.deepcopy(module)
    except Exception as error:  # whatever the module holds
        raise UserError(f"{type(module).__name__} cannot be copied ({error!s:.200}); give a newly made one") from error
    with torch.no_grad():
        for name, tensor in tensors_of(found).items():
            tensor.copy_(weights[name])
    return found.eval()
