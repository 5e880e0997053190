"""Operations as tables of answers: what x ∘ y is, pair by pair. A pair that is not in the table is not asked for.

In a configuration a table is text: "0 1 -; 1 - 0" has the answers to y = 0, 1, … in a row for each x; "-" where there is none.
"""

import csv
import io
import re

import numpy as np
from jaxtyping import Int

COLUMNS = ("x", "y", "answer")
MOST = 1024
"""Most values of x, of y and of the answer: the largest modulus."""


def is_written(operation: str) -> bool:
    """Whether an operation is a table as `write` writes it, and no name or formula."""
    return ";" in operation


def write(table: Int[np.ndarray, "x y"]) -> str:
    """A table, with −1 where there is no answer, as text for `read`; one table always gives one text."""
    there = np.argwhere(table >= 0)
    rows, columns = there.max(axis=0) + 1
    kept = np.full((max(2, rows), columns), -1)  # a single row would have no semicolon
    kept[:rows] = table[:rows, :columns]
    return "; ".join(" ".join("-" if answer < 0 else str(answer) for answer in row) for row in kept.tolist())


def read(text: str) -> Int[np.ndarray, "x y"]:
    """The table in a text, with −1 where there is no answer; ValueError, which begins with "should", if it is none."""
    rows = [row.split() for row in text.split(";")]
    odd = next((entry for row in rows for entry in row if not re.fullmatch(r"-|[0-9]{1,4}", entry)), None)
    if odd is not None:
        raise ValueError(f'should be a table of answers, whole numbers from 0 or "-", and has the entry {odd!r:.40}')
    if len(rows) > MOST or len({len(row) for row in rows}) > 1 or not 0 < len(rows[0]) <= MOST:
        raise ValueError(
            f"should be a table of answers with rows of equal length, at most {MOST:,} of {MOST:,} entries"
        )
    table = np.array([[-1 if entry == "-" else int(entry) for entry in row] for row in rows])
    if (table < 0).all():
        raise ValueError("should be a table of answers, and has none")
    return table


def read_csv(text: str) -> Int[np.ndarray, "x y"]:
    """The table in the text of a CSV with columns x, y and answer; ValueError, which begins with "should", if it is none."""
    reader = csv.reader(io.StringIO(text), strict=True)
    table = np.full((MOST, MOST), -1)
    try:
        names = [name.strip() for name in next(reader, [])]
        if sorted(names) != sorted(COLUMNS):
            raise ValueError(f"should have the columns x, y and answer, and has {', '.join(names) or 'none':.80}")
        for cells in filter(None, reader):
            x, y, answer = entries(dict(zip(names, cells, strict=False)), len(cells), reader.line_num)
            if table[x, y] >= 0:
                raise ValueError(
                    f"should have every pair once, and has x = {x}, y = {y} again in line {reader.line_num}"
                )
            table[x, y] = answer
    except csv.Error as error:
        raise ValueError(f"should be a CSV with the columns x, y and answer, and is none ({error})") from None
    if (table < 0).all():
        raise ValueError("should have a line for each pair of x and y, and has none")
    return table


def entries(cells: dict[str, str], count: int, line: int) -> list[int]:
    """Numbers x, y and answer in a line of a CSV."""
    if count != len(COLUMNS):
        raise ValueError(f"should have {len(COLUMNS)} entries in every line, and has {count} in line {line}")
    for name in COLUMNS:
        if not re.fullmatch(r"\s*[0-9]{1,9}\s*", cells[name], re.ASCII) or int(cells[name]) >= MOST:
            raise ValueError(
                f"should have whole numbers from 0 to {MOST - 1:,}, and has {name} {cells[name]!r:.40} in line {line}"
            )
    return [int(cells[name]) for name in COLUMNS]
