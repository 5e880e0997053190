"""Sixteen seeds side by side against one after another: time of a step of one run."""

import common

from interp.config import RunConfig
from interp.machine import keep_freed_memory
from interp.models import TransformerSpec
from interp.recipe import Seeds
from interp.tasks import ModularTask
from interp.train.learner import Learner
from interp.train.loop import runs_at_once
from interp.train.presets import preset

SEEDS, ROUNDS = 16, 8
CASES = {
    "p = 23, d_mlp 128": RunConfig(task=ModularTask(p=23, train_fraction=0.5), model=TransformerSpec(d_mlp=128)),
    "p = 53 (quick)": preset("quick").config,
    "p = 113 (nanda)": preset("nanda").config,
}


def main() -> None:
    """Write the table."""
    keep_freed_memory()
    rows = []
    for name, base in CASES.items():
        configs = [base.but(seeds=Seeds(split=i, model=i)) for i in range(SEEDS)]
        chosen = runs_at_once(configs, "cpu")
        sizes = sorted({1, min(chosen, SEEDS), SEEDS})
        steps = {str(size): step_of_all(configs, size) for size in sizes}
        seconds = {
            size: [each / SEEDS for each in times] for size, times in common.interleaved(steps, ROUNDS, 1).items()
        }
        best = str(min(chosen, SEEDS))
        rows.append(
            [
                name,
                common.spread(seconds["1"]),
                common.spread(seconds[str(SEEDS)]),
                f"{best}: {common.spread(seconds[best])}",
                f"{common.ratio(seconds['1'], seconds[best]):.2f}",
            ]
        )
    common.write(
        "seeds",
        f"{SEEDS} seeds, a step of every one of them in turn, {ROUNDS} rounds; ms for each run's step, quartiles in brackets",
        ["case", "one after another", f"{SEEDS} at once", "at once by default", "one after another ÷ default"],
        rows,
    )


def step_of_all(configs: list[RunConfig], at_once: int):
    """One step of every run, so many in a batch."""
    learners = [Learner.make(configs[begin : begin + at_once], "cpu") for begin in range(0, len(configs), at_once)]

    def step() -> None:
        for learner in learners:
            learner.update(100)

    return step


if __name__ == "__main__":
    main()
