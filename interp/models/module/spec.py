"""Specification of someone's own module: the table of its tensors. Its code is never imported because a run.json names it."""

import re
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import tyro
from pydantic import Field, PrivateAttr, model_validator

from interp.base import DoesNotApply, UserError, shortened
from interp.models.family import Cost, Family, Role, TensorSpec
from interp.models.module.words import size as matrix_size
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
    has_code: ClassVar[bool] = False
    remedy: ClassVar[str] = "; if the module has one, tell which it is by interp.adapt"

    kind: tyro.conf.Suppress[Literal["module"]] = "module"
    module: str = Field(default="Module", max_length=200)
    """Name of the module's class."""
    entries: tuple[Entry, ...] = ()
    """Tensors of the module: parameters and buffers, each once however many names it has."""
    embedding: tuple[Annotated[str, Field(max_length=500)], ...] = ()
    """Embedding [token, d] in words (words.py): a product of tensors; one for all positions of a prompt, or one for each."""
    readout: str = Field(default="", max_length=500)
    """Readout [neuron, answer] in words: what the neurons write on the answers."""
    unembedding: str = Field(default="", max_length=500)
    """Unembedding [d, answer] in words. Empty: the last factor of the readout."""
    neurons: str = Field(default="", max_length=500)
    """Submodule whose output is the neurons' activations, or whose input is: `input of out`."""
    loss: Literal["", "cross_entropy", "squared_error"] = ""
    """Loss of its answers. Empty: not told."""

    _code: Any = PrivateAttr(default=None)

    @property
    def code(self) -> Any:
        """The module as a function of weights (code.py), where it was given beside the run; None where it was not."""
        return self._code

    def with_code(self, code: Any) -> "ModuleSpec":
        """A copy with the module as a function of weights (code.py)."""
        found = self.but()
        found._code = code
        return found

    @model_validator(mode="after")
    def _are_matrices(self) -> "ModuleSpec":
        for role, said in self.spoken:
            try:
                matrix_size(said, self.sizes)
            except ValueError as error:
                raise ValueError(f"{role} is {shortened(said)}: it {error}") from None
        return self

    @property
    def sizes(self) -> dict[str, tuple[int, ...]]:
        """Sizes of its tensors by name."""
        return {each.name: each.size for each in self.entries}

    @property
    def spoken(self) -> list[tuple[str, str]]:
        """Role and words of each matrix that was told."""
        others = [(role, said) for role in ("readout", "unembedding") if (said := getattr(self, role))]
        return [*(("embedding", said) for said in self.embedding), *others]

    @property
    def tells_loss(self) -> bool:
        """Whether it is known which loss its answers have."""
        return bool(self.loss)

    @property
    def about(self) -> str:
        """The module in words: its class, and how many tensors it has."""
        return f"module {self.module}, {len(self.entries):,} tensors"

    @property
    def unstarted(self) -> "ModuleSpec":
        """The specification itself: it says nothing of the initial weights."""
        return self

    def fits(self, shape: Shape, train: TrainConfig) -> None:
        """Nothing; ValueError for a matrix of fewer tokens or other answers than the task has."""
        for role, said in self.spoken:
            try:
                self.refuse_size(role, repr(said), *matrix_size(said, self.sizes), shape.outputs.n)
            except UserError as error:
                raise ValueError(str(error)) from None

    def refuse_size(self, role: str, told: str, rows: int, columns: int, answers: int) -> None:
        """Raise UserError for a matrix of fewer tokens, or of other answers, than the task has."""
        if role == "embedding" and rows < answers:
            raise UserError(f"embedding is {told} with {rows:,} rows; {ROWS[role]}, {answers:,} at least")
        if role != "embedding" and answers and columns != answers:
            raise UserError(f"{role} is {told} with {columns:,} columns; {ROWS[role]}, {answers:,}")

    def check_code(self, shape: Shape) -> None:
        """Nothing; DoesNotApply when the module was not given, or cannot take the task's examples."""
        if self.code is None:
            raise no_code(self)
        _ = self.code.tried

    def tensors(self, shape: Shape) -> dict[str, TensorSpec]:
        """Every parameter and buffer by name. Rows of a matrix are the outputs, as torch has them."""
        return {
            each.name: TensorSpec(each.size, each.part, each.role, each.learns, rows=(0,) if each.size else None)
            for each in self.entries
        }

    def cost(self, shape: Shape) -> Cost:
        """Numbers that the submodules take and give for one example, and as many beside; DoesNotApply without the module."""
        if self.code is None:
            raise no_code(self)
        return Cost(work=2 * self.code.tried.numbers)


ROLES = ("embedding", "readout", "unembedding", "neurons", "loss")
"""Fields that tell what is what in a module."""

ROWS = {
    "embedding": "it should have a row for each token of an operand",
    "readout": "it should have a row for each neuron and a column for each answer",
    "unembedding": "it should have a column for each answer",
}
"""What a matrix of each role is, in words."""


def role_of(name: str, ndim: int, learns: bool) -> Role:
    """Role of a tensor, by whether it is a parameter, its name and its number of axes."""
    if not learns:
        return "buffer"
    last = name.rpartition(".")[2]
    if re.search(r"(^|_)bias$|^b(_|$)", last):
        return "bias"
    if ndim > 1:
        return "weight"
    return "scale" if re.search(r"weight|scale|gain|gamma|^w$", last) else "bias"


def no_code(spec: ModuleSpec) -> DoesNotApply:
    """The error that says that a module's weights are known and its code is not."""
    return DoesNotApply(
        f"the model is {spec.about}, of which the weights are known and the code is not; give the module beside: model=Net() in "
        "Python, --model FILE.py:NAME in a command"
    )
