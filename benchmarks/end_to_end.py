"""Wall time until the test set is answered at 99 %: the plain TransformerLens loop against interp, checkpoints and all.

Both start from the same weights and data, evaluate every tenth step and keep the same checkpoints: the plain loop as the
grokking demo does, by a copy of the state dict, ours on the disk.
"""

import copy
import tempfile
import time
from pathlib import Path

import common
import torch

from interp.config import RunConfig
from interp.models.network import build
from interp.recipe import Seeds
from interp.train.loop import train
from interp.train.presets import preset
from interp.train.schedule import checkpoint_steps

SEEDS = 3
THRESHOLD = 0.99


def plain(config: RunConfig) -> tuple[float, int]:
    """Seconds and steps of the plain loop."""
    model = build(config.model, config.task.shape, config.seeds.model)
    split = config.task.split(config.seeds.split)
    (tokens, targets), (test_tokens, test_targets) = (
        (torch.from_numpy(each.inputs), torch.from_numpy(each.targets)) for each in (split.train, split.test)
    )
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    how = config.train
    optimizer = torch.optim.AdamW(learned, lr=how.lr, weight_decay=how.weight_decay, betas=how.betas)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step / how.warmup_steps, 1))
    kept, with_checkpoint, step = [], set(checkpoint_steps(how)), 0
    begin = time.perf_counter()
    for step in range(how.steps + 1):
        loss = torch.nn.functional.cross_entropy(model(tokens)[:, -1].double(), targets)
        if step in with_checkpoint:
            kept.append(copy.deepcopy(model.state_dict()))
        if step % how.log_every == 0:
            with torch.inference_mode():
                logits = model(test_tokens)[:, -1]
                torch.nn.functional.cross_entropy(logits.double(), test_targets).item()
                if (logits.argmax(-1) == test_targets).double().mean() >= THRESHOLD:
                    break
        loss.backward()
        optimizer.step()
        warm_up.step()
        optimizer.zero_grad()
    return time.perf_counter() - begin, step


class Stop(Exception):
    """The threshold is reached."""


class UntilThreshold:
    """Watches a run until it generalises."""

    def __init__(self, *_: object):
        self.step_now = 0

    def __enter__(self) -> "UntilThreshold":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def step(self, step: int) -> None:
        """Nothing."""

    def rows(self, rows: list) -> None:
        """Stop at the threshold."""
        if rows[0]["test_accuracy"] >= THRESHOLD:
            raise Stop(int(rows[0]["step"]))


def ours(config: RunConfig) -> tuple[float, int]:
    """Seconds and steps of interp."""
    with tempfile.TemporaryDirectory() as parent:
        begin = time.perf_counter()
        try:
            train(config, Path(parent) / "run", watcher=UntilThreshold)
        except Stop as stop:
            return time.perf_counter() - begin, stop.args[0]
    raise RuntimeError("the run did not reach the threshold")


def main() -> None:
    """Write the table."""
    base, rows = preset("quick").config, []
    plain(base.but(train=base.train.but(steps=10)))  # warm
    for seed in range(SEEDS):
        config = base.but(seeds=Seeds(split=seed, model=seed, order=seed))
        (slow, slow_steps), (fast, fast_steps) = plain(config), ours(config)
        rows.append(
            [
                str(seed),
                f"{slow:.1f} ({slow_steps:,} steps)",
                f"{fast:.1f} ({fast_steps:,} steps)",
                f"{slow / fast:.1f}",
            ]
        )
    common.write(
        "end_to_end",
        f"quick preset, seconds until {THRESHOLD:.0%} of the test set is answered, one after the other for each seed",
        ["seed", "TransformerLens loop, s", "interp, s", "ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
