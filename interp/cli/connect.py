"""`python -m interp.connect A[@STEP] B[@STEP]`: a path between two networks, as a run."""

import dataclasses
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from interp.base import one_sentence
from interp.command_line import parsed
from interp.store.between import Curve
from interp.store.files import WITHOUT_RESUME

if TYPE_CHECKING:
    from interp.store import Run

USAGE = """usage: python -m interp.connect A[@STEP] B[@STEP] [--curve line|bezier|polygon] [--align] [--out DIR]

Write the networks on a path from A to B as a run: its step is the number of the point, and every analysis of checkpoints runs
along it. A and B are checkpoints of one run or of two, of the same model and task; without @STEP the last ones.

  python -m interp.connect checkpoints/one checkpoints/two --curve bezier --out checkpoints/path
  python -m interp.analyze path checkpoints/path

All options: python -m interp.connect A B --help"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Options of a path: what it connects, how, and where to write it."""

    a: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="A[@STEP]")]
    """The network at t = 0."""
    b: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="B[@STEP]")]
    """The network at t = 1."""
    curve: Annotated[Curve, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Curve)
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("checkpoints/path")
    """Directory of the path."""
    overwrite: bool = False
    """Replace the run in the directory."""


def parse(words: list[str]) -> Arguments:
    """Options from the words of a command line."""
    return parsed(Arguments, words, "python -m interp.connect", about="A path between two networks, as a run.")


def report(run: "Run") -> None:
    """Print how high the path leads, and the command to look at it."""
    history = run.history
    print(run)
    for split in ("train", "test"):
        losses = history[f"{split}_loss"].to_numpy()
        if not math.isnan(losses.sum()):
            ends = f"{losses[0]:.3g} and {losses[-1]:.3g} at the ends"
            print(f"{split} loss: {ends}, at most {losses.max():.3g} (point {losses.argmax()})")
    print(f"look at it with: python -m interp.analyze path {shlex.quote(str(run.path))}")


def main(words: list[str]) -> int:
    """Run `python -m interp.connect` with these words; returns the exit code."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if words else 2
    with one_sentence(WITHOUT_RESUME):
        arguments = parse(words)
        from interp.train.connect import connect  # here: --help costs no torch
        from interp.train.watching import watch

        given = arguments.a, arguments.b, arguments.out, arguments.curve
        report(connect(*given, overwrite=arguments.overwrite, watcher=watch))
    return 0
