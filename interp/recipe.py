"""Configuration of training, and seeds of each kind of random number. Validated, frozen, JSON in and out; imports no torch."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from interp.base import Frozen
from interp.shape import Classes, Values

Precision = Literal["float64", "float32", "bfloat16_gradients", "bfloat16"]
"""Precision of the computation. `float64` or `float32`: everything. Others: the large matrix products of the gradients, or of
both passes, are in bfloat16, all else in float32."""

LOGGED = ("step", "train_loss", "test_loss", "train_accuracy", "test_accuracy")
"""Columns of every history: losses in nats per prompt (or squared error), accuracies as shares."""

NORMS = ("norm", "effective_rate", "effective_gradient")
"""Further columns: norm ‖w‖ of all that learns, lr/‖w‖² of the next update, and ‖g‖·‖w‖ of the last one."""


class TrainConfig(Frozen):
    """Configuration of training: optimiser, schedule, regularisers, precision, and when to save."""

    section: ClassVar[str] = "train"

    steps: int = Field(default=25_000, ge=0, le=100_000_000)
    """Total number of optimiser updates."""
    examples: int = Field(default=0, ge=0, le=10**13)
    """Total number of training examples, instead of train.steps: as many updates as take at least this many. 0: use
    train.steps."""
    batch_size: int | Literal["full"] = "full"
    """Number of prompts an update. `full`: the whole training set every time."""
    optimizer: Literal["adamw", "adam", "sgd", "muon"] = "adamw"
    """AdamW (Loshchilov & Hutter 2019), Adam (Kingma & Ba 2015), stochastic gradient descent with momentum; or Muon (Jordan et
    al. 2024) for the weight matrices of hidden layers, with AdamW for all else: what embeds, what answers, biases and scales."""
    lr: float = Field(default=1e-3, ge=0)
    """Learning rate after the warm-up. muon: of what AdamW moves."""
    lr_parts: tuple[str, ...] = ()
    """Parts of the model that learn at train.lr-scale times the learning rate, such as embed."""
    lr_scale: float = Field(default=1.0, gt=0)
    """Factor on the learning rate of train.lr-parts. Liu et al. (2022, arXiv 2205.10343) give embeddings a rate of their own."""
    muon_lr: float = Field(default=0.02, gt=0)
    """Learning rate of what Muon moves, after the warm-up; it follows the same schedule."""
    muon_momentum: float = Field(default=0.95, ge=0, lt=1)
    """Momentum of Muon, which is Nesterov's."""
    schedule: Literal["constant", "cosine", "inverse_root"] = "constant"
    """Learning rate after the warm-up. constant: stays. cosine: falls along half a cosine (Loshchilov & Hutter 2017, SGDR) to
    train.lr-end after the last step. inverse_root: lr/√(1 + ⌊t/T⌋) after t updates, T = train.schedule-period (Nakkiran et al.
    2019, for SGD)."""
    schedule_period: int = Field(default=512, ge=1)
    """Updates T after which schedule inverse_root changes the rate."""
    lr_end: float = Field(default=0.0, ge=0)
    """Learning rate at which schedule cosine ends."""
    warmup_steps: int = Field(default=10, ge=0)
    """Number of updates over which the learning rate rises linearly from 0. The first has rate 0, as in Nanda et al. (2023)."""
    weight_decay: float = Field(default=1.0, ge=0)
    """Weight decay of every parameter. adamw and muon: decoupled, a share lr·weight-decay goes at each update. adam and sgd:
    coupled (L2), weight-decay times the parameter is added to the gradient."""
    decay_parts: tuple[str, ...] = ()
    """Parts of the model that decay, such as embed mlp. Empty: all."""
    decay_to: Literal["origin", "initial"] = "origin"
    """Target of the weight decay. origin: 0. initial: the initial weights (Power et al. 2022, figure 2)."""
    l1: float = Field(default=0.0, ge=0)
    """λ of the penalty λ·Σ|w| over every number that learns, in nats. Its subgradient is added to the gradient."""
    betas: tuple[float, float] = (0.9, 0.98)
    """β₁ and β₂, decay rates of the averages of gradient and squared gradient, each in [0, 1). For adamw and adam."""
    eps: float = Field(default=1e-8, gt=0)
    """ε, added to the root of the average squared gradient. For adamw and adam."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum, the share of the last update that is kept, in [0, 1). For sgd."""
    nesterov: bool = False
    """Take the gradient where the momentum leads (Nesterov 1983; Sutskever et al. 2013). For sgd with momentum."""
    sam: float = Field(default=0.0, ge=0)
    """Radius ρ of sharpness-aware minimisation (SAM): the gradient is taken at w + ρ·g/‖g‖, g over all parameters (Foret et al.
    2021, arXiv 2010.01412, eq. 2 and 3). Takes two gradients an update. 0: off."""
    grokfast: Literal["none", "ma", "ema"] = "none"
    """Grokfast: add train.grokfast-gain times a moving average of the gradient to it. ma: average over a window. ema:
    exponential average. (Lee et al. 2024, arXiv 2405.20233, algorithms 1 and 2.)"""
    grokfast_gain: float = Field(default=2.0, ge=0)
    """λ, the factor on Grokfast's average. Lee et al. use 5 for ma and 2 for ema on modular multiplication."""
    grokfast_window: int = Field(default=100, ge=1, le=1000)
    """Number of gradients in the average of ma. It is added once there are as many. All are kept, in the resume state too."""
    grokfast_momentum: float = Field(default=0.98, ge=0, lt=1)
    """α of ema: the share of the average that stays at each update."""
    orthogonal_gradients: bool = False
    """⊥Grad: remove from each parameter's gradient the part that only scales the parameter; keep the gradient's norm (Prieto
    et al. 2025, arXiv 2501.04697, section 5.2)."""
    max_gradient_norm: float = Field(default=0.0, ge=0)
    """Gradient clipping: a gradient with a larger norm over all parameters is scaled down to this norm (Pascanu et al. 2013,
    arXiv 1211.5063, algorithm 1). It comes after all other changes to the gradient. Only the coupled decay of adam and sgd to
    the origin is added afterwards. 0: off."""
    loss: Literal["cross_entropy", "stablemax", "squared_error"] = "cross_entropy"
    """Loss that is minimised, for answers among classes. cross_entropy: of the softmax. stablemax: cross-entropy of StableMax,
    with x + 1 for x ≥ 0 and 1/(1 − x) for x < 0 in place of exp x (Prieto et al. 2025, section 4.2); the history has the
    softmax's. squared_error: Σ_c (f_c − 1[c is right])² over the answers c (Gromov 2023, arXiv 2301.02679); the history has
    it too."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Label smoothing: share of the target probability that is spread evenly over all answers (Szegedy et al. 2016)."""
    output_temperature: float = Field(default=1.0, gt=0)
    """Temperature τ: the loss is that of outputs divided by it, in training, history and analyses. Multiplying every weight
    before a softmax scales the logits as well; this alone scales them at a constant norm."""
    loss_precision: Literal["float64", "float32", "bfloat16", "float16"] = "float64"
    """Precision of the loss that is minimised and of its gradient by the logits. Less than float64 ends in softmax collapse
    (Prieto et al. 2025). The history's loss is always in float64."""
    loss_reduction: Literal["sum", "mean"] = "sum"
    """Reduction of a squared error. sum: over features or answers. mean: over the same; this changes the effect of Adam's eps
    and of the decay. The history always has the sum."""
    precision: Precision = "float32"
    """Precision of the computation. float64, float32: of everything. bfloat16_gradients: bfloat16 in large matrix products of
    the gradients. bfloat16: in all large matrix products. In both, weights and sums are float32. Checkpoints are float32."""
    noise: Literal["none", "weights", "gradients", "updates"] = "none"
    """Gaussian noise for every parameter that learns, new at each update (Power et al. 2022). weights: on the weights at which
    the gradient is taken; the optimiser steps from the weights without noise. gradients: on the gradients. updates: on the
    updates."""
    noise_scale: float = Field(default=0.0, ge=0)
    """Standard deviation σ of the noise. weights: in units of the weights. gradients: in units of the mean loss's gradient (nats
    per weight unit). updates: as a multiple of lr; after the step of any optimiser every weight moves by another
    lr·σ·N(0, 1), and σ = 1 is about one Adam step."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout probability p of each number that attention and MLP add to the residual stream. Drawn for every prompt, position
    and update. Kept numbers are multiplied by 1/(1 − p). Losses, accuracies and analyses are without dropout."""
    constraint: Literal["none", "clamp", "ceiling", "sphere"] = "none"
    """Constraint on the norm ‖w‖ of weights, kept by scaling the initial ones, and all after every update. clamp: the norm is
    always train.constraint-scale times that of the initial weights (Omnigrok, Liu et al. 2023, arXiv 2210.01117). ceiling: it is
    brought down to that where it is above. sphere: a clamp of scale-invariant weights under plain SGD, where the norm does
    nothing but set the effective rate lr/‖w‖² (Kodryan et al. 2022, arXiv 2209.03695)."""
    constraint_over: Literal["joint", "tensor"] = "joint"
    """Weights that share a norm. joint: all that learn. tensor: each tensor of weights has its own; biases and the scales of a
    LayerNorm are free."""
    constraint_parts: tuple[str, ...] = ()
    """Parts of the model under the constraint, such as embed mlp. Empty: all."""
    constraint_scale: float = Field(default=1.0, gt=0)
    """Norm at which weights are kept, as a multiple of that of the initial ones (Omnigrok's α)."""
    constraint_radius: float = Field(default=0.0, ge=0)
    """Norm at which weights are kept, in place of a multiple of that of the initial ones. 0: a multiple."""
    log_norms: bool = False
    """Log the norm of all that learns, the effective rate lr/‖w‖², and the effective gradient ‖g‖·‖w‖ of the last update. A run
    with a constraint always does."""
    log_every: int = Field(default=10, ge=1)
    """Number of steps between rows of the history. Steps with a checkpoint also get a row."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Number of steps between checkpoints, once the early, logarithmically spaced ones are that far apart."""
    checkpoints_per_decade: int = Field(default=10, ge=1, le=1000)
    """Number of early checkpoints per decade of steps, evenly spaced in the logarithm of the step."""
    checkpoint_steps: tuple[int, ...] = ()
    """Steps with a checkpoint, such as 50 100 500, in place of the two options before. Steps 0 and train.steps always have
    one."""

    @field_validator("checkpoint_steps")
    @classmethod
    def _ascends(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(steps)))

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
        if (
            self.schedule != "inverse_root"
            and self.schedule_period != TrainConfig.model_fields["schedule_period"].default
        ):
            raise ValueError(
                f'train.schedule_period is {self.schedule_period:,} with train.schedule "{self.schedule}"; it is for '
                "inverse_root, leave it out"
            )
        self._has_parts()
        self._keeps_its_norm()
        self._suits_muon()
        return self

    def _has_parts(self) -> None:
        """Raise ValueError for a factor without parts, and for parts apart where something else moves all weights alike."""
        if self.lr_scale != 1 and not self.lr_parts:  # parts with a factor of 1 are a point of a sweep
            raise ValueError(
                f"train.lr_scale is {self.lr_scale:g} and train.lr_parts empty; give both, such as 0.1 and embed, or neither"
            )
        for name, others in (
            ("lr_parts", {"optimizer": "muon", "decay_to": "initial", "noise": "updates", "constraint": "sphere"}),
            ("decay_parts", {"optimizer": "muon", "decay_to": "initial"}),
        ):
            odd = next((other for other, value in others.items() if getattr(self, other) == value), None)
            if getattr(self, name) and odd:
                raise ValueError(
                    f'train.{name} is {" ".join(getattr(self, name))} with train.{odd} "{getattr(self, odd)}", which treats '
                    "all parts alike; leave one of them out"
                )
        if self.decay_parts and not self.weight_decay:
            raise ValueError(
                f"train.decay_parts is {' '.join(self.decay_parts)} and train.weight_decay 0; give a decay, or leave it out"
            )

    def _suits_muon(self) -> None:
        """Raise ValueError for options of Muon without it, and for what it cannot do."""
        plain = TrainConfig.model_fields
        if self.optimizer != "muon":
            if odd := [name for name in ("muon_lr", "muon_momentum") if getattr(self, name) != plain[name].default]:
                raise ValueError(
                    f'train.{odd[0]} is for train.optimizer "muon", and it is "{self.optimizer}"; leave it out'
                )
        elif not self.lr:
            raise ValueError(
                'train.lr is 0 with train.optimizer "muon", whose rates rise and fall together; take one above 0'
            )
        elif self.decay_to != "origin":
            raise ValueError(
                f'train.decay_to is "{self.decay_to}" with train.optimizer "muon", whose decay is to the origin; take another'
            )

    def _keeps_its_norm(self) -> None:
        """Raise ValueError for options of a constraint that there is not, and for a sphere on which more acts than SGD."""
        plain = TrainConfig.model_fields
        odd = [name for name in plain if name.startswith("constraint_") and getattr(self, name) != plain[name].default]
        if self.constraint == "none" and odd:
            raise ValueError(f'train.{odd[0]} is for a constraint; take train.constraint "clamp", or leave it out')
        if self.constraint_radius and self.constraint_scale != 1:
            raise ValueError(
                f"train.constraint_radius is {self.constraint_radius:g} and train.constraint_scale {self.constraint_scale:g}; "
                "give the one or the other"
            )
        if self.constraint == "sphere" and (self.optimizer != "sgd" or self.momentum or self.weight_decay):
            raise ValueError(
                f'train.constraint is "sphere" with train.optimizer "{self.optimizer}", train.momentum {self.momentum:g} and '
                f"train.weight_decay {self.weight_decay:g}; an effective rate is plain SGD's: take sgd, 0 and 0, or clamp"
            )

    def fits(self, outputs: Classes | Values) -> None:
        """Raise ValueError if the output of the task has no such loss, or a checkpoint would lie outside of the steps."""
        odd = [step for step in self.checkpoint_steps if not 0 <= step <= self.steps]
        if odd:  # here: only with the task are examples turned into steps
            raise ValueError(
                f"train.checkpoint_steps has {odd[0]:,}; take steps from 0 to train.steps, which is {self.steps:,}"
            )
        classes, squared = outputs.kind == "classes", self.loss == "squared_error"
        plain = TrainConfig()
        if not classes:
            for field in ("loss", "label_smoothing", "loss_precision", "output_temperature"):
                if getattr(self, field) != getattr(plain, field):
                    raise ValueError(
                        f"train.{field} is {getattr(self, field)!r}; it is for tokens, leave it out for vectors"
                    )
        elif self.loss_reduction != "sum" and not squared:
            raise ValueError(
                f'train.loss_reduction is "{self.loss_reduction}"; it is for vectors and for train.loss "squared_error", '
                "leave it out"
            )
        elif self.label_smoothing and squared:
            raise ValueError(
                f"train.label_smoothing is {self.label_smoothing:g}; it is for a cross-entropy, leave it out with "
                'train.loss "squared_error"'
            )

    def loss_units(self, outputs: Classes | Values) -> str:
        """Units of the losses in the history: nats, or squared error."""
        return "squared error" if self.loss == "squared_error" else outputs.units

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the history: losses and accuracies, and norms if they are logged."""
        return (*LOGGED, *NORMS) if self.log_norms or self.constraint != "none" else LOGGED

    @property
    def kept(self) -> int:
        """Most tensors of each parameter's shape in a resume state: the parameter, and what optimiser and filter keep of it."""
        return 4 + {"none": 0, "ema": 1, "ma": self.grokfast_window + 1}[self.grokfast]

    @property
    def window(self) -> tuple[int, ...]:
        """Size of the further axis of those tensors that hold several gradients; empty if none does."""
        return (self.grokfast_window,) if self.grokfast == "ma" else ()


class Seeds(Frozen):
    """Seeds of each kind of random number. They are independent, so that one can vary while the others stay."""

    section: ClassVar[str] = "seeds"

    split: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the split: which prompts are trained on."""
    model: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the initial weights."""
    order: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the order of the prompts in mini-batches."""
    noise: int = Field(default=0, ge=0, lt=2**63)
    """Seed of Gaussian noise, and of dropout."""
    labels: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the corruption: which training examples get a wrong answer, and which one."""
