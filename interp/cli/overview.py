"""`python -m interp`: an overview of what there is."""

import ast
from pathlib import Path

from interp.analyze import ALL, analyses
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
            name: first_line(task) for name, task in TASKS.items() if name != "unknown"
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
            "python -m interp.probe DIR": "IPython with the run at hand.",
            "python -m interp.convert SRC --out DIR": "Runs of others, as ordinary ones; --to bridge: for TransformerLens 4.",
            "python -m interp.connect A B --out DIR": "The networks on a path from A to B, as a run.",
            "python -m interp.study compare TABLE.csv": "Whether settings differ, by exact permutation.",
            "python -m interp.store verify DIR": "Whether every file of a run is what was written there.",
        },
    }


def main(words: list[str]) -> int:
    """Print the overview; returns the exit code."""
    for heading, members in filter(lambda part: part[1], chart().items()):
        width = max(map(len, members))
        print(heading)
        for name, line in members.items():
            print(f"  {name:<{width}}  {line}")
        print()
    return 0
