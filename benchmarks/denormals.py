"""Time of a training step with denormals as 0 and without: at the start, and once a network is certain of its training set.

    python benchmarks/denormals.py               # p = 113, after 7,000 steps
    python benchmarks/denormals.py --steps 9000

Both take the same steps of the same network in turn, in one process. Without, every thread computes as torch comes.
"""

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import common
import torch

from interp.denormals import flushed
from interp.machine import keep_freed_memory
from interp.train.learner import Learner
from interp.train.presets import PRESETS

ROUNDS = 15


def step(learner: Learner, at: int, region: Callable[[], Any]) -> Callable[[], None]:
    """One update within a region."""

    def act() -> None:
        with region():
            learner.update(at)

    return act


def denormal(learner: Learner) -> float:
    """Share of a training step's logit gradients that are denormal: above 0 and below 1.2e-38."""
    assert learner.whole is not None
    outputs = learner.whole.forward(learner.weights).detach().requires_grad_()  # pyright: ignore[reportAttributeAccessIssue]
    targets = learner.whole.targets.flatten(1)  # pyright: ignore[reportAttributeAccessIssue]
    loss = torch.nn.functional.cross_entropy(outputs.flatten(0, 1).double(), targets.flatten())
    (gradient,) = torch.autograd.grad(loss, outputs)
    small = gradient.abs()
    return float(((small > 0) & (small < torch.finfo(torch.float32).tiny)).float().mean())


def main(steps: int) -> None:
    """Write the table."""
    keep_freed_memory()
    learner, rows, done = Learner.make([PRESETS["nanda"].config], "cpu"), [], 0
    for at in (0, steps):
        with flushed():
            while done < at:
                learner.update(done)
                done += 1
        share = denormal(learner)
        cases = {"as they come": step(learner, done, nullcontext), "as 0": step(learner, done, flushed)}
        seconds = common.interleaved(cases, ROUNDS, settle=1)
        ratio = common.ratio(seconds["as they come"], seconds["as 0"])
        rows.append([f"{at:,}", f"{share:.2f}", *map(common.spread, seconds.values()), f"{ratio:.2f}"])
    common.write(
        "denormals",
        f"p = 113, one layer (`nanda`), median of {ROUNDS} steps of each in turn, quartiles in brackets, ms",
        ["steps before", "share of denormal logit gradients", "denormals as they come", "denormals as 0", "ratio"],
        rows,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=7_000, help="updates after which the network is certain")
    main(parser.parse_args().steps)
