"""Training on a GPU: steps a second of one run and of many side by side, and of the plain TransformerLens loop."""

import sys
import time
from collections.abc import Callable

import common
import torch
from training_step import plain_step

from interp.recipe import Seeds
from interp.train.learner import Learner
from interp.train.presets import preset

STEPS, ROUNDS = 200, 7


def rates(step: Callable[[], object]) -> list[float]:
    """Steps a second, in each round."""
    found = []
    for _ in range(ROUNDS + 1):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(STEPS):
            step()
        torch.cuda.synchronize()
        found.append(STEPS / (time.perf_counter() - begin))
    return found[1:]


def main() -> None:
    """Write the table."""
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py needs a GPU, and torch finds none here")
    config = preset("nanda").config
    rows = [["TransformerLens loop", common.spread(rates(plain_step(config, "cuda")), "s"), ""]]
    for runs in (1, 16, 64):
        learner = Learner.make([config.but(seeds=Seeds(split=i, model=i)) for i in range(runs)], "cuda")
        found = rates(lambda learner=learner: learner.update(100))
        rows.append(
            [
                f"interp, {runs} run{'s' * (runs > 1)}",
                common.spread(found, "s"),
                common.spread([runs * each for each in found], "s"),
            ]
        )
    common.write(
        "gpu",
        f"nanda preset on {torch.cuda.get_device_name()}; {ROUNDS} rounds of {STEPS} steps, quartiles in brackets",
        ["what", "steps a second", "steps of all runs a second"],
        rows,
    )


if __name__ == "__main__":
    main()
