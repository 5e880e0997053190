"""`python -m interp.probe DIR`: IPython with a run at hand."""

import re
import sys
from importlib import metadata
from typing import Any

from interp import analyze
from interp.base import UserError, one_sentence
from interp.run import Run, open_run


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext interp.probe`: complete the names of analyses inside run.measure("…") and run.plot("…") by tab."""

    def names(_: Any, event: Any) -> list[str]:
        started = re.search(
            r"""\.(?:measure|plot)\(\s*["'](\w*)$""", event.line[: event.line.rfind(event.symbol) + len(event.symbol)]
        )
        fitting = applicable(shell.user_ns, event.line) if started else []
        return [name for name in fitting if started and name.startswith(started[1])]

    shell.set_hook("complete_command", names, re_key=r""".*\.(?:measure|plot)\(\s*["']""")


def applicable(names: dict[str, Any], line: str) -> list[str]:
    """Analyses that fit the run whose method is called at the end of a line; all where the line does not tell the run."""
    owner = re.search(r"(\w+)\.(?:measure|plot)\(", line)
    run = names.get(owner[1]) if owner else None
    return run.applies.fitting if isinstance(run, Run) else list(analyze.analyses())


def banner(run: Run) -> str:
    """Three lines: what is open, what can be done, what can be measured."""
    fitting = run.applies.fitting
    example = next((name for name in SHOWN if name in fitting), "curves")
    what, first = "learning curves without weights", "run.history is a table"
    if run.steps:
        what = f"{len(run)} checkpoints up to step {run.steps[-1]:,}"
        middle = f"run.at({run.steps[len(run) // 2]})"
        first = f"{middle}.model is a {run.config.model.kind} with hooks"
        first = first if run.config.model.has_code else f"{middle}.weights are tensors by name"
    return (
        f"interp {metadata.version('interp')}: `run` is {run.path}, {what}\n"
        f"{first}, run.measure.{example}() a Dataset, run.plot.{example}() a figure\n"
        f"analyses that fit: {', '.join(fitting)}; run.applies says why others do not\n"
    )


SHOWN = ("fourier", "groups", "superposition", "norms")
"""Analyses, of which the first that fits is the banner's example."""


def main(words: list[str]) -> int:
    """Run `python -m interp.probe` with these words; returns the exit code."""
    if not words or words[0] in ("-h", "--help"):
        print("usage: python -m interp.probe DIR\n\nIPython with the run in DIR at hand, as `run`.")
        return 0 if words else 2
    with one_sentence():
        if words[1:] and not words[1].startswith("-"):
            raise UserError(
                f'"{words[1]}" is one too many; give one directory, and others to interp.open_run in IPython'
            )
        run = open_run(words[0])
        try:
            from IPython import start_ipython
            from traitlets.config import Config
        except ImportError:
            raise UserError(
                "python -m interp.probe needs IPython; install it with: pip install 'interp[probe]'"
            ) from None
    config = Config()
    config.TerminalInteractiveShell.banner1 = banner(run)
    config.TerminalInteractiveShell.enable_tip = False
    config.InteractiveShellApp.extensions = ["interp.probe"]
    start_ipython(argv=words[1:], config=config, user_ns={"run": run, "interp": sys.modules["interp"]})
    return 0
