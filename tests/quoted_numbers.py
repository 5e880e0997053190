"""Which numbers a document states, and which of them stand nowhere: in no table that it names, no setting, no quotation."""

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd

SMALL = 12
"""Whole numbers up to this one are counts that a reader can see, and are not looked for."""

SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻−", "0123456789--")
NUMBER = re.compile(
    r"(?<![\w.,])[−-]?(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?:e(?P<power>[−-]?\d+)|\s?[×·]\s?10(?P<raised>[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)|(?P<alone>[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?(?![\w⁻⁰¹²³⁴⁵⁶⁷⁸⁹])"
)
IN_CELL = re.compile(r"(?<![\w.])(-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?![\w.])(%?)")
"""A number in a cell of a CSV, or in the text of one."""

NO_NUMBERS = re.compile(
    "|".join(
        (
            r"<!--[^>]*-->",
            r"^    [^\n]*$",  # commands
            r"^```.*?^```",
            r"`[^`]*`",
            r"(?<=\])\([^)]*\)",  # where links lead
            r"\b(?:arXiv|doi|torch|python|Python|TransformerLens|Linux)\s[\w./-]+",  # addresses and versions
            r"\bx86-64\b",
            r"\bal\.,?\s\(?(?:19|20)\d\d|\((?:19|20)\d\d(?=[,;)])",  # years
            r"\b(?:[Ff]igures?|[Ss]ections?|appendix|decisions?|definition|equation)\s[A-Z]?\d[\d.]*",  # places in papers
        )
    ),
    re.MULTILINE | re.DOTALL,
)
"""What has digits and states no number."""

PERCENT = re.compile(r"(?:[\s\d.,–/]|to|and|or)*(?:%|points?\b)")
"""What stands between a number and the sign of percent, or the points, that belong to it."""


@dataclass(frozen=True)
class Stated:
    """A number as a document states it."""

    value: Decimal
    unit: Decimal
    """One unit of its last digit."""
    percent: bool
    start: int
    end: int
    """Where it stands in the document."""

    @property
    def digits(self) -> int:
        """Number of its significant digits."""
        return len(str(int((self.value / self.unit).copy_abs())))

    @property
    def small(self) -> bool:
        """Whether it is whole and a count that a reader can see."""
        return self.unit >= 1 and abs(self.value) <= SMALL


def prose(text: str) -> str:
    """A document of the same length with blanks for what has digits and states no number."""
    return NO_NUMBERS.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def stated(text: str) -> list[Stated]:
    """Every number that a document states, in its order."""
    text = prose(text)
    return [read(found, text) for found in NUMBER.finditer(text)]


def read(found: re.Match[str], text: str) -> Stated:
    """The number that was found in a text."""
    value = Decimal(found["digits"].replace(",", ""))
    unit = Decimal(1).scaleb(int(value.as_tuple().exponent))
    if found["alone"]:
        value, unit = value ** int(found["alone"].translate(SUPERSCRIPTS)), Decimal(1)
    power = int((found["power"] or found["raised"] or "0").translate(SUPERSCRIPTS))
    line = text[text.rfind("\n", 0, found.start()) + 1 : (text + "\n").find("\n", found.end())]
    labelled = line.startswith("|") and re.search(r"\w, %\s*$", line.split("|")[1])
    percent = PERCENT.match(text[found.end() : found.end() + 60]) is not None or bool(labelled)
    return Stated(value.scaleb(power), unit.scaleb(power), percent, found.start(), found.end())


def ranges(text: str, numbers: Sequence[Stated]) -> list[tuple[Stated, Stated, Stated]]:
    """Every median with its range, stated as .5 (.4–.7) or .5 (.4 to .7)."""
    text = prose(text)
    triples = zip(numbers, numbers[1:], numbers[2:], strict=False)
    return [
        (middle, low, high)
        for middle, low, high in triples
        if re.fullmatch(r"\s*%?\s*\(", text[middle.end : low.start])
        and re.fullmatch(r"\s*(?:–|to)\s*", text[low.end : high.start])
        and re.match(r"\s*%?\)", text[high.end :])
    ]


class Known:
    """Numbers that a document may state: of tables as they round, in settings as they are."""

    def __init__(self, tables: Iterable[list[list[float]]], settings: Iterable[float] = ()):
        """`tables` have a list of numbers for each row."""
        self._rows = [np.abs(row) for table in tables for row in table]
        self._cells = np.unique(np.concatenate([np.empty(0), *self._rows]))
        self._settings = np.unique(np.abs([*settings]))

    def has(self, number: Stated) -> bool:
        """Whether some cell is the number, rounded as it is printed, or some setting is.

        Its sign is left aside: a fall by 3 is a change of −3. A percentage stands in tables as a share.
        """
        value = abs(float(number.value))
        wholes = (value / 100, value) if number.percent else (value,)
        return (
            number.small
            or near(number, self._cells)
            or any(np.isclose(self._settings, each, rtol=1e-9, atol=0).any() for each in wholes)
        )

    def has_range(self, numbers: Sequence[Stated]) -> bool:
        """Whether all of them stand in one row of a table."""
        percent = any(number.percent for number in numbers)
        alike = [Stated(n.value, n.unit, percent, n.start, n.end) for n in numbers]
        return any(all(near(number, row) for number in alike) for row in self._rows)


def near(number: Stated, cells: np.ndarray) -> bool:
    """Whether one of these cells is the number, rounded as it is printed, but for the rounding of floats."""
    value, scale = abs(float(number.value)), 100 if number.percent else 1
    return bool((abs(cells * scale - value) <= float(number.unit) / 2 + 1e-9 * value).any())


def in_table(file: Path) -> list[list[float]]:
    """Every number in a CSV by row: in its header and cells, those of text such as "6 27 28" too; 5% is .05."""
    rows = pd.read_csv(file, header=None, dtype=str, keep_default_na=False).to_numpy().astype(str)
    found = [[each for cell in row for each in IN_CELL.findall(cell)] for row in rows]
    return [[float(word) / (100 if percent else 1) for word, percent in row] for row in found]


def in_script(file: Path) -> list[float]:
    """Settings of a script: its numbers, but for those in functions that draw."""
    found: list[float] = []
    for node in ast.parse(file.read_text()).body:
        if not (isinstance(node, ast.FunctionDef) and "draw" in node.name):
            values = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
            found += [float(value) for value in values if isinstance(value, int | float)]
    return found
