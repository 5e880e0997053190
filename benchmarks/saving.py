"""What writing a run costs: the time in checkpoints, history and resume states, as a share of training (nanda preset)."""

import tempfile
from pathlib import Path

import common

from interp.machine import keep_freed_memory
from interp.store import RunWriter
from interp.store.record import Session
from interp.train.learner import Learner
from interp.train.loop import RESUME_SECONDS
from interp.train.presets import preset

ROUNDS = 30


def main() -> None:
    """Write the table."""
    keep_freed_memory()
    config = preset("nanda").config
    learner = Learner.make([config], "cpu")
    with tempfile.TemporaryDirectory() as parent, RunWriter(Path(parent) / "run", config) as writer:
        writer.begin(Session.begin(0, "cpu", 1))
        learner.update(100)
        row = learner.rows(1)[0]
        steps = iter(range(10**6))
        seconds = common.interleaved(
            {
                "a training step": lambda: learner.update(100),
                "evaluating all prompts": lambda: learner.rows(1),
                "a checkpoint": lambda: writer.checkpoint(next(steps), learner.parameters(0)),
                "a line of history": lambda: writer.log(row),
                "a resume state": lambda: writer.save_resume(next(steps), learner.state(0)),
            },
            ROUNDS,
        )
    median = {name: sorted(times)[len(times) // 2] for name, times in seconds.items()}
    train = config.train
    a_step = {
        "a training step": 1.0,
        "evaluating all prompts": 1 / train.log_every,
        "a checkpoint": 1 / train.checkpoint_every,
        "a line of history": 1 / train.log_every,
        "a resume state": median["a training step"] / RESUME_SECONDS,
    }
    total = sum(median[name] * often for name, often in a_step.items())
    share = {name: median[name] * often / total for name, often in a_step.items()}
    saving = sum(share[name] for name in ("a checkpoint", "a line of history", "a resume state"))
    common.write(
        "saving",
        f"nanda preset, {ROUNDS} of each in turn, ms, quartiles in brackets; files are flushed to the disk",
        ["what", "ms", "times a step", "share of the run"],
        [[name, common.spread(seconds[name]), f"{a_step[name]:.4f}", f"{share[name]:.1%}"] for name in seconds],
        f"Saving takes {saving:.1%} of a run, evaluation at logged steps {share['evaluating all prompts']:.1%}; "
        f"25,000 steps take {25_000 * total / 60:.1f} minutes.",
    )


if __name__ == "__main__":
    main()
