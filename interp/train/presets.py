"""Named starting points for a run, each with how long it takes."""

from dataclasses import dataclass

from interp.base import UserError, near_miss
from interp.config import RunConfig, TrainConfig
from interp.models import ConvnetSpec, MlpSpec, ToySpec, TransformerSpec
from interp.tasks import (
    AdditionTask,
    Corruption,
    GroupTask,
    ImagesTask,
    JointTask,
    ModularTask,
    RepeatedTask,
    SkipTrigramTask,
    SparseFeaturesTask,
    TeacherTask,
)


@dataclass(frozen=True)
class Preset:
    """A named configuration, with what it shows and how long it takes."""

    about: str
    minutes: float
    """Expected minutes of training on 2 CPU cores."""
    config: RunConfig


def width_sweep(name: str, task: ImagesTask, steps: int, batch_size: int) -> RunConfig:
    """One width of a sweep, near where the training set is just fitted: Adam without decay, a fifth of the labels wrong."""
    return RunConfig(
        name=name,
        task=task,
        model=MlpSpec(inputs="vectors", width=16, act_fn="relu", biases=True, init="linear"),
        train=TrainConfig(
            steps=steps,
            batch_size=batch_size,
            optimizer="adam",
            weight_decay=0.0,
            warmup_steps=0,
            betas=(0.9, 0.999),
            log_every=100,
            checkpoint_every=1_000,
        ),
        corruption=Corruption(share=0.2),
    )


PRESETS = {
    "quick": Preset(
        about="x + y mod 53: memorises by step 70, generalises between 540 and 1,290",
        minutes=0.5,
        config=RunConfig(
            name="quick",
            task=ModularTask(operation="add", p=53, train_fraction=0.4),
            model=TransformerSpec(d_mlp=256),
            train=TrainConfig(steps=1600, lr=3e-3, weight_decay=2.0, checkpoint_every=10),
        ),
    ),
    "nanda": Preset(
        about="x + y mod 113 from 30 % of the table, the main run of Nanda et al. (2023)",
        minutes=8,
        config=RunConfig(name="nanda"),
    ),
    "s5": Preset(
        about="x · y on the 120 permutations of S5 from 60 % of the table, as in Chughtai et al. (2023)",
        minutes=20,
        config=RunConfig(name="s5", task=GroupTask(group="S5", train_fraction=0.6)),
    ),
    "joint": Preset(
        about="x + y and x − y mod 97 in one network, from 30 % of both tables",
        minutes=15,
        config=RunConfig(name="joint", task=JointTask(operations=("add", "subtract"), p=97, train_fraction=0.3)),
    ),
    "addition": Preset(
        about="5-digit addition, fresh sums at every step, as in Nanda et al. (2023): its loss falls below 1 by step 550",
        minutes=1,
        config=RunConfig(
            name="addition",
            task=AdditionTask(digits=5, examples="endless"),
            train=TrainConfig(steps=3000, batch_size=64, weight_decay=0.1, log_every=50, checkpoint_every=50),
        ),
    ),
    "skip_trigram": Preset(
        about="which of ten tokens stood in the sequence, attention alone: memorises 64 of them, then generalises",
        minutes=0.5,
        config=RunConfig(
            name="skip_trigram",
            task=SkipTrigramTask(examples=64),
            model=TransformerSpec(attn_only=True),
            train=TrainConfig(steps=1000, checkpoint_every=10),
        ),
    ),
    "repeated": Preset(
        about="tokens that come again in random ones, two layers of attention alone, as in Nanda et al. (2023)",
        minutes=6,
        config=RunConfig(
            name="repeated",
            task=RepeatedTask(examples="endless"),
            model=TransformerSpec(n_layers=2, d_model=48, d_head=12, attn_only=True),
            train=TrainConfig(steps=4000, batch_size=128, betas=(0.9, 0.999), log_every=50, checkpoint_every=100),
        ),
    ),
    "gromov": Preset(
        about="x + y mod 97 in a quadratic MLP by squared error, as in Gromov (2023): memorises by step 40, generalises by 60",
        minutes=0.2,
        config=RunConfig(
            name="gromov",
            task=ModularTask(p=97, prompt="ab", train_fraction=0.5),
            model=MlpSpec(width=500),
            train=TrainConfig(
                steps=200,
                lr=1e-2,
                warmup_steps=0,
                weight_decay=5.0,
                loss="squared_error",
                log_every=1,
                checkpoint_every=2,
            ),
        ),
    ),
    "sphere": Preset(
        about="x + y mod 31 by plain SGD on a sphere: memorises by step 650, answers 90 % of the rest between 650 and 6,500",
        minutes=0.5,
        config=RunConfig(
            name="sphere",
            task=ModularTask(p=31, prompt="ab", operands="separate", train_fraction=0.6),
            model=MlpSpec(
                inputs="summed",
                width=64,
                n_hidden=2,
                act_fn="relu",
                normalization="LNPre",
                frozen_readout=10.0,
            ),
            train=TrainConfig(
                steps=10_000,
                lr=5e-3,
                optimizer="sgd",
                momentum=0.0,
                weight_decay=0.0,
                warmup_steps=0,
                batch_size=128,
                constraint="sphere",
                constraint_radius=1.0,
                log_every=50,
            ),
        ),
    ),
    "digits": Preset(
        about="digits from 200 images, weights 8 times as large (Omnigrok): memorises by 1,200, tells 85 % apart by 4,850",
        minutes=0.5,
        config=RunConfig(
            name="digits",
            task=ImagesTask(examples=200),
            model=MlpSpec(
                inputs="vectors", width=200, n_hidden=2, act_fn="relu", biases=True, init="linear", init_scale=8.0
            ),
            train=TrainConfig(
                steps=10_000,
                warmup_steps=0,
                weight_decay=0.2,
                betas=(0.9, 0.999),
                loss="squared_error",
                loss_reduction="mean",
                log_every=50,
            ),
        ),
    ),
    "mnist-width": Preset(
        about="784-h-10 on 4,000 images of MNIST, a fifth of the labels wrong: sweep model.width",
        minutes=1,
        config=width_sweep(
            "mnist-width",
            ImagesTask(images="mnist_5k", examples=4_000, scaling="standard"),
            steps=16_000,
            batch_size=256,
        ),
    ),
    "digits-width": Preset(
        about="64-h-10 on 1,000 digits, a fifth of the labels wrong: sweep model.width",
        minutes=0.3,
        config=width_sweep("digits-width", ImagesTask(scaling="standard"), steps=8_000, batch_size=250),
    ),
    "digits-convnet": Preset(
        about="8 × 8 digits by four convolutions with BatchNorm: fits 1,000 by step 80, tells 99 % of the others apart by 250",
        minutes=0.1,
        config=RunConfig(
            name="digits-convnet",
            task=ImagesTask(scaling="standard"),
            model=ConvnetSpec(width=8),
            train=TrainConfig(
                steps=500,
                batch_size=125,
                optimizer="adam",
                weight_decay=0.0,
                warmup_steps=0,
                betas=(0.9, 0.999),
                log_every=10,
                checkpoint_every=100,
            ),
        ),
    ),
    "mnist-convnet": Preset(
        about="5-layer CNN (Nakkiran et al. 2019) on MNIST, a fifth of labels wrong: test accuracy 93 %, 78 % at 800, then 85 %",
        minutes=1,
        config=RunConfig(
            name="mnist-convnet",
            task=ImagesTask(images="mnist_5k", examples=4_000, pooled=2, scaling="standard"),
            model=ConvnetSpec(width=8),
            train=TrainConfig(
                steps=6_000,
                batch_size=128,
                optimizer="sgd",
                lr=0.1,
                schedule="inverse_root",
                momentum=0.0,
                weight_decay=0.0,
                warmup_steps=0,
                log_every=100,
                checkpoint_every=500,
            ),
            corruption=Corruption(share=0.2),
        ),
    ),
    "teacher": Preset(
        about="what a tanh network answers, from 100 examples, weights twice as large (Omnigrok): fits, then generalises slowly",
        minutes=1,
        config=RunConfig(
            name="teacher",
            task=TeacherTask(),
            model=MlpSpec(
                inputs="vectors", width=100, n_hidden=2, act_fn="tanh", biases=True, init="linear", init_scale=2.0
            ),
            train=TrainConfig(
                steps=20_000,
                lr=3e-4,
                warmup_steps=0,
                weight_decay=0.05,
                betas=(0.9, 0.999),
                loss_reduction="mean",
                log_every=100,
            ),
        ),
    ),
    "toy-double-descent": Preset(
        about="1,000 sparse features in 2 hidden numbers, from 1,000 examples: a tenth of Henighan et al. (2023)",
        minutes=0.5,
        config=RunConfig(
            name="toy-double-descent",
            task=SparseFeaturesTask(n_features=1000, sparsity=0.99, normalised=True, examples=1000),
            model=ToySpec(d_hidden=2),
            train=TrainConfig(
                steps=10_000,
                schedule="cosine",
                warmup_steps=500,
                weight_decay=0.01,
                betas=(0.9, 0.999),
                log_every=100,
                checkpoint_every=500,
            ),
        ),
    ),
    "toy-superposition": Preset(
        about="five sparse features in the plane, fresh ones at every step: a pentagon (Elhage et al. 2022)",
        minutes=0.3,
        config=RunConfig(
            name="toy-superposition",
            task=SparseFeaturesTask(n_features=5, sparsity=0.95, examples="endless"),
            model=ToySpec(d_hidden=2),
            train=TrainConfig(
                steps=5000,
                batch_size=1024,
                schedule="cosine",
                warmup_steps=0,
                weight_decay=0.0,
                betas=(0.9, 0.999),
                log_every=50,
                checkpoint_every=100,
            ),
        ),
    ),
}
"""All presets, by name on the command line."""


def preset(name: str) -> Preset:
    """The preset called `name`; UserError with the nearest name if there is none."""
    if name not in PRESETS:
        raise UserError(f'no preset "{name}"{near_miss(name, PRESETS)}')
    return PRESETS[name]
