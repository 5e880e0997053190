"""`python -m interp.store verify DIR…`: whether every file of a run is what was written there."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import tyro

from interp.base import UserError, near_miss, one_sentence
from interp.command_line import parsed

USAGE = """usage: python -m interp.store verify DIR… [--json]

Read every file of a run and compare it with its digest, the configuration and the history.
Exit code 0 when all are what was written, 1 with a list of what is not, 2 when there is no run."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Options of `verify`: which runs, and how to print what was found."""

    dirs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DIR…", help_behavior_hint="")]
    """Directories of runs."""
    json: bool = False
    """Print a line of JSON for each run."""


def run_verify(arguments: Arguments) -> int:
    """Verify every run and print what was found; returns the exit code."""
    from interp.store.verify import verify

    if not arguments.dirs:
        raise UserError("no run given; write python -m interp.store verify DIR")
    sound = True
    for path in arguments.dirs:
        verdicts = list(verify(path))
        faults = [verdict for verdict in verdicts if verdict.fault]
        sound = sound and not faults
        if arguments.json:
            found = {verdict.file: verdict.fault or None for verdict in verdicts}
            print(json.dumps({"run": str(path), "whole": not faults, "files": found}))
            continue
        for verdict in faults:
            print(verdict.fault if str(path / verdict.file) in verdict.fault else f"{verdict.file}: {verdict.fault}")
        are = "is" if len(faults) == 1 else "are"
        what = "all are what was written" if not faults else f"{len(faults)} {are} not what was written"
        print(f"{path}: {len(verdicts)} files, {what}")
    return 0 if sound else 1


def parse(words: list[str]) -> Arguments:
    """Options from the words of a command line; UserError if the words are not those of `verify`."""
    if words[0] != "verify":
        raise UserError(f'no command "{words[0]}"{near_miss(words[0], ["verify"])}')
    return parsed(Arguments, words[1:], "python -m interp.store verify")


def main(words: list[str]) -> int:
    """Run `python -m interp.store` with these words; returns the exit code."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if words else 2
    with one_sentence():
        return run_verify(parse(words))
