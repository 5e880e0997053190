"""The weight matrices of a run: tensors with several axes that are multiplied, each as one matrix."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from interp.base import DoesNotApply
from interp.models.family import TensorSpec
from interp.store import Run
from interp.views.view import Checkpoints


@dataclass(frozen=True)
class Matrices(Checkpoints):
    """A run with weight matrices."""

    def check(self) -> None:
        """Nothing; DoesNotApply when the model has none."""
        super().check()
        if not self.names:
            raise DoesNotApply(f"{self.run.path} is a model without weight matrices; {self.asked} needs one")

    @property
    def names(self) -> list[str]:
        """Names of the matrices, in the model's order."""
        return matrices_of(self.run)

    def size(self, name: str) -> tuple[int, int]:
        """Rows and columns of a matrix."""
        tensor = self.run.tensors[name]
        rows = math.prod(tensor.size[axis] for axis in rows_of(tensor))
        return rows, math.prod(tensor.size) // rows

    def as_one(self, name: str, stack: Float[Tensor, "step ..."]) -> Float[Tensor, "step row column"]:
        """The matrix of that name at several checkpoints."""
        return as_matrix(self.run.tensors[name], stack)


def matrices_of(run: Run) -> list[str]:
    """Names of the run's tensors that are matrices: weights with several axes, none of them empty."""
    return [
        name
        for name, each in run.tensors.items()
        if each.role == "weight" and len(each.size) > 1 and math.prod(each.size)
    ]


def rows_of(tensor: TensorSpec) -> tuple[int, ...]:
    """Axes of a tensor that are its rows as one matrix."""
    return tuple(range(len(tensor.size)))[:-1] if tensor.rows is None else tensor.rows


def as_matrix(tensor: TensorSpec, stack: Float[Tensor, "step ..."]) -> Float[Tensor, "step row column"]:
    """A stack of weights as matrices, whose rows are the axes that the family's table says."""
    rows = rows_of(tensor)
    order = (*rows, *(axis for axis in range(len(tensor.size)) if axis not in rows))
    n_rows = math.prod(tensor.size[axis] for axis in rows)
    return stack.permute(0, *(1 + axis for axis in order)).reshape(len(stack), n_rows, -1)
