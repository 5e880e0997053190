"""From a loop of one's own to a figure: does a module of plain torch come to understand x + y as interp's own models do?

python analyses/own_model/study.py            # five seeds of loop.py and five null twins, a minute
python analyses/own_model/study.py --small    # one seed and one null twin, fewer updates
"""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

import loop
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

from interp import figures
from interp.base import one_sentence
from interp.command_line import parsed
from interp.run import Run, open_run
from interp.store.layout import RECORD, is_there
from interp.study import script

KINDS = {"sum": False, "twin": True}
"""Whether answers are drawn by chance, by kind of run."""
COMMAND = "python analyses/own_model/study.py"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Options: where runs are, and how much to run."""

    work: Path = Path("checkpoints/own_model")
    """Directory of the recorded runs. Those that are there are not trained again."""
    small: bool = False
    """One seed and one null twin, for fewer updates; tables and figures are written to --work."""


def recorded(work: Path, small: bool) -> Mapping[str, Run]:
    """Recorded runs by name, with the module beside them."""
    found = {}
    for kind, null in KINDS.items():
        for seed in range(1 if small else 5):
            path = work / f"{kind}+seed={seed}"
            if not is_there(path / RECORD):
                loop.train(path, seed, steps=400 if small else 5_000, null=null)
            found[path.name] = open_run(path, model=loop.mine())
    return found


def report(runs: Mapping[str, Run]) -> script.Report:
    """What each run has understood at its last checkpoint, and its way there."""
    found = {name: (run.measure("progress"), run.measure("logits")) for name, run in runs.items()}
    table = pd.DataFrame([told(name, *measured) for name, measured in found.items()]).set_index(["kind", "seed"])
    return script.Report({"runs": table}, {"own_model": draw(found)})


def told(name: str, progress: xr.Dataset, logits: xr.Dataset) -> dict[str, float | str]:
    """Landmarks of a run, and measures at its last checkpoint."""
    kind, _, seed = name.partition("+seed=")
    last = progress.isel(step=-1)
    return {
        "kind": kind,
        "seed": int(seed),
        "memorised": arrived(progress["train_accuracy"], 0.99),
        "most_of_test": arrived(progress["test_accuracy"], 0.9),
        "test_accuracy": float(last["test_accuracy"]),
        "keys": len(str(progress.attrs["key_frequencies"]).split()),
        "share_of_keys": float(logits["share_of_keys"][-1]),
        "loss": float(last["loss"].sel(split="test")),
        "restricted_loss": float(last["restricted_loss"].sel(restriction="code_exact", split="test")),
        "excluded_loss": float(last["excluded_loss"].sel(exclusion="code_exact", split="train")),
    }


def arrived(accuracy: xr.DataArray, share: float) -> float:
    """First checkpoint with such an accuracy; NaN if there is none."""
    there = accuracy["step"].values[accuracy.values >= share]
    return float(there[0]) if len(there) else np.nan


def draw(found: Mapping[str, tuple[xr.Dataset, xr.Dataset]]) -> go.Figure:
    """Accuracies, and the share of the logits' variance at the key frequencies, over steps: a line a seed, null twins dashed."""
    figure = figures.panels(
        ["accuracy", "share of the logits at key frequencies"], heights=[4, 4], title="A module and a loop of one's own"
    )
    for name, (progress, logits) in found.items():
        kind, first = name.split("+")[0], name.endswith("=0")
        dash, twin = ("dot", ", null twin") if KINDS[kind] else ("solid", "")
        for split, colour in (("train", figures.TRAIN), ("test", figures.TEST)):
            figure.add_scatter(
                x=progress["step"], y=progress[f"{split}_accuracy"], name=f"{split}{twin}", legendgroup=f"{split}{twin}",
                line={"color": colour, "dash": dash, "width": 1.2}, showlegend=first, row=1, col=1,
            )  # fmt: skip
        figure.add_scatter(
            x=logits["step"], y=logits["share_of_keys"], name=f"keys{twin}", legendgroup=f"keys{twin}",
            line={"color": figures.INK, "dash": dash, "width": 1.2}, showlegend=first, row=2, col=1,
        )  # fmt: skip
    return figure


def main() -> int:
    """Train what is missing, and write tables and figures; returns the exit code."""
    with one_sentence():
        arguments = parsed(Arguments, sys.argv[1:], COMMAND, about=(__doc__ or "").split("\n")[0])
        work = arguments.work / ("small" if arguments.small else "full")
        place = work if arguments.small else Path(__file__).parent / "results"
        script.keep(report(recorded(work, arguments.small)), place, work, COMMAND + " --small" * arguments.small)
    return 0


if __name__ == "__main__":
    sys.exit(main())
