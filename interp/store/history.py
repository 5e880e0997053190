"""history.csv: train and test loss and accuracy at every logged step, appended row by row.

Every line ends in a CRC-32 of itself and of all lines above it. So a changed, missing or moved row is noticed, and a row that
a kill cut short is told from one that was altered.
"""

import io
import os
from binascii import crc32
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from interp.recipe import LOGGED
from interp.store.files import CheckpointError, read_bytes, told_in_a_sentence, write_whole

if TYPE_CHECKING:
    import pandas as pd

CHECK = "check"
"""Name of the last column, a checksum of eight hexadecimal digits."""

LONGEST_NUMBER = 26
"""Most bytes of a number and its comma."""

MAX_BYTES = 1 << 27
"""Most bytes of a history that is read: a million rows."""

REMEDY = "restore it"

Row = dict[str, float]


class Position(NamedTuple):
    """How far a history goes: number of rows, and checksum of the last. A resume state stores it for the rows before it."""

    rows: int
    check: int | None
    """Checksum of the last row, or of the header if there are no rows. None: it is not known, as of a history that may have got
    more columns since."""


def header(columns: tuple[str, ...] = LOGGED) -> str:
    """First line of a history with these columns."""
    return ",".join((*columns, CHECK)) + "\n"


def start(columns: tuple[str, ...] = LOGGED) -> Position:
    """Position of a history without rows."""
    return Position(0, crc32(header(columns).encode()))


HEADER_1 = ",".join(LOGGED) + "\n"
"""First line of a history of format 1, which has no checksums."""


def line(row: Row, before: Position, columns: tuple[str, ...]) -> tuple[str, Position]:
    """One row as text, in the fewest digits that read back exactly, and the position after it."""
    values = [row[column] for column in columns]
    return checked_line(",".join("" if value != value else repr(value) for value in values), before)


def checked_line(text: str, before: Position) -> tuple[str, Position]:
    """The text of a row with its checksum, and the position after it."""
    assert before.check is not None, "a checksum goes on from another"
    position = Position(before.rows + 1, crc32(text.encode(), before.check))
    return f"{text},{position.check:08x}\n", position


def write_history(path: Path, rows: Iterator[Row] | list[Row], columns: tuple[str, ...] = LOGGED) -> Position:
    """Write a whole history; returns the position where it ends."""
    lines, position = [header(columns)], start(columns)
    for row in rows:
        text, position = line(row, position, columns)
        lines.append(text)
    write_whole(path, "".join(lines).encode())
    return position


def append(path: Path, row: Row, before: Position, columns: tuple[str, ...] = LOGGED) -> Position:
    """Append one row to the history; returns the position where it ends then."""
    text, position = line(row, before, columns)
    with told_in_a_sentence(path), path.open("a") as file:
        file.write(text)
    return position


def flush(path: Path) -> None:
    """Flush every row of the history to the disk."""
    with told_in_a_sentence(path), path.open("a") as file:
        os.fsync(file.fileno())


def read_history(
    path: Path,
    most_rows: int,
    reaches: Position | None,
    checked: bool = True,
    beyond: bool = True,
    columns: tuple[str, ...] | None = LOGGED,
) -> "pd.DataFrame":
    """The history as a table with one row per logged step, indexed by step; a torn last line is left out.

    Args:
        path: history.csv.
        most_rows: most rows that there can be; a longer file is not read.
        reaches: position up to which the history is known to be whole, if any is.
        checked: whether every row must have its checksum; rows of format 1 have none.
        beyond: whether to read rows after `reaches`.
        columns: names of the columns; None: those that its header has, of a recorded run.

    Raises:
        CheckpointError: the file is missing, altered, or ends before `reaches`.
    """
    import pandas as pd

    columns, rows = whole_rows(path, most_rows, reaches, checked, beyond, columns)
    try:
        table = pd.read_csv(io.StringIO("\n".join([",".join(columns), *rows])), float_precision="round_trip")
        table = table.astype({column: "int64" if column == "step" else "float64" for column in columns})
        if not table["step"].is_monotonic_increasing or table["step"].duplicated().any():
            raise ValueError("its steps do not ascend")
    except (pd.errors.ParserError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{path} is damaged: {error}; {REMEDY}") from error
    return table.set_index("step")


def whole_rows(
    path: Path, most_rows: int, reaches: Position | None, checked: bool, beyond: bool, columns: tuple[str, ...] | None
) -> tuple[tuple[str, ...], list[str]]:
    """Columns, and the text of every row without its checksum, after it was verified; a torn last line is left out."""
    most = MAX_BYTES if columns is None else min(LONGEST_NUMBER * (len(columns) + 1) * (most_rows + 2), MAX_BYTES)
    content = read_bytes(path, most, REMEDY)
    whole = content.split(b"\n")[:-1]  # the last is empty, or torn
    if reaches is not None and not beyond:
        whole = whole[: reaches.rows + 1]
    try:
        lines = [each.decode("ascii") for each in whole]
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is damaged: {error}; {REMEDY}") from error
    if columns is None:
        columns = columns_of(path, lines)
    if lines and not checked and lines[0] + "\n" == HEADER_1:
        return columns, lines[1:]
    if lines and lines[0] + "\n" != header(columns):
        raise CheckpointError(f"{path} is damaged: its columns are {lines[0]:.80}; {REMEDY}")
    rows, position = [], start(columns)
    for number, each in enumerate(lines[1:], start=2):
        row, _, check = each.rpartition(",")
        whole_line, position = checked_line(row, position)
        if whole_line != f"{row},{check}\n":
            raise CheckpointError(f"{path} is damaged: line {number} does not match its check; {REMEDY}")
        if reaches is not None and position.rows == reaches.rows and reaches.check not in (None, position.check):
            raise CheckpointError(f"{path} is damaged: it is not the history of this run; {REMEDY}")
        rows.append(row)
    if reaches is not None and position.rows < reaches.rows:
        raise CheckpointError(
            f"{path} is damaged: it ends after {position.rows} rows, and {reaches.rows} were written; {REMEDY}"
        )
    return columns, rows


def columns_of(path: Path, lines: list[str]) -> tuple[str, ...]:
    """Columns that the header of a history names: losses and accuracies, and others; CheckpointError if it is no header."""
    names = tuple(lines[0].split(",")) if lines else (*LOGGED, CHECK)
    if names[: len(LOGGED)] != LOGGED or names[-1] != CHECK or len(set(names)) < len(names):
        raise CheckpointError(f"{path} is damaged: its columns are {','.join(names):.80}; {REMEDY}")
    return names[:-1]


def widen(path: Path, columns: tuple[str, ...], more: tuple[str, ...]) -> Position:
    """Add columns to a whole history, without values so far; returns the position where it ends then."""
    _, rows = whole_rows(path, 0, None, True, True, None)
    lines, position = [header((*columns, *more))], start((*columns, *more))
    for row in rows:
        text, position = checked_line(row + "," * len(more), position)
        lines.append(text)
    write_whole(path, "".join(lines).encode())
    return position


def cut_history(
    path: Path,
    last_step: int,
    most_rows: int,
    reaches: Position | None,
    checked: bool,
    columns: tuple[str, ...] | None,
) -> tuple[tuple[str, ...], Position]:
    """Drop every row after `last_step`, torn rows included; returns the columns, and the position where the history ends then.

    A resumed run writes the dropped rows again. Nothing beyond `reaches` is read: a power cut may have left anything there.
    """
    table = read_history(path, most_rows, reaches, checked, beyond=False, columns=columns)
    kept = table.loc[:last_step].reset_index().to_dict(orient="records")
    rows: list[Row] = [{name: int(value) if name == "step" else value for name, value in row.items()} for row in kept]
    names = ("step", *table.columns)
    return names, write_history(path, rows, names)
