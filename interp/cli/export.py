"""`python -m interp.export PROGRAM DIR…`: curves of runs for TensorBoard, Weights & Biases or trackio."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from interp.base import UserError, near_miss, one_sentence
from interp.command_line import loaded, parsed, refuse_empty

PROGRAMS = ("tensorboard", "wandb", "trackio")

USAGE = """usage: python -m interp.export PROGRAM DIR… [--analyses NAME…] [--out PATH] [--project NAME]

Write what runs logged, and what analyses measured, where another program shows it. Nothing leaves this machine.

  tensorboard  event files in PATH/RUN (default: tensorboard/RUN)
  wandb        an offline run of Weights & Biases in PATH/wandb (default: wandb); wandb sync sends it
  trackio      a run in trackio's database in PATH (default: where trackio looks)

  python -m interp.export tensorboard checkpoints/quick --analyses norms fourier"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Options of the export: which runs, what of them, and where to."""

    dirs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DIR…", help_behavior_hint="")]
    """Directories of runs, or of several runs each."""
    analyses: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME…", help_behavior_hint="")] = ()
    """Analyses whose measurements go along, with default options: every variable with one number a step, or up to 64 with names.
    Give them after DIR: --analyses norms fourier."""
    out: Annotated[
        Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: where the program looks)")
    ] = None
    """Directory to write into."""
    project: str = "interp"
    """Name of the project, in wandb and trackio."""


def parse(program: str, words: list[str]) -> Arguments:
    """Options from the words of a command line."""
    if program not in PROGRAMS:
        if Path(program).is_dir():
            raise UserError(
                f"{program} is a directory; the program comes first: python -m interp.export tensorboard {program}"
            )
        raise UserError(f'no program "{program}" to export to{near_miss(program, PROGRAMS)}')
    refuse_empty(words, ("--analyses",))
    return parsed(Arguments, words, f"python -m interp.export {program}")


def run_export(program: str, arguments: Arguments) -> int:
    """Export every run; returns the exit code, 2 if one of them could not be."""
    if not arguments.dirs:
        raise UserError(f"no run given; write python -m interp.export {program} DIR")
    loaded("torch")
    from interp import analyze
    from interp.export import export
    from interp.export.curves import curves_of
    from interp.store import open_run, runs_in

    names = [analyze.called(name) for name in arguments.analyses]
    for name in names:
        analyze.find(name)  # before the measuring, which may take minutes
    paths, failed, shown = runs_in(arguments.dirs), False, dict[str, None]()
    twins = {path.absolute().name for path in paths}
    if len(twins) < len(paths):
        raise UserError("two of these runs have the same name, under which both would be shown; export them one by one")
    for path in paths:
        try:
            run = open_run(path)
            curves, left_out = curves_of(run, names)
            shown[export(run, program, curves, arguments.out, arguments.project)] = None
        except UserError as error:
            if len(paths) == 1:
                raise
            print(f"error: {error}", file=sys.stderr)
            failed = True
            continue
        more = f"; no curves: {', '.join(left_out)}" if left_out else ""
        print(f"{path}: {len(curves)} curves{more}")
    for command in shown:
        print(f"{'send it by' if program == 'wandb' else 'look at it with'}: {command}")
    return 2 if failed else 0


def main(words: list[str]) -> int:
    """Run `python -m interp.export` with these words; returns the exit code."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if words else 2
    with one_sentence():
        return run_export(words[0], parse(words[0], words[1:]))
