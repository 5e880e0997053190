"""Someone's own module, given beside a run that was recorded from it: it fits, and it takes the weights of any checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from interp.base import UserError
from interp.models.family import Family, misfit
from interp.models.module.adapted import Adapted, adapted
from interp.models.module.code import Code, copied
from interp.models.module.forward import roles
from interp.models.module.seen import sizes_of, tensors_of
from interp.models.module.spec import ROLES, ModuleSpec
from interp.recipe import TrainConfig
from interp.shape import Shape


def fitting(path: Path, spec: Family, shape: Shape, model: Any, loss: str) -> tuple[nn.Module, ModuleSpec]:
    """The module inside of its wrappers; and the run's specification with its code, and with the roles that it was given with.

    `loss` is that of the run, where neither the roles nor the recorder tell one.

    Raises:
        UserError: it is no module, the run has a model of interp's own, or names and sizes of its tensors are not the run's.
    """
    if spec.has_code:
        raise UserError(f"{path} has a model that interp computes ({spec.about}); leave model out")
    given = adapted(model)
    if odd := misfit(sizes_of(tensors_of(given.module)), spec.tensor_shapes(shape)):
        raise UserError(
            f"{type(given.module).__name__} has {odd}, and {path} was recorded from {spec.about}; give the module as it was then"
        )
    known = with_roles(spec, given, loss)
    try:
        known.fits(shape, TrainConfig())
    except ValueError as error:
        raise UserError(str(error)) from None
    code = Code(given, known, shape)
    found = known.with_code(code)
    readout = roles(found).readout if known.neurons and code.fits else None
    if readout is not None and readout.width != code.tried.neurons:
        rows, neurons = f"{readout.width:,} rows", f"{known.neurons} has {code.tried.neurons:,} neurons"
        raise UserError(f"readout has {rows}, and {neurons}; it should have a row for each")
    return given.module, found


def with_roles(spec: Family, given: Adapted, loss: str) -> ModuleSpec:
    """The run's specification with the roles that were given, each in place of the recorded one."""
    recorded = cast(ModuleSpec, spec)  # the only family without code
    found = recorded.but(**{name: said for name in ROLES if (said := getattr(given.spec, name))})
    return found if found.loss else found.but(loss=loss)


def with_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """A copy of an unwrapped module in eval mode with these weights, each in the module's own precision and on its device.

    Raises:
        UserError: the module cannot be copied.
    """
    found = copied(module)
    with torch.no_grad():
        for name, tensor in tensors_of(found).items():
            tensor.copy_(weights[name])
    return found.eval()
