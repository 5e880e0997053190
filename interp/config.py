"""What a run is: its task, model, training and seeds. Validated, frozen, JSON in and out; costs no torch."""

import hashlib
import re
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from interp.base import Frozen
from interp.models import Model, Precision, ToySpec, TransformerSpec
from interp.tasks import Corruption, DrawnTask, Examples, ModularTask, Split, Task


class TrainConfig(Frozen):
    """How a model learns."""

    section: ClassVar[str] = "train"

    steps: int = Field(default=25_000, ge=0, le=100_000_000)
    """Optimiser updates in all."""
    examples: int = Field(default=0, ge=0, le=10**13)
    """Training examples in all, instead of steps, which are then as many as take at least so many; 0 counts steps."""
    batch_size: int | Literal["full"] = "full"
    """Prompts an update; `full` is the whole training set every time."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """AdamW (Loshchilov & Hutter 2019), Adam (Kingma & Ba 2015), or stochastic gradient descent with momentum."""
    lr: float = Field(default=1e-3, ge=0)
    """Learning rate after the warm-up."""
    schedule: Literal["constant", "cosine"] = "constant"
    """What the learning rate does after the warm-up: stay, or fall along half a cosine (Loshchilov & Hutter 2017, SGDR) and
    reach train.lr-end after the last step."""
    lr_end: float = Field(default=0.0, ge=0)
    """Where a cosine ends."""
    warmup_steps: int = Field(default=10, ge=0)
    """Updates over which the learning rate rises linearly from 0; the first has rate 0, as in Nanda et al. (2023)."""
    weight_decay: float = Field(default=1.0, ge=0)
    """Decay of every parameter: decoupled (a share lr·weight-decay of it each update) for adamw, added to the gradient
    (coupled, L2) for adam and sgd."""
    decay_to: Literal["origin", "initial"] = "origin"
    """Where the decay leads: to 0, or to the initial weights (Power et al. 2022, figure 2)."""
    l1: float = Field(default=0.0, ge=0)
    """λ of the penalty λ·Σ|w| over every number that learns, in nats; its subgradient is added to the gradient."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Averaging of gradient and of squared gradient, each in [0, 1); adamw and adam only."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the squared-gradient average; adamw and adam only."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Share of the last update that is kept, in [0, 1); sgd only."""
    nesterov: bool = False
    """Take the gradient where the momentum leads (Nesterov 1983; Sutskever et al. 2013); sgd with momentum only."""
    sam: float = Field(default=0.0, ge=0)
    """Radius ρ of sharpness-aware minimisation: the gradient is taken ρ·g/‖g‖ further up, g over all parameters (Foret et al.
    2021, arXiv 2010.01412, eq. 2 and 3). Takes two gradients an update; 0 is off."""
    grokfast: Literal["none", "ma", "ema"] = "none"
    """Amplify the slow part of the gradient: its moving average, over a window or exponential, is added to it
    train.grokfast-gain times (Lee et al. 2024, arXiv 2405.20233, algorithms 1 and 2)."""
    grokfast_gain: float = Field(default=2.0, ge=0)
    """λ, how often the average is added: 5 for ma and 2 for ema on modular multiplication there."""
    grokfast_window: int = Field(default=100, ge=1, le=1000)
    """Gradients in the average of ma, which is added once there are as many; all are kept, in the resume state too."""
    grokfast_momentum: float = Field(default=0.98, ge=0, lt=1)
    """α of ema, the share of the average that stays."""
    orthogonal_gradients: bool = False
    """⊥Grad: take from each parameter's gradient what only scales the parameter, and keep the gradient's length (Prieto et
    al. 2025, arXiv 2501.04697, section 5.2)."""
    max_gradient_norm: float = Field(default=0.0, ge=0)
    """Clip the gradient: one that is longer, over all parameters, is scaled down to this norm before the optimiser has it, after
    all else that is done to it (Pascanu et al. 2013, arXiv 1211.5063, algorithm 1). The coupled decay of adam and sgd to the
    origin is added afterwards; 0 is off."""
    loss: Literal["cross_entropy", "stablemax"] = "cross_entropy"
    """What is minimised: cross-entropy of the softmax, or of StableMax, which takes x + 1 for x ≥ 0 and 1/(1 − x) for x < 0 in
    place of exp x (Prieto et al. 2025, section 4.2). The history has the softmax's cross-entropy in any case."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target probability that is spread over all answers evenly (Szegedy et al. 2016)."""
    loss_precision: Literal["float64", "float32", "bfloat16", "float16"] = "float64"
    """In what the loss that is minimised and its gradient by the logits are computed; less than float64 ends in softmax
    collapse (Prieto et al. 2025). The history's loss is float64 in any case."""
    loss_reduction: Literal["sum", "mean"] = "sum"
    """Of vectors: the squared error summed over features, or its mean over them, which Adam's eps and the decay feel. The
    history has the sum in any case."""
    precision: Precision = "float32"
    """float64: everything; float32; or bfloat16 in the large matrix products of the gradients, or in all large ones, with
    weights and sums in float32. Checkpoints are float32."""
    noise: Literal["none", "weights", "gradients", "updates"] = "none"
    """Gaussian noise on every parameter that learns, new at each update: on the weights where its gradient is taken (the
    optimiser then steps from the weights as they were), on the gradients, or on the updates (Power et al. 2022)."""
    noise_scale: float = Field(default=0.0, ge=0)
    """Standard deviation σ of the noise, in units of the weights, or of the mean loss's gradient by them (nats). On updates
    in learning rates: after the optimiser's step every weight moves by another lr·σ·N(0, 1), under adamw, adam and sgd
    alike; σ = 1 is about Adam's own step."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share p that is left out of what each attention and each MLP adds to the residual stream, drawn for every prompt,
    position and update, the rest times 1/(1 − p). Losses, accuracies and analyses are without."""
    log_every: int = Field(default=10, ge=1)
    """Steps between rows of the history; steps with a checkpoint get a row as well."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Steps between checkpoints, once the early, logarithmic ones lie that far apart."""
    checkpoints_per_decade: int = Field(default=10, ge=1, le=1000)
    """Early checkpoints, evenly spaced in the logarithm of the step."""

    @model_validator(mode="after")
    def _is_consistent(self) -> "TrainConfig":
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"train.betas are {self.betas}; each must be at least 0 and less than 1")
        if self.batch_size != "full" and self.batch_size < 1:
            raise ValueError(f'train.batch_size is {self.batch_size}; take a number from 1 up, or "full"')
        if (self.noise == "none") != (self.noise_scale == 0):
            raise ValueError(
                f'train.noise is "{self.noise}" and train.noise_scale is {self.noise_scale:g}; '
                'give both, such as "weights" and 0.01, or neither'
            )
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError(
                f'train.nesterov is for sgd with momentum, and train.optimizer is "{self.optimizer}" with train.momentum '
                f"{self.momentum:g}; leave it out, or take sgd and a momentum such as 0.9"
            )
        if self.lr_end and (self.schedule != "cosine" or self.lr_end > self.lr):
            raise ValueError(
                f'train.lr_end is {self.lr_end:g} with train.schedule "{self.schedule}" and train.lr {self.lr:g}; it is for '
                "cosine, and at most train.lr"
            )
        return self

    @property
    def kept(self) -> int:
        """Tensors of each parameter's shape in a resume state, at most: itself, and what optimiser and filter keep of it."""
        return 4 + {"none": 0, "ema": 1, "ma": self.grokfast_window + 1}[self.grokfast]


class Seeds(Frozen):
    """Where each kind of chance starts; they are independent, so that one can vary while the others stay."""

    section: ClassVar[str] = "seeds"

    split: int = Field(default=0, ge=0, lt=2**63)
    """Which prompts are trained on."""
    model: int = Field(default=0, ge=0, lt=2**63)
    """Initial weights."""
    order: int = Field(default=0, ge=0, lt=2**63)
    """Order of the prompts in mini-batches."""
    noise: int = Field(default=0, ge=0, lt=2**63)
    """Gaussian noise, and what dropout leaves out."""
    labels: int = Field(default=0, ge=0, lt=2**63)
    """Which training examples get a wrong answer, and which one."""


class RunConfig(Frozen):
    """Everything that decides the outcome of a run, save the machine."""

    name: str = Field(default="run", min_length=1, max_length=100)
    """What to call the run, in letters, digits and ._+=@-."""
    task: Task = ModularTask()
    model: Model = TransformerSpec()
    train: TrainConfig = TrainConfig()
    corruption: Corruption = Corruption()
    seeds: Seeds = Seeds()

    @field_validator("name")
    @classmethod
    def _is_plain(cls, name: str) -> str:
        if not re.fullmatch(r"[\w+=@-][\w.+=@-]*", name):  # no path: neither a slash, nor "..", nor a hidden file
            raise ValueError("may have letters, digits and ._+=@- only, and no dot first")
        return name

    @field_validator("train")
    @classmethod
    def _counts_steps(cls, train: TrainConfig, others: ValidationInfo) -> TrainConfig:
        """A budget of examples is one of steps, once the task tells how many a full batch has."""
        if not train.examples or "task" not in others.data:
            return train
        size = others.data["task"].n_train if train.batch_size == "full" else train.batch_size
        return train.but(steps=-(-train.examples // size))

    @model_validator(mode="after")
    def _can_be_learned(self) -> "RunConfig":
        if self.endless and self.train.batch_size == "full":
            raise ValueError(
                'task.examples is "endless" and train.batch_size "full"; give train.batch_size a number, such as 64'
            )
        self._fits()
        several = len(self.task.shape.positions) > 1
        if several and isinstance(self.model, TransformerSpec) and self.model.attention != "causal":
            raise ValueError(
                f'model.attention is "{self.model.attention}" and task "{self.task.kind}" has its answers in the '
                'sequence, where they would be seen; take "causal"'
            )
        if self.endless and self.corruption.labels:
            raise ValueError(
                f"corruption.labels is {self.corruption.labels:,}, and this task draws new examples for each update; take "
                "corruption.share"
            )
        if self.corruption:
            self.split()  # says itself what is wrong, before anything is written
        return self

    def _fits(self) -> None:
        """ValueError where task, model and training are not for each other."""
        toy = isinstance(self.model, ToySpec)
        if toy != (self.task.shape.kind == "vectors"):
            raise ValueError(
                f'model.kind is "{self.model.kind}" and task.kind "{self.task.kind}"; a toy model is for sparse features, '
                "and those are for a toy model"
            )
        if not isinstance(self.model, ToySpec):
            if self.train.loss_reduction != "sum":
                raise ValueError(
                    f'train.loss_reduction is "{self.train.loss_reduction}"; it is for vectors, leave it out'
                )
            return
        if self.model.d_hidden >= self.task.shape.d_vocab:
            raise ValueError(
                f"model.d_hidden is {self.model.d_hidden} and task.n_features {self.task.shape.d_vocab}; take fewer "
                "hidden numbers than features, so that those must share them"
            )
        plain = TrainConfig()
        for field in ("loss", "label_smoothing", "loss_precision", "dropout"):
            if getattr(self.train, field) != getattr(plain, field):
                raise ValueError(
                    f"train.{field} is {getattr(self.train, field)!r}; it is for tokens, leave it out with a toy model"
                )
        if self.train.precision not in ("float32", "float64"):
            raise ValueError(f'train.precision is "{self.train.precision}"; a toy model takes "float32" or "float64"')
        if self.corruption:
            raise ValueError("corruption is of answers, and vectors have none; leave it out")

    @property
    def endless(self) -> bool:
        """Whether every update has examples of its own."""
        return isinstance(self.task, DrawnTask) and self.task.endless

    def split(self) -> Split:
        """What is trained on and what is tested: the task's examples divided, with the wrong answers that are asked for."""
        return self.corruption.of(self.task.split(self.seeds.split), self.seeds.labels)

    def fresh(self, step: int, n: int) -> Examples:
        """So many examples of an endless stream for the update that follows `step` others, some answers wrong if asked for."""
        assert isinstance(self.task, DrawnTask)
        examples = self.task.fresh(step, n, self.seeds.order)
        if not self.corruption:
            return examples
        answers = np.arange(self.task.shape.d_vocab_out)
        return Examples(examples.inputs, self.corruption.of_batch(examples.targets, answers, self.seeds.labels, step))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: two runs with one digest, machine and thread count are the same run."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def differences(ours: RunConfig, theirs: RunConfig) -> list[str]:
    """Dotted names of the fields in which two configurations differ, each with both values."""
    flat_ours, flat_theirs = flatten(ours.model_dump()), flatten(theirs.model_dump())
    return [
        f"{name} is {flat_theirs.get(name)!r} there and {flat_ours.get(name)!r} here"
        for name in sorted(flat_ours | flat_theirs)
        if flat_ours.get(name) != flat_theirs.get(name)
    ]


def flatten(nested: dict, prefix: str = "") -> dict:
    """`{"train": {"lr": 1}}` as `{"train.lr": 1}`."""
    flat = {}
    for name, value in nested.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
