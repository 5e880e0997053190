"""Time of a training step: the plain TransformerLens loop, as its grokking demo writes it, against ours and its floor.

The floor is our own step's matrix products, dense and sparse, called again with the same arguments and nothing between.

    python benchmarks/training_step.py                       # against the plain loop
    python benchmarks/training_step.py --against ../earlier  # and against the build in another checkout, in the same process
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from interp.config import RunConfig
from interp.machine import keep_freed_memory
from interp.models import TransformerSpec
from interp.models.network import build
from interp.recipe import TrainConfig
from interp.tasks import ModularTask
from interp.train.learner import Learner

CASES = {
    "p = 53, 1 layer (quick)": RunConfig(task=ModularTask(p=53, train_fraction=0.4), model=TransformerSpec(d_mlp=256)),
    "p = 113, 1 layer (nanda)": RunConfig(),
    "p = 97, 2 layers": RunConfig(task=ModularTask(p=97, train_fraction=0.5), model=TransformerSpec(n_layers=2)),
}
ROUNDS = 40
PRODUCTS = ("bmm", "baddbmm", "mm", "addmm", "_linear_pointwise", "_embedding_bag_forward_only", "sparse_sampled_addmm")


def plain_step(config: RunConfig, device: str = "cpu") -> Callable[[], None]:
    """Forward over all positions, loss in float64 at the last, backward, AdamW; biases frozen."""
    model = build(config.model, config.task.shape, config.seeds.model).to(device)
    train = config.task.split(config.seeds.split).train
    tokens, targets = (torch.from_numpy(each).to(device) for each in (train.inputs, train.targets))
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-3, weight_decay=1.0, betas=(0.9, 0.98))

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(model(tokens)[:, -1].double(), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def our_step(config: RunConfig) -> Callable[[], None]:
    """What interp.train does between two logged steps."""
    learner = Learner.make([config], "cpu")
    return lambda: learner.update(100)


def earlier_step(checkout: Path, config: RunConfig) -> Callable[[], None]:
    """The same as `our_step`, by the build in another checkout."""
    given = config.model_dump(exclude_defaults=True)
    given |= {part: {"kind": getattr(config, part).kind, **given.get(part, {})} for part in ("task", "model")}
    with common.Build(checkout):
        from interp.config import RunConfig as Earlier
        from interp.train.learner import Learner as EarlierLearner

        learner = EarlierLearner.make([Earlier.model_validate(given)], "cpu")
        learner.update(100)  # what is imported at the first step is imported here
    return lambda: learner.update(100)


class Recorder(TorchDispatchMode):
    """Keeps every matrix product that is called, with its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple, dict]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Call it, and keep it when it is a product."""
        if func.overloadpacket.__name__ in PRODUCTS:
            self.calls.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def products_of(step: Callable[[], None]) -> Callable[[], None]:
    """The matrix products of a step, again."""
    with Recorder() as recorder:
        step()
    calls = [(func, tuple(map(plain, args)), kwargs) for func, args, kwargs in recorder.calls]

    def again() -> None:
        with torch.no_grad():
            for func, args, kwargs in calls:
                func(*args, **kwargs)

    return again


def plain(argument: Any) -> Any:
    """A tensor without its history."""
    return argument.detach() if isinstance(argument, torch.Tensor) else argument


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_earlier(parser)
    earlier = parser.parse_args().against
    keep_freed_memory()  # for all
    rows = []
    for name, config in CASES.items():
        config = config.but(model=config.model.but(biases="frozen"), train=TrainConfig())
        rounded = config.but(train=TrainConfig(precision="bfloat16_gradients"))
        ours = our_step(config)
        cases = {"plain": plain_step(config), "ours": ours, "floor": products_of(ours), "bf16": our_step(rounded)}
        if earlier:
            cases["earlier"] = earlier_step(earlier, config)
        seconds = common.interleaved(cases, ROUNDS, settle=2)
        rows.append(
            [
                name,
                *(common.spread(each) for each in seconds.values()),
                f"{common.ratio(seconds['plain'], seconds['ours']):.1f}",
                f"{common.ratio(seconds['ours'], seconds['floor']):.2f}",
                f"{common.ratio(seconds['plain'], seconds['bf16']):.1f}",
                *([f"{common.ratio(seconds['earlier'], seconds['ours']):.2f}"] if earlier else []),
            ]
        )
    common.write(
        "training_step",
        f"median of {ROUNDS} steps of each in turn, each after two of its own, quartiles in brackets, ms",
        [
            "case",
            "TransformerLens loop",
            "interp",
            "its products alone",
            "interp, bfloat16_gradients",
            *([f"interp at {common.commit(earlier)}"] if earlier else []),
            "loop ÷ interp",
            "interp ÷ products",
            "loop ÷ bfloat16_gradients",
            *(["earlier ÷ interp"] if earlier else []),
        ],
        rows,
    )


if __name__ == "__main__":
    main()
