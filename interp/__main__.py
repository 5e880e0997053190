"""`python -m interp`: the map of what there is."""

import ast
from pathlib import Path

from interp.analyze import ALL, analyses
from interp.models import ToySpec, TransformerSpec
from interp.tasks import (
    GROUP_OPERATIONS,
    OPERATIONS,
    AdditionTask,
    JointTask,
    RepeatedTask,
    SkipTrigramTask,
    SparseFeaturesTask,
)
from interp.train.presets import PRESETS


def first_line(thing: object) -> str:
    """What a docstring says first."""
    return (thing.__doc__ or "").split("\n")[0]


STUDIES = Path(__file__).parents[1] / "analyses"
"""Which an installed package has not."""


def studies() -> dict[str, str]:
    """Every study of the repository, and the first line of its docstring; none of them is imported."""
    found = {file.parent.name: ast.parse(file.read_text()) for file in sorted(STUDIES.glob("*/study.py"))}
    return {name: (ast.get_docstring(module) or "").split("\n")[0] for name, module in found.items()}


def chart() -> dict[str, dict[str, str]]:
    """Every kind of thing, the names of its members, and a line on each."""
    return {
        "tasks (--task.operation), modulo p": {name: operation.formula for name, operation in OPERATIONS.items()},
        "tasks on a finite group (preset s5: --task.operation, --task.group S5, A5, D59, C113, S3xC4)": {
            name: operation.formula for name, operation in GROUP_OPERATIONS.items()
        },
        "several of either at once": {"preset joint": f"{first_line(JointTask)} --task.operations add subtract"},
        "tasks of sequences (presets of the same names; --task.examples 750, or endless)": {
            kind.model_fields["kind"].default: first_line(kind)
            for kind in (AdditionTask, RepeatedTask, SkipTrigramTask)
        },
        "tasks of vectors (presets toy-superposition, toy-double-descent)": {"sparse": first_line(SparseFeaturesTask)},
        "models (--model.…)": {"transformer": first_line(TransformerSpec), "toy": first_line(ToySpec)},
        "presets: python -m interp.train PRESET": {
            name: f"{preset.about} (about {preset.minutes:g} min)" for name, preset in PRESETS.items()
        },
        "analyses: python -m interp.analyze NAME DIR": analyses(),
        "studies: python analyses/NAME/study.py": studies(),
        "and": {
            "python -m interp.analyze all DIR": ALL,
            "python -m interp.probe DIR": "IPython with the run at hand.",
            "python -m interp.convert SRC --out DIR": "Runs of others, as ordinary ones; --to bridge: for TransformerLens 4.",
            "python -m interp.store verify DIR": "Whether every file of a run is what was written there.",
        },
    }


def main() -> None:
    """Print the map."""
    for heading, members in filter(lambda part: part[1], chart().items()):
        width = max(map(len, members))
        print(heading)
        for name, line in members.items():
            print(f"  {name:<{width}}  {line}")
        print()


if __name__ == "__main__":
    main()
