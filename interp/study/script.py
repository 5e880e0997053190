"""What the script of every study in analyses/ does: read its options, train what is missing, keep its tables and figures."""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go

from interp import figures
from interp.base import UserError, one_sentence
from interp.command_line import parsed
from interp.config import RunConfig
from interp.report.files import fitted, terminal_width, write_gif, write_pngs
from interp.report.page import write_html
from interp.store import Run
from interp.study.engine import Outcome, run_all

Configs = Mapping[str, RunConfig]
"""Configurations of runs to train, by name."""

Runs = Mapping[str, Run]
"""Trained runs, by name."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Options of a study's script: its size, its directory, its processes."""

    work: Path
    """Directory of the trained runs. Runs that are finished are not trained again."""
    size: Literal["small", "full", "paper"] = "full"
    """How much to run. small: a minute or two that show that the study works. full: what the README reports. paper: what its
    sources ran, for a GPU or a cluster. Tables and figures of small and paper are written to --work."""
    small: bool = False
    """Short for --size small."""
    processes: int | Literal["auto"] = "auto"
    """Processes at a time, each with a run or a batch of runs; auto is one for each core, and all that --on has."""
    on: str | None = None
    """Train in a cluster, all of whose machines see --work: the address of a dask scheduler (tcp://…), a file of
    dask-jobqueue's configuration (slurm.yaml), or local:4."""
    leave: bool = False
    """With --on tcp://…: when this process is stopped, the cluster goes on. Otherwise everything there saves and ends."""
    dry_run: bool = False
    """Only print the number of runs, the disk space and the time they take."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What a study found: tables, figures and animations, by name."""

    tables: Mapping[str, pd.DataFrame]
    """Tables, written as results/NAME.csv with their index. The first is printed."""
    figures: Mapping[str, go.Figure]
    """Figures, written as results/NAME.png."""
    animations: Mapping[str, go.Figure] = dataclasses.field(default_factory=dict)
    """Figures with a slider (`figures.animated`), written as results/NAME.gif. The page NAME.html, with a play button, is too
    large for results; it is written beside the trained runs."""


def main(
    file: str,
    doc: str | None,
    configs: Callable[[bool], Configs],
    report: Callable[[Runs], Report],
    words: list[str] | None = None,
    *,
    paper: Callable[[], Configs] | None = None,
    further: Callable[[Runs], Configs] | None = None,
) -> int:
    """The command `python analyses/NAME/study.py`, or of another script there; returns its exit code.

    Args:
        file: path of the script.
        doc: docstring of the script; its first line is the question.
        configs: function from "is it small?" to the configurations by name.
        report: function from the finished runs by name to what was found.
        words: words of the command line; by default those of sys.argv.
        paper: function to the configurations of the sources' size, if the full size is cut against it.
        further: function from the finished runs to further configurations, such as the best setting with more seeds. They
            are trained next, and reported with the others.
    """
    home = Path(file).parent
    command = f"python analyses/{home.name}/{Path(file).name}"
    with one_sentence():
        default, question = Arguments(Path("checkpoints") / home.name), (doc or "").split("\n")[0]
        arguments = parsed(Arguments, sys.argv[1:] if words is None else words, command, default, question)
        if arguments.small and arguments.size == "paper":
            raise UserError("--small is given and --size paper; give one of them")
        size = "small" if arguments.small else arguments.size
        if size == "paper" and paper is None:
            raise UserError(f"--size is paper, and {home.name}/{Path(file).name} has none; take small or full")
        work = arguments.work / size
        processes = None if arguments.processes == "auto" else arguments.processes

        def train(wanted: Configs) -> Outcome:
            where: dict[str, Any] = {"on": arguments.on, "leave": arguments.leave}
            return run_all(wanted, work, processes, dry_run=arguments.dry_run, **where)

        wanted = paper() if size == "paper" and paper is not None else configs(size == "small")
        outcome = train(wanted)
        runs, failed = outcome.runs, bool(outcome.failures)
        if further is not None:
            if arguments.dry_run and len(runs) < len(wanted):
                print("which runs come after these depends on what they find")
            elif runs:
                outcome = train(further(runs))
                runs, failed = runs | outcome.runs, failed or bool(outcome.failures)
        if arguments.dry_run:
            return 0
        if runs:
            place = home / "results" if size == "full" else work
            keep(report(runs), place, work, command if size == "full" else f"{command} --size {size}")
        return 1 if failed else 0


def keep(found: Report, directory: Path, pages: Path, command: str) -> None:
    """Write tables, pictures (with the command that made them) and pages; print the first table."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, table in found.tables.items():
        table.to_csv(directory / f"{name}.csv", float_format="%.6g")
    drawn = {directory / f"{name}.png": figures.caption(figure, command) for name, figure in found.figures.items()}
    troubles = [write_pngs(drawn)]
    for name, figure in found.animations.items():
        write_html(figures.caption(figure, command), pages / f"{name}.html")
        troubles.append(write_gif(figure, directory / f"{name}.gif"))
    for trouble in filter(None, troubles):
        print(trouble, file=sys.stderr)
    first = next(iter(found.tables.values()))
    print(fitted(first, terminal_width(), float_format=lambda value: f"{value:,.4g}", na_rep="–"))
    print(f"tables and figures: {directory}")
    for name in found.animations:
        print(f"to play: {pages / name}.html")
