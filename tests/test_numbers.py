"""Every number that a study's README states stands in a table that it names, in a setting, or in its list of quotations."""

import dataclasses
import random
import re
from collections import Counter
from decimal import Decimal
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from quoted_numbers import Known, Stated, in_script, in_table, ranges, stated
from study_scripts import load

import interp
from interp.config import flatten

ROOT = Path(__file__).parents[1]
STUDIES = sorted(file.parent for file in (ROOT / "analyses").glob("*/study.py"))
REACHED, ALPHA = 0.99, 0.05
"""The accuracy that counts as reached everywhere (decision 0004), and the level that tests are held against."""


@cache
def known_to(study: Path) -> Known:
    """What a study's README may state: numbers of its tables that it names, settings of its scripts and presets, quotations."""
    scripts = sorted(study.glob("*.py"))
    readme, script = (study / "README.md").read_text(), "".join(file.read_text() for file in scripts)
    named = sorted(set(re.findall(r"`(?:results/)?(\w+\.csv)`", readme)))
    files = [study / "results" / name for name in named]
    presets = {name: flatten(each.config.model_dump()) for name, each in interp.PRESETS.items()}
    used = [presets[name] for name in presets if f'"{name}"' in script or f"`{name}`" in readme]
    settings = [value for preset in used for value in preset.values()]
    flat = [each for value in settings for each in (value if isinstance(value, tuple | list) else [value])]
    return Known(
        [in_table(file) for file in files if file.exists()],
        [
            REACHED,
            ALPHA,
            *(x for file in scripts for x in in_script(file)),
            *(float(x) for x in flat if isinstance(x, int | float)),
        ],
    )


def nowhere(text: str, known: Known) -> list[Stated]:
    """Numbers of a document that stand nowhere, and medians that do not stand in one row with their range."""
    numbers = stated(text)
    alone = [number for number in numbers if not known.has(number)]
    return alone + [each[0] for each in ranges(text, numbers) if not known.has_range(each)]


def places(text: str, numbers: list[Stated]) -> str:
    """Where numbers stand in a document, a line each."""
    return "".join(
        f"{text[max(0, n.start - 50) : n.start]}⟦{text[n.start : n.end]}⟧{text[n.end : n.end + 30]}\n" for n in numbers
    )


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_number_of_a_study_stands_in_a_table_that_its_readme_names(study):
    text = (study / "README.md").read_text()
    lost = nowhere(text, known_to(study))
    assert not lost, f"{len(lost)} numbers stand nowhere:\n{places(text, lost)}"


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_quotations_say_what_and_whose(study):
    file = study / "results/quoted.csv"
    if file.exists():
        table = pd.read_csv(file)
        assert list(table) == ["number", "what", "source"]
        assert table.notna().all(axis=None)
        text = (study / "README.md").read_text()
        quoted = Known([[[number] for number in table["number"]]])
        used = [number for number in stated(text) if quoted.has(number)]
        for number in table["number"]:
            assert any(Known([[[number]]]).has(each) and not each.small for each in used), f"{number} is not stated"


def blocks(text: str) -> list[tuple[str, str]]:
    """Paragraphs and rows of tables of a document, each with what its sources are named in: itself, and its table's header."""
    found: list[tuple[str, str]] = []
    for part in re.split(r"\n\s*\n", text):
        lines = part.split("\n") if part.startswith("|") else [part]
        found += [(line, f"{lines[0]}\n{line}") for line in lines]
    return found


def sources(named_in: str, folder: Path) -> Known | None:
    """Numbers of the studies' READMEs, benchmarks and tables that a page in this folder names; None if none is."""
    studies = [folder / name for name in re.findall(r"\(([\w./]*analyses/\w+/README\.md)\)", named_in)]
    benchmarks = [ROOT / f"benchmarks/results/{name}.md" for name in re.findall(r"`(\w+)\.py`", named_in)]
    tables = [folder / name for name in re.findall(r"\(([\w./]*figures/\w+\.csv)\)", named_in)]
    texts = [file.read_text() for file in [*studies, *benchmarks] if file.exists()]
    if not texts and not tables:
        return None
    rows = [[float(n.value) / (100 if n.percent else 1) for n in stated(text)] for text in texts]
    in_commands = [float(word) for text in texts for word in re.findall(r"^    .*?(\d+) minutes", text, re.MULTILINE)]
    return Known([rows, *map(in_table, tables)], in_commands)


@pytest.mark.parametrize(
    ("page", "section"),
    [
        ("docs/analyses.md", "What an ablation shows"),
        ("docs/studies.md", "Studies"),
        ("docs/what-decides.md", "What decides when a network understands?"),
        ("docs/studies.md", "Does it always grok?"),
        ("docs/speed.md", "Speed"),
    ],
)
def test_numbers_of_a_page_are_those_of_the_studies_benchmarks_and_tables_that_it_names(page, section):
    """Held are rows and paragraphs that name one; other sections have settings of presets, and captions."""
    file = ROOT / page
    text = re.search(rf"^#+ {re.escape(section)}\n(.*?)(?=^##+ |\Z)", file.read_text(), re.M | re.S)
    assert text is not None
    held, lost = 0, ""
    for block, named_in in blocks(text[1]):
        if (known := sources(named_in, file.parent)) is not None:
            held += len(stated(block))
            lost += places(block, nowhere(block, known))
    assert held > 5
    assert not lost, lost


COMPARISONS = {
    ("precision", "comparisons"): lambda study, read: study.compared(read("seeds")),
    ("quick_preset", "summary"): lambda study, read: study.summarised(read("seeds").set_index("seed")[study.FACTS]),
    ("progress_measures", "signs"): lambda study, read: study.signs(read("leads").set_index("what")),
    ("progress_measures", "differences"): lambda study, read: study.differences(read("seeds").set_index("seed")),
    ("solu", "networks_comparisons"): lambda study, read: study.compared(
        read("networks_runs"), ["share", "loss", "generalised"], within=["task"]
    ),
    ("solu", "toys_comparisons"): lambda study, read: study.compared(
        read("toys_runs"), ["share", "loss"], each=["density"]
    ),
    ("hump", "comparisons"): lambda study, read: study.compared(ways(study, read("runs"))),
    ("hump", "sizes"): lambda study, read: study.by_size(ways(study, read("runs"))),
    ("superposition_across_grokking", "comparisons"): lambda study, read: study.compared(read("runs")),
    ("batch_and_budget", "comparisons"): lambda study, read: study.compared(read("runs")),
    ("operations", "comparisons"): lambda study, read: study.compared(read("runs")),
    ("weight_decay", "trend"): lambda study, read: study.trended(read("runs")),
}


def ways(study, runs: pd.DataFrame) -> pd.DataFrame:
    return runs.loc[runs["way"].isin(list(study.WAYS))]


@pytest.mark.parametrize(("name", "table"), COMPARISONS)
def test_a_comparison_in_results_is_that_of_the_runs_beside_it(name, table):
    results, function = ROOT / "analyses" / name / "results", COMPARISONS[name, table]
    found = function(load(name), lambda each: pd.read_csv(results / f"{each}.csv"))
    kept = pd.read_csv(results / f"{table}.csv", index_col=list(range(found.index.nlevels)))
    pd.testing.assert_frame_equal(found, kept, check_dtype=False, check_column_type=False, rtol=1e-4, atol=1e-12)


def otherwise(number: Stated, draw: random.Random) -> Stated:
    """The number with other digits, as many as it has."""
    digits = str(int(number.value.copy_abs() / number.unit))
    while True:
        other = str(draw.randint(10 ** (len(digits) - 1), 10 ** len(digits) - 1))
        if other != digits:
            return dataclasses.replace(number, value=Decimal(other) * number.unit)


def test_nearly_all_numbers_that_are_changed_at_random_are_found():
    """Written with 952 of 975 that have three digits or more, and 625 of 962 that have two: tables have many of those."""
    tried, caught = Counter[bool](), Counter[bool]()
    for study in STUDIES:
        text, known, draw = (study / "README.md").read_text(), known_to(study), random.Random(study.name)
        numbers = stated(text)
        beside = {number: each for each in ranges(text, numbers) for number in each}
        for number in numbers:
            if number.digits > 1 and not number.small:
                changed = otherwise(number, draw)
                row = [changed if each is number else each for each in beside.get(number, ())]
                tried[number.digits > 2] += 1
                caught[number.digits > 2] += not known.has(changed) or (bool(row) and not known.has_range(row))
    assert tried[True] > 500
    assert caught[True] > 0.96 * tried[True], (caught, tried)
    assert caught[False] > 0.6 * tried[False], (caught, tried)


def test_a_number_is_read_as_it_is_printed():
    text = "Steps 1,630 (44–48 %), .05, −1.5e-3, 2·10⁵, 2²³ and 3.0 × 10⁻⁶; S5, x_23, `77`, Nanda et al. (2023), figure 14."
    found = [(float(n.value), float(n.unit), n.percent) for n in stated(text)]
    assert found == [
        (1630, 1, False), (44, 1, True), (48, 1, True), (0.05, 0.01, False), (0.0015, 0.0001, False), (2e5, 1e5, False),
        (2**23, 1, False), (3e-6, 1e-7, False),
    ]  # fmt: skip


def test_a_number_is_known_as_it_rounds_and_a_percentage_as_a_share():
    known = Known([[[0.4449, 1634.0], [0.12, 7.0]]], settings=[0.3])
    for text, has in {
        "44 %": True, ".44": True, ".445": True, ".45": False, "1,634": True, "1,630": False, "44": False, "12 %": True,
        "30 %": True, ".30": True, "31 %": False, "11": True, "13": False, "−0.12": True,
    }.items():  # fmt: skip
        (number,) = stated(text)
        assert known.has(number) == has, text
    for text, has in {".44 (.12–.30)": False, "44 % (12–30)": False, ".12 (.12–7.0)": True}.items():
        (each,) = ranges(text, stated(text))
        assert known.has_range(each) == has, text
