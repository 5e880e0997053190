"""What a torch module is made of: its tensors by name, and the specification that they give."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from interp.base import UserError
from interp.models.family import Sizes, misfit
from interp.models.module.spec import Entry, ModuleSpec, role_of

COMPILED = "_orig_mod"
"""Name under which torch.compile keeps the module that it wraps."""


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside of torch.compile, DistributedDataParallel and DataParallel, in whatever order they stand."""
    while True:
        if COMPILED in dict(module.named_children()):
            module = module.get_submodule(COMPILED)
        elif isinstance(module, DistributedDataParallel | DataParallel):
            module = module.module
        else:
            return module


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers of an unwrapped module by name, each once: one with several names has the first.

    Raises:
        UserError: a tensor has no size yet, or is complex.
    """
    saved = module.state_dict().keys()
    every = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    found = {name.replace(f"{COMPILED}.", ""): tensor for name, tensor in every.items() if name in saved}
    for name, tensor in found.items():
        if isinstance(tensor, UninitializedParameter | UninitializedBuffer):
            raise UserError(f"{name} of the module has no size yet; send a batch through it before it is recorded")
        if tensor.is_complex():
            raise UserError(f"{name} of the module is complex; record a module of real numbers")
    return found


def spec_of(module: nn.Module) -> ModuleSpec:
    """Specification of an unwrapped module.

    Raises:
        UserError: it has no tensor, or one that cannot be recorded.
    """
    tensors = tensors_of(module)
    if not tensors:
        raise UserError(f"{type(module).__name__} has no parameters; record the module that is trained")
    entries = (
        Entry(
            name,
            tuple(t.shape),
            name.split(".")[0],
            role_of(name, t.ndim, isinstance(t, nn.Parameter)),
            t.requires_grad,
        )
        for name, t in tensors.items()
    )
    return ModuleSpec(module=type(module).__name__, entries=tuple(entries))


def sizes_of(tensors: Mapping[str, Tensor]) -> Sizes:
    """Sizes of tensors by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def refuse_change(spec: ModuleSpec, tensors: Mapping[str, Tensor]) -> None:
    """Raise UserError unless the tensors have the names and sizes of the specification."""
    if odd := misfit(sizes_of(tensors), {each.name: each.size for each in spec.entries}):
        raise UserError(f"the module has {odd}, unlike when recording began; record it as another run")
