"""Configuration of a run: task, model, training and seeds. Validated, frozen, JSON in and out; imports no torch."""

import hashlib
import re
from typing import Annotated, Any, ClassVar

import numpy as np
import tyro
from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationInfo, field_validator, model_validator

from interp.base import Frozen, Shown, shortened
from interp.models import FAMILIES, Family, TransformerSpec
from interp.recipe import Seeds, TrainConfig
from interp.tasks import TASKS, Corruption, Examples, ModularTask, Split, Task


class Start(Frozen):
    """Weights that a run begins with in place of its initial ones: those of a checkpoint of another run.

    `interp.start_from("checkpoints/quick@300")` makes one. The optimiser begins anew.
    """

    section: ClassVar[str] = "start"

    path: str = ""
    """Directory of the other run, as it was given. Empty if the run begins with initial weights."""
    step: int = Field(default=0, ge=0)
    """Step of the checkpoint."""
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """Digest of the weights, by which they are known whatever the name of the directory."""

    @model_validator(mode="after")
    def _is_whole(self) -> "Start":
        if bool(self.path) != bool(self.sha256):
            raise ValueError(
                f"start.path is {self.path!r} and start.sha256 is {self.sha256!r}; take what interp.start_from returns"
            )
        return self

    def __bool__(self) -> bool:
        """Whether the weights are another run's."""
        return bool(self.sha256)


class RunConfig(Shown, Frozen):
    """Configuration of a run: everything that decides its outcome, except the machine."""

    name: str = Field(default="run", min_length=1, max_length=100)
    """Name of the run, in letters, digits and ._+=@-."""
    task: Annotated[SerializeAsAny[Task], BeforeValidator(TASKS.read)] = ModularTask()
    model: Annotated[SerializeAsAny[Family], BeforeValidator(FAMILIES.read)] = TransformerSpec()
    train: TrainConfig = TrainConfig()
    corruption: Corruption = Corruption()
    seeds: Seeds = Seeds()
    start: tyro.conf.Suppress[tyro.conf.Fixed[Start]] = Start()
    """Weights of another run that this one begins with, as `interp.start_from` returns them."""

    @field_validator("name")
    @classmethod
    def _is_plain(cls, name: str) -> str:
        if not re.fullmatch(r"[\w+=@-][\w.+=@-]*", name):  # no path: neither a slash, nor "..", nor a hidden file
            raise ValueError("may have letters, digits and ._+=@- only, and no dot first")
        return name

    @field_validator("train")
    @classmethod
    def _counts_steps(cls, train: TrainConfig, others: ValidationInfo) -> TrainConfig:
        """The training with its budget of examples turned into steps, by the size of a batch."""
        if not train.examples or "task" not in others.data:
            return train
        size = others.data["task"].n_train if train.batch_size == "full" else train.batch_size
        return train.but(steps=-(-train.examples // size))

    @model_validator(mode="after")
    def _can_be_learned(self) -> "RunConfig":
        if self.task.endless and self.train.batch_size == "full":
            raise ValueError(
                'task.examples is "endless" and train.batch_size "full"; give train.batch_size a number, such as 64'
            )
        self.model.fits(self.task.shape, self.train)
        self.train.fits(self.task.shape.outputs)
        if self.train.optimizer == "muon" and not self.model.hidden_matrices(self.task.shape):
            raise ValueError('train.optimizer is "muon", and the model has no hidden weight matrix; take "adamw"')
        self._has_these_parts()
        if self.task.endless and self.corruption.labels:
            raise ValueError(
                f"corruption.labels is {self.corruption.labels:,}, and this task draws new examples for each update; take "
                "corruption.share"
            )
        if self.corruption:
            if self.task.shape.outputs.kind != "classes":
                raise ValueError("corruption is of answers, and vectors have none; leave it out")
            self.corruption.count(self.task.n_train)
            if not self.task.reads_files:
                self.split()  # says itself what is wrong, before anything is written
        return self

    def _has_these_parts(self) -> None:
        """Raise ValueError for a part that the model lacks, and for a sphere of weights that are not its kind."""
        train, tensors = self.train, self.model.tensors(self.task.shape)
        parts = list(dict.fromkeys(tensor.part for tensor in tensors.values() if tensor.learns))
        for field in ("lr_parts", "decay_parts", "constraint_parts"):
            if odd := [part for part in getattr(train, field) if part not in parts]:
                raise ValueError(f'train.{field} has "{odd[0]}"; of this model learn {", ".join(parts)}')
        if train.constraint != "sphere":
            return
        under = {
            name: each
            for name, each in tensors.items()
            if each.part in (train.constraint_parts or parts) and each.learns
        }
        if odd := [name for name, tensor in under.items() if not tensor.invariant]:
            raise ValueError(
                f'train.constraint is "sphere", and the network is not invariant to the scale of {odd[0]} (part '
                f'"{under[odd[0]].part}"); take "clamp", or a model that is: kind mlp with normalization LNPre, frozen_readout '
                "10 and no biases, or a transformer with directions"
            )

    @property
    def moved_by_muon(self) -> dict[str, tuple[int, ...]]:
        """Parameters that Muon moves, with the axes that are the rows of each as a matrix; none with another optimiser."""
        return self.model.hidden_matrices(self.task.shape) if self.train.optimizer == "muon" else {}

    @property
    def decays(self) -> dict[str, float]:
        """Weight decay of each parameter that learns, by name."""
        train, tensors = self.train, self.model.tensors(self.task.shape)
        parts = train.decay_parts or self.model.parts
        return {name: train.weight_decay * (each.part in parts) for name, each in tensors.items() if each.learns}

    @property
    def lr_factors(self) -> dict[str, float]:
        """Factor on the learning rate of each parameter that learns, by name."""
        train, tensors = self.train, self.model.tensors(self.task.shape)
        return {
            name: train.lr_scale if each.part in train.lr_parts else 1.0
            for name, each in tensors.items()
            if each.learns
        }

    @property
    def loss_units(self) -> str:
        """Units of the losses in the history: nats, squared error, or what the loop of a module of somebody's own logged."""
        if not self.model.tells_loss:
            return "its own units"
        return self.train.loss_units(self.task.shape.outputs)

    def split(self) -> Split:
        """Training and test examples of the task, with the wrong answers that are asked for."""
        return self.corruption.of(self.task.split(self.seeds.split), self.seeds.labels)

    def fresh(self, step: int, n: int) -> Examples:
        """`n` examples of an endless stream for the update after `step` others, with wrong answers if asked for."""
        examples = self.task.fresh(step, n, self.seeds.order)
        if not self.corruption:
            return examples
        answers = np.arange(self.task.shape.outputs.n)
        return Examples(examples.inputs, self.corruption.of_batch(examples.targets, answers, self.seeds.labels, step))

    def cells(self) -> list[tuple[str, ...]]:
        """The fields that are not at their defaults, by dotted name, and the kinds of task and model."""
        parts = {"name": self.name, "task.kind": self.task.kind, "model.kind": self.model.kind}
        changed = parts | flatten(self.model_dump(exclude_defaults=True))
        return [(name, shortened(value)) for name, value in changed.items()]

    @property
    def digest(self) -> str:
        """Digest of the configuration, SHA-256 of its canonical JSON. Equal digest, machine and thread count: the same run."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def differences(ours: RunConfig, theirs: RunConfig) -> list[str]:
    """Fields in which two configurations differ, by dotted name, each with both values in words."""
    flat_ours, flat_theirs = flatten(ours.model_dump()), flatten(theirs.model_dump())
    return [
        f"{name} is {shortened(flat_theirs.get(name))} there and {shortened(flat_ours.get(name))} here"
        for name in sorted(flat_ours | flat_theirs)
        if flat_ours.get(name) != flat_theirs.get(name)
    ]


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested dictionary with dotted names: `{"train": {"lr": 1}}` as `{"train.lr": 1}`."""
    flat = {}
    for name, value in nested.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
