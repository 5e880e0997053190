"""What a family of models is: a frozen specification, and beside it in its folder the arithmetic.

A family is a folder with three files. `spec.py` holds a subclass of `Family` and imports no torch. `forward.py` has
`over(spec, shape, inputs, …)`, the network over some examples as a function of the weights, and `roles(spec)`, what of it is an
embedding, a neuron, a readout (interp/models/network.py). `hooked.py` has `load(spec, shape, weights)`, a module with
TransformerLens' hooks.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Self

from interp.base import Frozen
from interp.recipe import TrainConfig
from interp.shape import Shape

Role = Literal["weight", "bias", "scale", "buffer"]

OUTER = ("embed", "pos", "unembed", "in", "out")
"""Parts between the hidden layers and what goes in or comes out."""


class TensorSpec(NamedTuple):
    """Specification of one parameter: its size, its part of the model, and its initial values."""

    size: tuple[int, ...]
    part: str
    """Part of the model whose norm it counts for: "embed", "mlp", …"""
    role: Role = "weight"
    """Role in the arithmetic. weight: multiplied. bias: added. scale: a normalisation's factor. buffer: moved by
    the forward pass of an update, as running statistics are; it does not learn."""
    learns: bool = True
    """Whether training changes it."""
    std: float = 0.0
    """Standard deviation of the initial weights, which are normal. Biases start at 0 and scales at 1."""
    begins: float = 0.0
    """Number with which a buffer begins."""
    factor: float = 1.0
    """Factor on the initial values, whatever they are."""
    bound: float = 0.0
    """Bound of a uniform distribution from which weights and biases are drawn, in place of the normal one and of 0; 0: none."""
    norm: float = 0.0
    """Norm to which the initial values are scaled, before the factor; 0: they stay as drawn."""
    invariant: bool = False
    """Whether the network stays the same function if this tensor alone is multiplied by a positive number."""
    rows: tuple[int, ...] | None = None
    """Axes that are the rows of the tensor as one matrix, the others its columns; None: all but the last."""


class Cost(NamedTuple):
    """Memory that one example takes while a network is computed over many, in float32 numbers."""

    work: int
    """In the last layer, where answers are read: activations and outputs."""
    states: int = 0
    """In the layers before it: states of every position, where there are such layers or several answers."""
    plan: int = 0
    """For planning the forward pass, which is kept from one checkpoint to the next."""

    def bytes(self, n: int, part: int | None = None) -> int:
        """Bytes of n examples, computed at once or in parts of so many."""
        return 4 * ((self.work + self.states) * min(n, part or n) + self.plan * n)

    def bytes_of_last_layer(self, n: int, part: int) -> int:
        """Bytes of n examples whose last layer alone is computed in parts (`Forward.posts`)."""
        return 4 * (self.work * min(n, part) + (self.states + self.plan) * n)


Sizes = Mapping[str, tuple[int, ...]]
"""Sizes of tensors by name."""


def misfit(found: Sizes, expected: Sizes) -> str:
    """What is wrong with the names and sizes of tensors, in words: the first that is missing, extra or of another size. Nothing
    if they are as expected."""
    for name in (*expected, *found):
        if name not in found:
            return f"no tensor {name} {words(expected[name])}"
        if name not in expected:
            return f"an extra tensor {name[:100]} {words(found[name])}"
        if found[name] != expected[name]:
            return f"{name} of {words(found[name])} in place of {words(expected[name])}"
    return ""


def words(size: tuple[int, ...]) -> str:
    """A tensor's size in words: 64×8."""
    return "×".join(map(str, size)) or "one number"


class Family(Frozen):
    """Base of model specifications. Each kind says which tensors it has, and for which tasks it is."""

    section: ClassVar[str] = "model"

    kind: Any
    """Name of the family."""

    parts: ClassVar[tuple[str, ...]]
    """Names of the parts that its tensors belong to, in the order in which they are shown."""

    computes: ClassVar[tuple[str, ...]] = ()
    """Fields that decide what is computed, and that the sizes of tensors do not tell: files of others may leave them open."""

    has_code: ClassVar[bool] = True
    """Whether its network can be computed here, and so trained."""

    remedy: ClassVar[str] = ""
    """Advice for a network that lacks a part, as the end of a sentence: where parts are told, how."""

    @property
    def tells_loss(self) -> bool:
        """Whether it is known which loss its answers have."""
        return True

    @property
    def about(self) -> str:
        """The model in a few words."""
        raise NotImplementedError

    def fits(self, shape: Shape, train: TrainConfig) -> None:
        """Check that the model is for such a task, and can be trained so.

        Raises:
            ValueError: the model is not for tasks of that shape, or cannot be trained in that way.
        """
        raise NotImplementedError

    def tensors(self, shape: Shape) -> dict[str, TensorSpec]:
        """Every parameter by name, in the order in which initial weights are drawn."""
        raise NotImplementedError

    @property
    def unstarted(self) -> Self:
        """The specification with defaults for the fields that only affect the initial weights."""
        raise NotImplementedError

    @property
    def filled_up(self) -> Self:
        """The specification with sizes to which others may be filled up with zeros: networks of which it is equal can train side
        by side. Zeros must stay zeros under gradients, and change nothing else. Its own sizes where a family allows none.
        """
        return self.unstarted

    @property
    def shares_inputs(self) -> bool:
        """Whether its network takes fewer sets of inputs than runs, each of which serves as many neighbouring runs."""
        return False

    def check_code(self, shape: Shape) -> None:
        """Nothing; DoesNotApply when the network cannot be computed over a task of that shape."""

    def cost(self, shape: Shape) -> Cost:
        """Largest memory of one example while the network is computed over many; every bound on memory comes from it."""
        raise NotImplementedError

    def tensor_shapes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, by name."""
        return {name: tensor.size for name, tensor in self.tensors(shape).items()}

    def learned(self, shape: Shape) -> list[str]:
        """Names of the parameters that training changes."""
        return [name for name, tensor in self.tensors(shape).items() if tensor.learns]

    def buffers(self, shape: Shape) -> list[str]:
        """Names of the tensors that the forward pass of an update moves; none with most families."""
        return [name for name, tensor in self.tensors(shape).items() if tensor.role == "buffer"]

    def size(self, shape: Shape) -> int:
        """Size of one example as work: the number of prompts of three tokens that take as much."""
        return shape.inputs.size

    def fixed_norms(self, shape: Shape) -> dict[str, float]:
        """Norms g of the parameters V, by name, that the network computes with as g·V/‖V‖; none with most families."""
        return {}

    def hidden_matrices(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        """Weight matrices of hidden layers that learn, by name: not those of tokens, positions and answers. With each the axes
        that are its rows."""
        return {
            name: tuple(range(len(tensor.size) - 1)) if tensor.rows is None else tensor.rows
            for name, tensor in self.tensors(shape).items()
            if tensor.learns and tensor.role == "weight" and tensor.part not in OUTER and len(tensor.size) > 1
        }

    def needs_inputs(self, kind: str, shape: Shape, remedy: str) -> None:
        """Raise ValueError if the task's examples are of another kind than the model takes."""
        if shape.inputs.kind != kind:
            raise ValueError(f'model.kind is "{self.kind}" and the task\'s examples are {shape.inputs.kind}; {remedy}')
