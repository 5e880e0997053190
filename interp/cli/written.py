"""What `python -m interp.analyze` writes and prints of one run: figures, tables, numbers."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interp import analyze

Measured = dict[str, tuple[Any, Any]]
"""Measurement (xarray.Dataset) and its figure (plotly), by analysis."""


def draw_one(found: Any, beside: list[Any], stem: Path | None, on_demand: set[str], pictures: Any) -> Any:
    """A measurement with its figure; what was measured is written, if there is a `stem` for the names of the files.

    Of files that are written `on_demand` only, older ones are deleted: they would pass for this measurement's.
    """
    from interp.report import files
    from interp.report.page import write_html

    figure = analyze.draw(found, beside)
    if stem is None:
        return found, figure
    writers: dict[str, Callable[[Path], object]] = {
        ".nc": lambda path: files.write_netcdf(found, path),
        ".csv": lambda path: files.write_csv(analyze.summarise(found), path),
        "-beside.csv": lambda path: files.write_beside(beside, path),
        "-long.csv": lambda path: files.write_long_csv(found, path),
        ".html": lambda path: write_html(figure, path),
        ".png": lambda path: pictures.add(path, figure),
    }
    for end, write in writers.items():
        path = stem.with_name(stem.name + end)
        if end in on_demand or end not in ON_DEMAND:
            write(path)
        else:
            path.unlink(missing_ok=True)
    return found, figure


ON_DEMAND = ("-long.csv", ".html", ".png", ".nc")
"""Ends of files that are not always written."""


def demanded(name: str, arguments: Any) -> set[str]:
    """Ends of the files on demand that are written: of an analysis alone, every number, page and picture too."""
    alone = name != "all"
    wanted = {
        "-long.csv": arguments.long_csv, ".html": alone, ".png": alone or arguments.png, ".nc": alone or arguments.nc
    }  # fmt: skip
    return {end for end, is_wanted in wanted.items() if is_wanted}


def as_json(run: Any, measured: Measured, left_out: dict[str, str]) -> dict[str, Any]:
    """One run's measurements as plain JSON values."""
    from interp.report import files

    found = {each: files.as_json(measurement) for each, (measurement, _) in measured.items()}
    return {"run": str(run.path), "analyses": found, "left_out": left_out}


def report(run: Any, name: str, out: Path, measured: Measured, left_out: dict[str, str]) -> None:
    """Print what was found, as tables."""
    from interp.report import files

    for each, (found, _) in measured.items():
        print(f"{each} of {run.path}: {analyze.analyses().get(each, analyze.ALL)}")
        print(files.table_text(analyze.summarise(found), 5 if name == "all" else 9, files.terminal_width()))
        print()
    for each, why in left_out.items():
        print(f"{each}: left out, {why}")
    if name != "all":
        kinds = [kind for kind in (".html", ".csv", ".nc", ".png") if (out / f"{name}{kind}").exists()]
        print(f"files: {shlex.quote(str(out / name))}{' '.join(kinds)}")
