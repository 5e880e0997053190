"""Specification of someone's own module: the table of its tensors. Its code is never imported because a run.json names it."""

from typing import ClassVar, Literal, NamedTuple

import tyro
from pydantic import Field

from interp.base import DoesNotApply
from interp.models.family import Cost, Family, Role, TensorSpec
from interp.recipe import TrainConfig
from interp.shape import Shape


class Entry(NamedTuple):
    """One tensor of a module; a list in JSON."""

    name: str
    """Name of the tensor, as in the module's state dict."""
    size: tuple[int, ...]
    part: str
    """Name of the submodule that the tensor belongs to, up to the first dot."""
    role: Role = "weight"
    learns: bool = True


class ModuleSpec(Family):
    """Someone's own torch module, which a recorder saw: names and sizes of its tensors. interp cannot compute it."""

    parts: ClassVar[tuple[str, ...]] = ()
    computes: ClassVar[tuple[str, ...]] = ("code",)
    has_code: ClassVar[bool] = False

    kind: tyro.conf.Suppress[Literal["module"]] = "module"
    module: str = Field(default="Module", max_length=200)
    """Name of the module's class."""
    entries: tuple[Entry, ...] = ()
    """Tensors of the module: parameters and buffers, each once however many names it has."""

    @property
    def about(self) -> str:
        """The module in words: its class, and how many tensors it has."""
        return f"module {self.module}, {len(self.entries):,} tensors"

    @property
    def unstarted(self) -> "ModuleSpec":
        """The specification itself: it says nothing of the initial weights."""
        return self

    def fits(self, shape: Shape, train: TrainConfig) -> None:
        """Nothing: a module of any kind may have been trained on anything."""

    def tensors(self, shape: Shape) -> dict[str, TensorSpec]:
        """Every parameter and buffer by name. Rows of a matrix are the outputs, as torch has them."""
        return {
            each.name: TensorSpec(each.size, each.part, each.role, each.learns, rows=(0,) if each.size else None)
            for each in self.entries
        }

    def cost(self, shape: Shape) -> Cost:
        """Raise DoesNotApply: nobody knows what it computes."""
        raise no_code(self)


def no_code(spec: ModuleSpec) -> DoesNotApply:
    """The error that says that a module's weights are known and its code is not."""
    return DoesNotApply(f"the model is {spec.about}, of which the weights are known and the code is not")
