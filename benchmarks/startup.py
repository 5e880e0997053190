"""How long a command takes before it does anything: each in a process of its own, in turn."""

import subprocess
import sys
import tempfile
from pathlib import Path

import common

from interp.config import RunConfig
from interp.models import TransformerSpec
from interp.recipe import TrainConfig
from interp.tasks import ModularTask
from interp.train.loop import train

ROUNDS = 7


def main() -> None:
    """Write the table."""
    with tempfile.TemporaryDirectory() as parent:
        run = Path(parent) / "run"
        train(
            RunConfig(
                task=ModularTask(p=11),
                model=TransformerSpec(d_model=16, n_heads=2, d_head=8, d_mlp=24),
                train=TrainConfig(steps=20, checkpoint_every=10),
            ),
            run,
        )
        commands = {
            "python -c pass": ["-c", "pass"],
            "import interp": ["-c", "import interp"],
            "python -m interp --help": ["-m", "interp", "--help"],
            "python -m interp.train --help": ["-m", "interp.train", "--help"],
            "python -m interp.train quick --help": ["-m", "interp.train", "quick", "--help"],
            "python -m interp.analyze --help": ["-m", "interp.analyze", "--help"],
            "import torch": ["-c", "import torch"],
            "python -m interp.analyze fourier RUN --json": ["-m", "interp.analyze", "fourier", str(run), "--json"],
            "import transformer_lens": ["-c", "import transformer_lens"],
        }
        seconds = common.interleaved({name: command(words) for name, words in commands.items()}, ROUNDS, warm_up=1)
    common.write(
        "startup",
        f"{ROUNDS} of each in turn, a process each, warm file cache; seconds, quartiles in brackets",
        ["command", "s"],
        [[f"`{name}`", common.spread(times, "s")] for name, times in seconds.items()],
    )


def command(words: list[str]):
    """Run python with these words."""
    return lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True)


if __name__ == "__main__":
    main()
