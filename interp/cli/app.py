"""`python -m interp.app DIR`: runs of a directory as a live page."""

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import tyro

from interp.base import UserError, one_sentence
from interp.command_line import parsed

USAGE = """usage: python -m interp.app DIR [--port N]

A live page over the runs in DIR, for this machine alone (127.0.0.1): the runs, also while they train, any analysis with a slider
for the step, and two runs or steps side by side. What is not measured yet is measured when you ask for it. Ctrl-C ends it.

  python -m interp.app checkpoints"""
PORT = 8050


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Options of the live page."""

    dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR", help_behavior_hint="")]
    """Directory of runs, or a run."""
    port: Annotated[int, tyro.conf.arg(metavar="N")] = PORT
    """Port of the page; 0 takes one that is free."""


def parse(words: list[str]) -> Arguments:
    """Options from the words of a command line."""
    return parsed(Arguments, words, "python -m interp.app")


def main(words: list[str]) -> int:
    """Run `python -m interp.app` with these words; returns the exit code."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if words else 2
    with one_sentence():
        arguments = parse(words)
        if not 0 <= arguments.port < 1 << 16:
            raise UserError(f"--port is {arguments.port}; take 0 to 65535")
        if not arguments.dir.is_dir():
            raise UserError(f"{arguments.dir} is no directory; give one that holds runs")
        try:
            import dash  # noqa: F401  # pyright: ignore[reportUnusedImport]  whether it is there
        except ImportError:
            raise UserError("the live page needs dash: pip install 'interp[app]'") from None
        from interp.app.serving import server

        page = server(arguments.dir, arguments.port)
        print(f"http://127.0.0.1:{page.server_port}/ shows the runs in {arguments.dir}; Ctrl-C ends it", flush=True)
        with suppress(KeyboardInterrupt):
            page.serve_forever()
    return 0
