"""Text that holds learning curves: CSV, JSON and JSONL, as plain Python values. Numbers that are not finite become NaN."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from interp.store.files import DEEPEST, CheckpointError, deeper, read_bytes
from interp.store.foreign.formats import REMEDY

MAX_BYTES = 1 << 27
"""Most bytes of a text that is read."""

DELIMITERS = ",;\t"


def read_text(path: Path) -> Any:
    """The value in a file of text: what JSON says, the lines of JSONL as a list, the columns of a CSV as lists by name.

    Raises:
        CheckpointError: it is neither, or a line of it is not; the sentence names the line.
    """
    try:
        text = read_bytes(path, MAX_BYTES, REMEDY).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CheckpointError(f"{path} is text that is not in UTF-8; save it as UTF-8") from None
    if not text.strip():
        raise CheckpointError(f"{path} is empty; {REMEDY}")
    value = from_json(path, text) if text.lstrip()[0] in "{[" else columns(path, text)
    if deeper(value, DEEPEST):
        raise CheckpointError(f"{path} nests deeper than {DEEPEST} levels; curves are lists of numbers")
    return value


def from_json(path: Path, text: str) -> Any:
    """The value of a JSON text, or the values of its lines."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        lines = text.splitlines()
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found += [json.loads(line)] if line.strip() else []
        except (ValueError, RecursionError):
            kind = f"JSONL, in its line {number}" if found else "JSON"
            raise CheckpointError(f"{path} is damaged as {kind}; mend it, or get it again from where it came") from None
    return found


def columns(path: Path, text: str) -> dict[str, list[Any]]:
    """The columns of a CSV by name: numbers, NaN where there is none, and text as it stands."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    delimiter = max(DELIMITERS, key=lines[0].count) if lines else ","
    try:
        header, *rows = csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter)
    except (csv.Error, ValueError):
        raise no_table(path) from None
    if not rows or (len(header) < 2 and not header[0].isidentifier()):
        raise no_table(path)
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise CheckpointError(
                f"{path} has {len(row)} values in row {number} and {len(header)} columns; mend that row, or delete it"
            )
    names = [name.strip() or f"column {number}" for number, name in enumerate(header, start=1)]
    names = [f"{name} ({names[:at].count(name) + 1})" if name in names[:at] else name for at, name in enumerate(names)]
    return {name: [number_or_text(row[at]) for row in rows] for at, name in enumerate(names)}


def no_table(path: Path) -> CheckpointError:
    """The error for text that is neither JSON nor a table."""
    return CheckpointError(f"{path} is text, and no CSV with a header, JSON or JSONL; give a file of weights or curves")


def number_or_text(word: str) -> float | str:
    """A cell of a CSV: its number, NaN if it is empty, or its text."""
    try:
        return float(word) if word.strip() else math.nan
    except ValueError:
        return math.nan if word.strip().lower() in ("none", "null", "na") else word
