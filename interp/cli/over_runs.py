"""What `python -m interp.analyze` says of several runs together: tables, figures, and a page."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp import analyze
from interp.base import UserError

if TYPE_CHECKING:
    import pandas as pd

    from interp.report.runs import Brief


class Together:
    """Measurements of several runs, as far as they are told together; of a single run nothing is kept."""

    def __init__(self, several: bool):
        self.several, self.found = several, dict[str, list[Any]]()
        self.briefs: list[Brief] = []

    def add(self, name: str, out: Path, measured: dict[str, Any]) -> None:
        """Keep what is told of the next run, whose results are in `out`."""
        from interp.report.runs import Brief

        if not self.several or not measured:
            return
        self.briefs.append(Brief.of(name, out / "index.html", measured))
        for each, found in measured.items():
            if hasattr(analyze.find(each), "compare"):
                self.found.setdefault(each, []).append(found)

    def report(self, out: Path | None, json_only: bool, page: bool) -> None:
        """Print the tables over the runs; write them into `out`, with figures and, where asked for, the `page` over the runs."""
        from interp.report.runs import write_runs_page

        tables = {
            each: table
            for each, found in self.found.items()
            if len(found) > 1 and (table := compare_runs(each, found, out, json_only, alone=not page)) is not None
        }
        if page and out is not None and len(self.briefs) > 1:
            path = out / "index.html"
            write_runs_page(out.parent.absolute().name, self.briefs, tables, path)
            print(f"page over the runs: {path.resolve()}", file=sys.stderr if json_only else sys.stdout)


def compare_runs(name: str, found: list[Any], out: Path | None, json_only: bool, alone: bool) -> "pd.DataFrame | None":
    """Print the table over several runs, and write it, with the figure where there is one, into `out`; with --json write only.

    Returns the table. Where the runs cannot be compared, None: that is an error if the analysis was asked for `alone`.
    """
    from interp.report import files

    try:
        table = analyze.compare(found)
    except UserError as error:
        if alone:
            raise
        print(f"no {name} over the runs: {error}", file=sys.stderr)
        return None
    if not json_only:
        medians = "; medians of Kaplan and Meier" * ("censored" in table)
        print(f"{name} over {len(found)} runs{medians}:")
        print(files.table_text(table, len(table), files.terminal_width()))
    if out is None:
        return table
    written = [files.prepared(out) / f"{name}-comparison.csv"]
    files.write_csv(table, written[0])
    if hasattr(analyze.find(name), "draw_runs"):
        written += draw_runs(found, written[0])
    kinds = " ".join(file.suffix for file in written)
    print(f"files: {shlex.quote(str(written[0].with_suffix('')))}{kinds}", file=sys.stderr if json_only else sys.stdout)
    return table


def draw_runs(found: list[Any], table: Path) -> list[Path]:
    """Write the figure over several runs beside their table; returns the files written. If there is no figure, print why."""
    from interp.report import files
    from interp.report.page import write_html

    page, picture = table.with_suffix(".html"), table.with_suffix(".png")
    for older in (page, picture):
        older.unlink(missing_ok=True)
    try:
        figure = analyze.draw_runs(found)
    except UserError as error:
        print(f"no figure over the runs: {error}", file=sys.stderr)
        return []
    write_html(figure, page)
    if trouble := files.write_pngs({picture: figure}):
        print(trouble, file=sys.stderr)
        return [page]
    return [page, picture]
