"""The count of all parts: printed at the end, and written into docs/reliability.md by `make torture`."""

import os
import platform
import re
import time
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs/reliability.md"
BEGUN = time.time()
PARTS = {file.stem.removeprefix("test_") for file in Path(__file__).parent.glob("test_*.py")}
"""Parts that the table has rows of, each by its file."""


def pytest_terminal_summary(terminalreporter):
    reports = [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]
    rows = [value for report in reports for name, value in getattr(report, "user_properties", []) if name == "faults"]
    if not rows:
        return
    text = table(merged(rows))
    terminalreporter.write_line(f"\n{text}")
    missing = PARTS - {row[0] for row in rows}
    if os.environ.get("INTERP_FAULTS") == "full" and missing:
        terminalreporter.write_line(f"{DOCUMENT.name} stays: {', '.join(sorted(missing))} did not run")
    elif os.environ.get("INTERP_FAULTS") == "full":
        begin, end = "<!-- written by make torture -->\n", "<!-- to here -->"
        before, after = DOCUMENT.read_text().split(begin)[0], DOCUMENT.read_text().split(end)[1]
        DOCUMENT.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def merged(rows) -> list[list]:
    """Rows of one part and kind as one: counts and refusals are added, and of the peaks of memory the highest is taken."""
    whole: dict[tuple[str, str], list] = {}
    for part, kind, tried, faults, note in rows:
        before = whole.setdefault((part, kind), [part, kind, 0, 0, note])
        if before[2]:
            first, second = (int(re.findall(r"[0-9]+", text)[0]) for text in (before[4], note))
            number = first + second if note.endswith("refused") else max(first, second)
            before[4] = re.sub(r"[0-9]+", str(number), note)
        before[2:4] = before[2] + tried, before[3] + faults
    return [whole[key] for key in sorted(whole)]


def table(rows) -> str:
    """The rows as Markdown, with what they were counted on."""
    lines = ["| part | kind | tried | faults | of them, or beside them |", "|---|---|---:|---:|---|"]
    lines += [f"| {part} | {kind} | {tried:,} | {faults} | {note} |" for part, kind, tried, faults, note in rows]
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    machine = f"{os.cpu_count()} cores of {processor[1] if processor else 'a processor'}, {platform.system()}"
    seed = os.environ.get("INTERP_FAULTS_SEED", "0")
    seconds = time.time() - BEGUN
    return "\n".join([*lines, "", f"Seed {seed}, {seconds:,.0f} s, {machine} {platform.release()}.", ""])
