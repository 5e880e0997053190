"""Weight of what `python -m interp.analyze all` leaves: the page beside plotly, and all files."""

import csv
import sys
from pathlib import Path

import common

from interp.report.document import plotly

LIMITS = {"index.html beside plotly, MB": 2.5}
"""What may not be exceeded, for the preset `quick`."""


def weights(analysis: Path) -> dict[str, float]:
    """Megabytes of the page without plotly, of all files, and of the files of each kind: kept measurements are .safetensors."""
    files = [file for file in analysis.rglob("*") if file.is_file()]
    found = {
        "index.html beside plotly, MB": (analysis / "index.html").stat().st_size - len(plotly()),
        "analysis/ in all, MB": sum(file.stat().st_size for file in files),
    }
    for kind in ("html", "nc", "csv", "png", "safetensors"):
        found[f".{kind}, MB"] = sum(file.stat().st_size for file in files if file.suffix == f".{kind}")
    return {name: size / 1e6 for name, size in found.items()}


def main(run: str = "checkpoints/quick") -> None:
    """Write the table of a run that was analysed."""
    found = weights(Path(run) / "analysis")
    with (common.RESULTS / "page.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["what", "measured", "limit"])
        table.writerows([name, f"{value:.4g}", LIMITS.get(name, "")] for name, value in found.items())
    print((common.RESULTS / "page.csv").read_text())


if __name__ == "__main__":
    main(*sys.argv[1:])
