"""`python -m interp.analyze NAME DIR…`: measure runs across their checkpoints."""

import dataclasses
import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from interp import analyze
from interp.base import Frozen, UserError, near_miss, one_sentence


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to read and where to write."""

    dirs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DIR…", help_behavior_hint="")]
    """Directories of runs."""
    options: Annotated[Any, tyro.conf.arg(name="")]
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: DIR/analysis)")] = None
    """Directory for the results; with several runs, one folder a run in it."""
    every: int = 1
    """Take every n-th checkpoint."""
    last: int | Literal["all"] = "all"
    """Take the last n checkpoints only."""
    steps: tuple[int, ...] = ()
    """Take the checkpoints of these steps only, such as 0 100 900."""
    skip_broken: bool = False
    """Leave damaged checkpoints out, naming them, and go on with the rest."""
    json: bool = False
    """Print the whole measurement as JSON instead of the table."""


class NoOptions(Frozen):
    """`all` runs every analysis as it comes."""


def overview() -> str:
    """The help text without an analysis."""
    known = {**analyze.analyses(), "all": "Every analysis that fits the run, and one page with all figures."}
    width = max(map(len, known))
    return "\n".join(
        [
            "usage: python -m interp.analyze NAME DIR… [options]",
            "",
            "Measure runs across their checkpoints; writes .html, .csv, .nc and .png into DIR/analysis.",
            "",
            "analyses:",
            *[f"  {name:<{width}}  {line}" for name, line in known.items()],
            "",
            "Options of one analysis: python -m interp.analyze fourier --help",
        ]
    )


def parse(name: str, words: list[str]) -> Arguments:
    """The command line as values."""
    if name != "all" and name not in analyze.analyses():
        raise UserError(f'no analysis "{name}"{near_miss(name, [*analyze.analyses(), "all"])}')
    options = NoOptions if name == "all" else analyze.find(name).Options
    arguments = dataclasses.make_dataclass(
        "Arguments",
        [("options", Annotated[options, tyro.conf.arg(name="")], options())],
        bases=(Arguments,),
        frozen=True,
        kw_only=True,
    )
    arguments.__doc__ = Arguments.__doc__
    about = overview_line(name)
    return tyro.cli(
        arguments,
        args=words,
        prog=f"python -m interp.analyze {name}",
        description=about,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def overview_line(name: str) -> str:
    """What the analysis asks."""
    return analyze.analyses().get(name, "Every analysis that fits the run, and one page with all figures.")


def run_analyses(name: str, arguments: Arguments) -> int:
    """Measure every run; the exit code: 2 when one of them could not be measured."""
    if not arguments.dirs:
        raise UserError(f"no run given; write python -m interp.analyze {name} DIR")
    failed = False
    for path in arguments.dirs:
        try:
            run_one(name, path, arguments)
        except UserError as error:
            if len(arguments.dirs) == 1:
                raise
            print(f"error: {error}", file=sys.stderr)
            failed = True
    return 2 if failed else 0


def run_one(name: str, path: Path, arguments: Arguments) -> None:
    """Measure one run and write what was found."""
    from interp.analyze import _export
    from interp.analyze._common import DoesNotApply
    from interp.analyze._page import write_page
    from interp.store import open_run

    run = open_run(path).select(every=arguments.every, last=arguments.last, steps=arguments.steps)
    if arguments.skip_broken:
        run, faults = run.without_broken()
        for fault in faults:
            print(f"left out: {fault}", file=sys.stderr)
    out = _export.prepared(where(path, arguments))
    names = list(analyze.analyses()) if name == "all" else [name]
    measured, left_out = {}, {}
    for each in names:
        options = arguments.options.model_dump() if name != "all" else {}
        print(f"measuring {each}", file=sys.stderr)
        try:
            found = analyze.measure(run, each, **options)
        except DoesNotApply as error:
            if name != "all":
                raise
            left_out[each] = str(error)
            continue
        figure = analyze.draw(found)
        _export.write_netcdf(found, out / f"{each}.nc")
        _export.write_csv(found, out / f"{each}.csv")
        _export.write_html(figure, out / f"{each}.html")
        measured[each] = (found, figure)
    trouble = _export.write_pngs({out / f"{each}.png": figure for each, (_, figure) in measured.items()})
    report(run, name, measured, left_out, arguments)
    if trouble:
        print(trouble, file=sys.stderr)
    if name == "all":
        page = out / "index.html"
        write_page(run, measured, left_out, page)
        print(f"page: {page.resolve()}", file=sys.stderr if arguments.json else sys.stdout)


def where(path: Path, arguments: Arguments) -> Path:
    """The directory for one run's results."""
    from interp.store.layout import ANALYSIS

    if arguments.out is None:
        return path / ANALYSIS
    return arguments.out / path.resolve().name if len(arguments.dirs) > 1 else arguments.out


def report(run: Any, name: str, measured: dict, left_out: dict[str, str], arguments: Arguments) -> None:
    """Print what was found: tables, or JSON."""
    from interp.analyze import _export

    if arguments.json:
        print(json.dumps({each: _export.as_json(found) for each, (found, _) in measured.items()}))
        return
    for each, (found, _) in measured.items():
        print(f"{each}: {overview_line(each)}")
        print(_export.table_text(analyze.summarise(found), rows=5 if name == "all" else 9))
        print()
    for each, why in left_out.items():
        print(f"{each}: left out, {why}")
    if name != "all":
        files = sorted(where(run.path, arguments).glob(f"{name}.*"))
        print(f"files: {shlex.quote(str(files[0].with_suffix('')))}{' '.join(file.suffix for file in files)}")


def main(words: list[str]) -> int:
    """The command; returns its exit code."""
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return 0 if words else 2
    with one_sentence():
        return run_analyses(words[0], parse(words[0], words[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
