"""`python -m interp`: an overview of what there is; `python -m interp COMMAND …`: any command."""

import ast
import importlib
import sys
from importlib import metadata
from pathlib import Path

from interp.analyze import ALL, analyses
from interp.base import UserError, near_miss, one_sentence
from interp.models import FAMILIES
from interp.tasks import GROUP_OPERATIONS, OPERATIONS, TASKS
from interp.train.presets import PRESETS


def first_line(thing: object) -> str:
    """First line of a docstring."""
    return (thing.__doc__ or "").split("\n")[0]


STUDIES = Path(__file__).parents[2] / "analyses"
"""Folder of studies, which an installed package does not have."""


def studies() -> dict[str, str]:
    """Studies of the repository, with the first line of each docstring; none of them is imported."""
    found = {file.parent.name: ast.parse(file.read_text()) for file in sorted(STUDIES.glob("*/study.py"))}
    return {name: (ast.get_docstring(module) or "").split("\n")[0] for name, module in found.items()}


def chart() -> dict[str, dict[str, str]]:
    """Overview as text: every kind of thing, the names of its members, and a line on each."""
    return {
        "tasks (a preset has one; its options are --task.…)": {
            name: first_line(task) for name, task in TASKS.items() if name not in ("unknown", "absent")
        },
        "operations modulo p (task modular: --task.operation)": {
            **{name: operation.formula for name, operation in OPERATIONS.items()},
            '"x**2 + 3*x*y"': "any formula of x and y with + - * / ** and whole numbers",
            "FILE.csv": "any table of answers, with columns x, y, answer",
        },
        "operations on a finite group (task group: --task.operation, --task.group S5, A5, D59, C113, S3xC4)": {
            name: operation.formula for name, operation in GROUP_OPERATIONS.items()
        },
        "models (a preset has one; its options are --model.…)": {
            name: first_line(family) for name, family in FAMILIES.items()
        },
        "presets: python -m interp.train PRESET": {
            name: f"{preset.about} (about {preset.minutes:g} min)" for name, preset in PRESETS.items()
        },
        "analyses: python -m interp.analyze NAME DIR": analyses(),
        "studies: python analyses/NAME/study.py": studies(),
        "and": {
            "python -m interp.analyze all DIR": ALL,
            "python -m interp.app DIR": "A live page over the runs in DIR, also while they train.",
            "python -m interp.probe DIR": "IPython with the run at hand.",
            "python -m interp.convert SRC --out DIR": "Runs of others, as ordinary ones; --to bridge: for TransformerLens 4.",
            "python -m interp.table DIR…": "A table of runs, a row for each: what they differ in, and when they learned.",
            "python -m interp.export PROGRAM DIR…": "Curves of runs for TensorBoard, Weights & Biases or trackio.",
            "python -m interp.connect A B --out DIR": "The networks on a path from A to B, as a run.",
            "python -m interp.study compare TABLE.csv": "Whether settings differ, by exact permutation.",
            "python -m interp.store verify DIR": "Whether every file of a run is what was written there.",
        },
    }


COMMANDS = ("train", "analyze", "app", "table", "export", "probe", "convert", "connect", "study", "store")
"""Commands: `python -m interp.train` and `python -m interp train` are one."""


def version() -> str:
    """Versions of interp, and of what decides its numbers."""
    names = ("interp", "torch", "transformer-lens")
    own, *others = [f"{name} {metadata.version(name)}" for name in names]
    return f"{own} ({', '.join(others)}, Python {sys.version.split()[0]})"


def refuse_no_command(word: str) -> None:
    """Raise UserError for a word that is no command, with the command that it may be meant for."""
    if word in PRESETS:
        raise UserError(f'"{word}" is a preset; write python -m interp train {word}')
    if word in analyses() or word == "all":
        raise UserError(f'"{word}" is an analysis; write python -m interp analyze {word} DIR')
    if word not in COMMANDS:
        known = ("--version", "--help") if word.startswith("-") else COMMANDS
        raise UserError(f'no command "{word}"{near_miss(word, known)}')


def main(words: list[str]) -> int:
    """Print the overview or the version, or run a command; returns the exit code."""
    if words[:1] == ["--version"]:
        print(version())
        return 0
    if words and words[0] not in ("-h", "--help"):
        with one_sentence():
            refuse_no_command(words[0])
        return importlib.import_module(f"interp.cli.{words[0]}").main(words[1:])
    for heading, members in filter(lambda part: part[1], chart().items()):
        width = max(map(len, members))
        print(heading)
        for name, line in members.items():
            print(f"  {name:<{width}}  {line}")
        print()
    return 0
