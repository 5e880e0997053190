"""docs/definitions.md has every variable of every analysis, and none that is not measured."""

import re
from pathlib import Path

import pytest

from interp import analyze

DOCUMENT = Path(__file__).parents[1] / "docs" / "definitions.md"
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", DOCUMENT.read_text(), flags=re.MULTILINE | re.DOTALL))
HEADER = "| variable | definition | source | as, differs or ours |"


def rows(section: str) -> list[list[str]]:
    """The cells of each row of a section's table; a bar within a cell is written \\|."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert lines[0] == HEADER
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_every_analysis_has_its_section_in_order():
    assert list(SECTIONS) == sorted(file.stem for file in analyze.FILES)


@pytest.mark.parametrize("name", list(SECTIONS))
def test_every_variable_is_defined_once_and_each_that_is_defined_is_measured(name):
    defined = [variable for variable, *_ in rows(SECTIONS[name]) for variable in re.findall(r"`(\w+)`", variable)]
    measured = set(analyze.find(name).VARIABLES)
    assert sorted(defined) == sorted(measured), (
        f"docs/definitions.md, {name}: lacks {sorted(measured - set(defined))}, has {sorted(set(defined) - measured)}"
    )


@pytest.mark.parametrize("name", list(SECTIONS))
def test_every_row_has_a_definition_a_source_and_how_it_relates(name):
    for variables, definition, source, relation in rows(SECTIONS[name]):
        assert definition, variables
        assert source, variables
        assert relation.startswith(("as", "differs", "ours", "see there")), (variables, relation)
