"""The network of someone's own module: nothing of it can be computed, and no part has a known role."""

from torch import Tensor

from interp.models.module.spec import ModuleSpec, no_code
from interp.models.network import Forward, Roles
from interp.recipe import Precision
from interp.shape import Shape


def over(
    spec: ModuleSpec, shape: Shape, inputs: Tensor, precision: Precision = "float32", apart: bool = False
) -> Forward:
    """Raise DoesNotApply: the module's code is not known."""
    raise no_code(spec)


def roles(spec: ModuleSpec) -> Roles:
    """Parts by role: none is known."""
    return Roles(linear=False)
