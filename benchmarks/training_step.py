"""Time of a training step: the plain TransformerLens loop, as its grokking demo writes it, against ours.

Both run in one process, a step of each in turn, so that whatever else the machine does falls on both. Prints a table and
writes it to benchmarks/results/training_step.md.
"""

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from interp.config import RunConfig, TrainConfig
from interp.models import TransformerSpec
from interp.tasks import ModularTask
from interp.train.learner import Learner

CASES = {
    "p = 53, 1 layer (quick)": RunConfig(task=ModularTask(p=53, train_fraction=0.4), model=TransformerSpec(d_mlp=256)),
    "p = 113, 1 layer (nanda)": RunConfig(),
    "p = 97, 2 layers": RunConfig(task=ModularTask(p=97, train_fraction=0.5), model=TransformerSpec(n_layers=2)),
}
STEPS, WARM_UP = 40, 5


def plain_step(config: RunConfig) -> Callable[[], None]:
    """Forward over all positions, loss in float64 at the last, backward, AdamW; biases frozen."""
    model = config.model.build(config.task.shape, config.seeds.model)
    train = config.task.split(config.seeds.split).train
    tokens, targets = torch.from_numpy(train.inputs), torch.from_numpy(train.targets)
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


def compare(config: RunConfig) -> tuple[list[float], list[float]]:
    """Seconds of each step of both, interleaved."""
    config = config.but(model=config.model.but(biases="frozen"), train=TrainConfig())
    steps = (plain_step(config), our_step(config))
    seconds: tuple[list[float], list[float]] = ([], [])
    for count in range(WARM_UP + STEPS):
        for step, times in zip(steps, seconds, strict=True):
            begin = time.perf_counter()
            step()
            if count >= WARM_UP:
                times.append(time.perf_counter() - begin)
    return seconds


def main() -> None:
    """Write the table."""
    lines = [
        f"`python benchmarks/training_step.py` on {platform.machine()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}: median of {STEPS} steps of each in turn, quartiles in brackets, ms",
        "",
        "| case | TransformerLens loop | interp | ratio of medians |",
        "|---|---|---|---|",
    ]
    for name, config in CASES.items():
        plain, ours = compare(config)
        cells = []
        for times in (plain, ours):
            low, middle, high = (1000 * value for value in statistics.quantiles(times, n=4))
            cells.append(f"{middle:.1f} ({low:.1f}–{high:.1f})")
        lines.append(f"| {name} | {' | '.join(cells)} | {statistics.median(plain) / statistics.median(ours):.1f} |")
    text = "\n".join(lines) + "\n"
    (Path(__file__).parent / "results" / "training_step.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
