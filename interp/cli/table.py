"""`python -m interp.table DIR…`: a table of runs, a row for each."""

import dataclasses
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from interp.base import UserError, near_miss, one_sentence
from interp.command_line import parsed, refuse_empty

if TYPE_CHECKING:
    import pandas as pd

USAGE = """usage: python -m interp.table DIR… [--by FIELD…] [--out FILE.csv]

Print a table with a row for each run: the fields in which the runs differ, the steps at which they memorised and generalised,
their test accuracy, and their last step. DIR is a run, or holds runs. --by puts runs together that agree in these fields, such
as seeds of one setting, and prints medians and ranges. --out keeps the whole table as CSV, for python -m interp.study compare,
or as Parquet if the name ends with .parquet.

  python -m interp.table checkpoints/decay --by train.weight-decay"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Options of the table: which runs, what is put together, and where to keep it."""

    dirs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DIR…", help_behavior_hint="")]
    """Directories of runs, or of several runs each."""
    by: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FIELD…", help_behavior_hint="")] = ()
    """Put runs together that agree in these fields; print medians and ranges over the others."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv", help_behavior_hint="")] = None
    """File for the table, as CSV, or as Parquet if its name ends with .parquet. It has a row for each run, also with --by."""


def parse(words: list[str]) -> Arguments:
    """Options from the words of a command line."""
    refuse_empty(words, ("--by",))
    return parsed(Arguments, words, "python -m interp.table")


def run_table(arguments: Arguments) -> int:
    """Print the table of the runs; returns the exit code."""
    from interp.report.files import cell, fitted, terminal_width
    from interp.store import open_run, runs_in
    from interp.store.files import told_in_a_sentence
    from interp.study import spread, tabulate

    if not arguments.dirs:
        raise UserError("no run given; write python -m interp.table DIR")
    paths = runs_in(arguments.dirs)
    alike = len({path.absolute().name for path in paths}) < len(paths)
    table = tabulate({str(path) if alike else path.absolute().name: open_run(path) for path in paths})
    fields = [field.replace("-", "_") for field in arguments.by]
    varied = [str(name) for name in table if "." in str(name)]
    for field in fields:
        if field not in varied:
            hint = near_miss(field, varied) if varied else "; leave --by out"
            raise UserError(f'the runs do not differ in "{field}"{hint}')
    print(fitted((spread(table, by=fields) if fields else brief(table)).map(cell), terminal_width()))
    if arguments.out is not None:
        with told_in_a_sentence(arguments.out):
            write(table, arguments.out)
    return 0


def write(table: "pd.DataFrame", path: Path) -> None:
    """Write a table as CSV, or as Parquet by the end of the file's name: numbers as they are, and all else as text.

    Raises:
        UserError: Parquet is asked for, and pyarrow is not installed.
    """
    if path.suffix != ".parquet":
        table.to_csv(path, float_format="%.6g")
        return
    if find_spec("pyarrow") is None:
        raise UserError(
            f"--out is {path}, and Parquet needs pyarrow; pip install pyarrow, or take a name that ends with .csv"
        )
    texts = {name: table[name].map(str, na_action="ignore") for name in table.select_dtypes("object")}
    table.assign(**texts).to_parquet(path)


def brief(table: "pd.DataFrame") -> "pd.DataFrame":
    """The columns for the terminal: without empty ones, without `…_until`, and of seeds that go together only one."""
    seeds = table.filter(like="seeds.")
    twins = [name for name, twin in seeds.T.duplicated().items() if twin]
    until = [name for name in table if str(name).endswith("_until")]
    return table.drop(columns=[*twins, *until]).dropna(axis="columns", how="all")


def main(words: list[str]) -> int:
    """Run `python -m interp.table` with these words; returns the exit code."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if words else 2
    with one_sentence():
        return run_table(parse(words))
