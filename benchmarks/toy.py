"""Time of a toy model's training step: a plain loop with autograd, as notebooks write it, against ours in closed form."""

from collections.abc import Callable

import common
import torch

import interp
from interp.config import RunConfig
from interp.models.network import initial_weights
from interp.train.learner import Learner

ROUNDS = 20
CASES = ((1000, 10), (1000, 100), (1000, 1000), (10_000, 100), (10_000, 1000))
"""Features, and training examples."""


def case(features: int, examples: int) -> RunConfig:
    """Ten features in an example, as in the preset."""
    base = interp.preset("toy-double-descent").config
    return base.but(
        task=base.task.but(n_features=features, sparsity=1 - 10 / features, examples=examples, test_examples=1)
    )


def plain_step(config: RunConfig) -> Callable[[], None]:
    """Forward, sum of squared errors, backward, AdamW."""
    x = torch.from_numpy(config.split().train.inputs)
    weights = initial_weights(config.model, config.task.shape, 0)
    W, b = (weights[name].requires_grad_() for name in ("W", "b"))
    optimizer = torch.optim.AdamW([W, b], lr=1e-3, weight_decay=0.01)

    def step() -> None:
        optimizer.zero_grad()
        (x - torch.relu(x @ W.T @ W + b)).square().sum(dim=1).mean().backward()
        optimizer.step()

    return step


def our_step(config: RunConfig) -> Callable[[], None]:
    """What interp.train does between two logged steps."""
    learner = Learner.make([config], "cpu")
    return lambda: learner.update(1000)


def main() -> None:
    """Write the table."""
    rows = []
    for features, examples in CASES:
        config = case(features, examples)
        seconds = common.interleaved({"plain": plain_step(config), "ours": our_step(config)}, ROUNDS)
        rows.append(
            [
                f"{features:,}",
                f"{examples:,}",
                common.spread(seconds["plain"]),
                common.spread(seconds["ours"]),
                f"{common.ratio(seconds['plain'], seconds['ours']):.1f}",
            ]
        )
    common.write(
        "toy",
        f"full-batch step of the toy model with 2 hidden numbers, {ROUNDS} of each in turn, quartiles in brackets, ms",
        ["features", "examples", "plain loop", "interp", "loop ÷ interp"],
        rows,
    )


if __name__ == "__main__":
    main()
