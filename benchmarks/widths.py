"""Networks that differ in width, side by side, against a plain torch loop that trains one after another: time of a step of all.

The plain loop is as it is written by hand: rows of a permutation, a Sequential, cross-entropy in float32, torch's own Adam.
"""

from collections.abc import Callable, Sequence
from itertools import groupby

import common
import torch
from torch import nn

from interp.config import RunConfig
from interp.denormals import flushed
from interp.machine import keep_freed_memory
from interp.recipe import Seeds
from interp.train.learner import Learner, beside, together
from interp.train.loop import runs_at_once
from interp.train.presets import preset

ROUNDS, STEPS = 8, 4
"""Rounds, and steps of each network in a round."""
MLP, CNN = "mnist-width", "mnist-convnet"
CASES = {
    "20 widths to 100, 5 seeds": (MLP, range(5, 101, 5), 5),
    "width 16": (MLP, (16,), 1),
    "width 16, 20 seeds": (MLP, (16,), 20),
    "width 10,000": (MLP, (10_000,), 1),
    "5-layer CNN, k = 32": (CNN, (32,), 1),
}
"""Preset, widths and seeds by the name of the row."""


def main() -> None:
    """Write the table."""
    keep_freed_memory()
    rows = []
    with flushed():
        for name, (of, widths, seeds) in CASES.items():
            configs = runs(of, widths, seeds)
            steps = {"plain": plain(configs), "ours": ours(configs)}
            if of == MLP:
                steps["products"] = products(configs)
            seconds = {
                case: [each / STEPS for each in times]
                for case, times in common.interleaved(steps, ROUNDS, 1, settle=1).items()
            }
            rows.append(
                [
                    name,
                    *(
                        common.spread(seconds[case]) if case in seconds else "–"
                        for case in ("plain", "ours", "products")
                    ),
                    *(
                        f"{common.ratio(seconds['plain'], seconds[case]):.2f}" if case in seconds else "–"
                        for case in ("ours", "products")
                    ),
                ]
            )
    common.write(
        "widths",
        "784-h-10, batch 256, and the 5-layer CNN on 14 × 14 pixels, batch 128, on 4,000 images; a step of every network, "
        f"{ROUNDS} rounds of {STEPS}; ms, quartiles in brackets",
        [
            "networks",
            "plain loop, one after another",
            "interp",
            "two products alone",
            "plain ÷ interp",
            "plain ÷ products",
        ],
        rows,
        notes="The two products are those of the first layer, forward and for its gradient, on images that all widths of a seed "
        "share: what no way of training side by side can do without.",
    )


def runs(of: str, widths: Sequence[int], seeds: int) -> list[RunConfig]:
    """A run of a preset for each width and seed."""
    base = preset(of).config
    return [
        base.but(model=base.model.but(width=width), seeds=Seeds(split=seed, model=seed, order=seed))
        for width in widths
        for seed in range(seeds)
    ]


def plain(configs: Sequence[RunConfig]) -> Callable[[], None]:
    """Some steps of each network in turn, in a loop as it is written by hand."""
    splits = {config.seeds.split: config.split().train for config in configs}
    images = {seed: (torch.from_numpy(train.inputs), torch.from_numpy(train.targets)) for seed, train in splits.items()}
    networks = []
    for config in configs:
        network, (x, y) = network_of(config), images[config.seeds.split]
        method = torch.optim.Adam if config.train.optimizer == "adam" else torch.optim.SGD
        networks.append((network, method(network.parameters(), config.train.lr), x, y))
    loss_of = nn.CrossEntropyLoss()
    size = configs[0].train.batch_size
    assert isinstance(size, int)

    def steps() -> None:
        for network, optimizer, x, y in networks:
            order = torch.randperm(len(x))
            for step in range(STEPS):
                rows = order[step * size : (step + 1) * size]
                loss = loss_of(network(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    return steps


def network_of(config: RunConfig) -> nn.Module:
    """The same network as modules of plain torch."""
    width = config.model.model_dump()["width"]
    if config.model.kind == "mlp":
        return nn.Sequential(nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 10))
    layers: list[nn.Module] = [nn.Unflatten(1, (1, 14, 14))]
    for reads, writes, pool in (
        (1, width, 1),
        (width, 2 * width, 2),
        (2 * width, 4 * width, 2),
        (4 * width, 8 * width, 3),
    ):
        layers += [
            nn.Conv2d(reads, writes, 3, padding=1, bias=False),
            nn.BatchNorm2d(writes),
            nn.ReLU(),
            nn.MaxPool2d(pool),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * width, 10))


def ours(configs: Sequence[RunConfig]) -> Callable[[], None]:
    """As many steps of each run, side by side where they fit together."""
    learners = []
    for _, kind in groupby(sorted(configs, key=together), key=together):
        members = beside(kind, lambda config: config)
        size = runs_at_once(members, "cpu")
        learners += [Learner.make(members[begin : begin + size], "cpu") for begin in range(0, len(members), size)]

    def steps() -> None:
        for learner in learners:
            for step in range(STEPS):
                learner.update(100 + step)

    return steps


def products(configs: Sequence[RunConfig]) -> Callable[[], None]:
    """The first layer's two products for all widths of a seed at once, as often."""
    seeds = {config.seeds.split for config in configs}
    neurons = sum(config.model.model_dump()["width"] for config in configs) // len(seeds)
    x, W, back = torch.randn(256, 784), torch.randn(784, neurons), torch.randn(256, neurons)

    def steps() -> None:
        for _ in range(STEPS * len(seeds)):
            _ = x @ W, x.T @ back

    return steps


if __name__ == "__main__":
    main()
