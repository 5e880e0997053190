"""`python -m interp.study`: whether settings differ, whether a curve over them has a peak, how much a procedure fits."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import tyro

from interp.base import UserError, near_miss, one_sentence
from interp.command_line import parsed
from interp.config import RunConfig
from interp.study.comparison import compare, trend, watched_unlike
from interp.study.peak import peaks
from interp.study.table import STEPS
from interp.train.presets import preset

USAGE = """usage: python -m interp.study compare TABLE.csv --by COLUMN --of COLUMN… [options]
       python -m interp.study peak TABLE.csv --over COLUMN --of COLUMN… [options]
       python -m interp.study emc PRESET --least N --most N [options]

compare: every two settings in a column of a table of runs: p by exact permutation, Holm's correction, the number of runs,
and the smallest p that so many runs can give. --trend asks for a trend over settings in their order.
peak: a rise of the mean over settings that are numbers, such as widths, with p against a curve that never rises;
with --fits, the setting from which runs fit.
emc: effective model complexity, the largest number of training examples that a training procedure fits, by bisection.
All options: python -m interp.study compare --help, … peak --help, … emc PRESET --help"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Options of `compare`: which columns of which table, and which comparisons."""

    table: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TABLE.csv", help_behavior_hint="")]
    """Table with a row for each run, such as a study's results/runs.csv."""
    by: str
    """Column of the settings that are compared."""
    of: tuple[str, ...]
    """Columns in which they are compared, such as generalised or final_test_accuracy."""
    within: tuple[str, ...] = ()
    """Runs are compared only where these columns agree (strata)."""
    each: tuple[str, ...] = ()
    """Cells of these columns are compared apart, and corrected together."""
    where: tuple[str, ...] = ()
    """COLUMN=VALUE: only runs with this value."""
    control: str | None = None
    """Setting that each other is compared with. By default every pair is."""
    trend: bool = False
    """Test for a trend over all settings in their order (Jonckheere and Terpstra) instead of every pair."""
    order: tuple[str, ...] = ()
    """Order of the settings for --trend, if they are no numbers."""
    steps: tuple[str, ...] = STEPS
    """Columns that are steps: a run without a value did not arrive by …_until, or by last_step, and counts as later."""
    draws: int = 100_000
    """Random permutations of --trend where there are more than 100,000."""
    seed: int = 0
    """Seed of these."""
    out: Path | None = None
    """File that the comparison is written to, as CSV."""


@dataclasses.dataclass(frozen=True)
class PeakArguments:
    """Options of `peak`: which columns of which table."""

    table: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TABLE.csv", help_behavior_hint="")]
    """Table with a row for each run, such as a study's results/runs.csv."""
    over: str
    """Column of the settings, numbers such as a width."""
    of: tuple[str, ...]
    """Columns whose peak is looked for, such as test_error."""
    each: tuple[str, ...] = ()
    """Cells of these columns are looked at apart, and corrected together."""
    where: tuple[str, ...] = ()
    """COLUMN=VALUE: only runs with this value."""
    fits: str | None = None
    """Column of what is fitted, such as train_error, for the threshold."""
    level: float = 0.01
    """Value of --fits below which a setting fits, in the median over its runs."""
    draws: int = 10_000
    """Curves that never rise, drawn for p."""
    seed: int = 0
    """Seed of these."""
    out: Path | None = None
    """File that the table of peaks is written to, as CSV."""


@dataclasses.dataclass(frozen=True)
class EmcArguments:
    """Options of `emc`: which procedure, and between which numbers of examples."""

    config: Annotated[RunConfig, tyro.conf.arg(name="")]
    out: Path
    """Directory of the runs, which are kept: the same command again goes on."""
    least: int = 10
    """Smallest number of training examples that is tried."""
    most: int = 1_000
    """Largest number of training examples that is tried."""
    level: float = 0.01
    """Train error ε up to which a training set counts as fitted, in the mean over seeds."""
    seeds: int = 3
    """Runs of each number of examples; their seeds are counted up from those given."""
    resolution: float = 0.05
    """Bisection ends where the largest number that fits and the smallest that does not differ by at most this share."""
    processes: int | Literal["auto"] = "auto"
    """Processes at a time; auto: one for each core."""
    dry_run: bool = False
    """Only print how many rounds there are at most, and what the largest of them takes."""


def read(path: Path) -> pd.DataFrame:
    """The table in a CSV file; UserError if there is none."""
    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path} is no file") from None
    except (OSError, ValueError) as error:  # a directory, or what pandas cannot parse or decode
        why = (error.strerror or "").lower() if isinstance(error, OSError) else str(error).splitlines()[0]
        raise UserError(f"{path} is no table in CSV: {why}") from None


def chosen(table: pd.DataFrame, where: tuple[str, ...]) -> pd.DataFrame:
    """The rows that have the value of each COLUMN=VALUE."""
    for condition in where:
        name, equals, value = condition.partition("=")
        if not equals:
            raise UserError(f'--where is "{condition}"; it should be COLUMN=VALUE')
        if name not in table:
            raise UserError(f'the table has no column "{name}"{near_miss(name, map(str, table.columns))}')
        table = table.loc[table[name] == setting(table, name, value)]
    return table


def setting(table: pd.DataFrame, name: str, word: str) -> object:
    """The value of a column that a word of the command line stands for; UserError if no run has it."""
    known = {str(value): value for value in table[name].dropna().unique()}
    number = {f"{value:g}": value for value in known.values() if isinstance(value, int | float)}
    if word not in known | number:
        raise UserError(f'no run has {name} = "{word}"{near_miss(word, known)}')
    return (number | known)[word]


def run_compare(arguments: Arguments) -> int:
    """Compare the settings and print the table; returns the exit code."""
    table = chosen(read(arguments.table), arguments.where)
    for name in (arguments.by,) if arguments.by not in table else ():
        raise UserError(f'the table has no column "{name}"{near_miss(name, map(str, table.columns))}')
    if not arguments.trend and arguments.order:
        raise UserError("--order is of --trend only; leave it out, or add --trend")
    if arguments.trend and arguments.control is not None:
        raise UserError("--control is of pairs, and --trend compares all settings; leave one of them out")
    if arguments.draws < 1:
        raise UserError(f"--draws is {arguments.draws}; it should be at least 1")
    found = trended(table, arguments) if arguments.trend else paired(table, arguments)
    show(found)
    hopeless = sum(least > 0.05 for least in found["least_p_value"])
    if hopeless:
        print(f"{hopeless} of {len(found)} have too few runs for p below .05, whatever these say", file=sys.stderr)
    for what in watched_unlike(table, arguments.by, arguments.of, arguments.steps):
        print(f"{what}: settings were watched for unlike numbers of steps, so p is not exact", file=sys.stderr)
    written(found, arguments.out)
    return 0


def run_peak(arguments: PeakArguments) -> int:
    """Look for peaks and print the table; returns the exit code."""
    if arguments.draws < 1:
        raise UserError(f"--draws is {arguments.draws}; it should be at least 1")
    found = peaks(
        chosen(read(arguments.table), arguments.where), arguments.over, arguments.of, each=arguments.each, fits=arguments.fits,
        level=arguments.level, draws=arguments.draws, seed=arguments.seed,
    )  # fmt: skip
    show(found)
    written(found, arguments.out)
    return 0


def run_emc(arguments: EmcArguments) -> int:
    """Measure the effective model complexity and print it; returns the exit code."""
    from interp.study.emc import emc, foretell  # which cost torch

    processes = None if arguments.processes == "auto" else arguments.processes
    numbers: dict[str, Any] = {
        name: getattr(arguments, name) for name in ("least", "most", "level", "seeds", "resolution")
    }
    if arguments.dry_run:
        foretell(arguments.config, arguments.out, **numbers, processes=processes)
        return 0
    found = emc(arguments.config, arguments.out, **numbers, processes=processes)
    show(found.table)
    order = (
        "rises with the number of examples"
        if found.monotone
        else "does not always rise, so that EMC may lie elsewhere too"
    )
    print(f"{found} examples at ε = {arguments.level:g} over {arguments.seeds} seeds; the mean train error {order}")
    print(f"table: {arguments.out / 'emc.csv'}")
    return 0


def show(table: pd.DataFrame) -> None:
    """Print a table, in four digits, in lines that fit the terminal."""
    from interp.report.files import fitted, terminal_width

    print(fitted(table, terminal_width(), float_format=lambda value: f"{value:,.4g}", na_rep="–"))


def written(found: pd.DataFrame, out: Path | None) -> None:
    """Write a table as CSV, if a file is named."""
    if out is not None:
        try:
            found.to_csv(out, float_format="%.6g")
        except OSError as error:
            raise UserError(f"{out} cannot be written: {error.strerror}") from None


def paired(table: pd.DataFrame, given: Arguments) -> pd.DataFrame:
    """Every pair of settings compared."""
    control = None if given.control is None else setting(table, given.by, given.control)
    return compare(table, given.by, given.of, given.within, each=given.each, control=control, steps=given.steps)


def trended(table: pd.DataFrame, given: Arguments) -> pd.DataFrame:
    """The trend over all settings."""
    order = [setting(table, given.by, word) for word in given.order] or None
    how = {"draws": given.draws, "seed": given.seed}
    return trend(table, given.by, given.of, given.within, each=given.each, order=order, steps=given.steps, **how)


COMMANDS: dict[str, tuple[type[Any], Callable[[Any], int]]] = {
    "compare": (Arguments, run_compare),
    "peak": (PeakArguments, run_peak),
    "emc": (EmcArguments, run_emc),
}
"""Options of each command, and what it does."""


def parse(words: list[str]) -> tuple[Any, Callable[[Any], int]]:
    """Options from the words of a command line, and what is done with them; UserError if there is no such command."""
    if words[0] not in COMMANDS:
        raise UserError(f'no command "{words[0]}"{near_miss(words[0], COMMANDS)}')
    options, act = COMMANDS[words[0]]
    prog = f"python -m interp.study {words[0]}"
    if options is EmcArguments:
        if len(words) == 1:
            raise UserError("emc needs a preset; write python -m interp.study emc digits-width")
        chosen, home = preset(words[1]).config, Path("checkpoints") / f"{words[1]}-emc"
        return parsed(options, words[2:], f"{prog} {words[1]}", EmcArguments(chosen, home)), act
    return parsed(options, words[1:], prog), act


def main(words: list[str]) -> int:
    """Run `python -m interp.study` with these words; returns the exit code."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if words else 2
    with one_sentence():
        arguments, act = parse(words)
        return act(arguments)
