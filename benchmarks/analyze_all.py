"""`python -m interp.analyze all` on the quick preset, a process each; beside that of another checkout by --against DIR.

python benchmarks/analyze_all.py --run checkpoints/quick --against ../before
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

HERE = Path(__file__).parents[1]


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a trained run (default: the quick preset is trained first)")
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout, measured in turn")
    parser.add_argument("--rounds", type=int, default=3, help="of each (default: 3)")
    chosen = parser.parse_args()
    checkouts = {"this checkout": HERE} | ({"the other": chosen.against.resolve()} if chosen.against else {})
    wall: dict[str, list[float]] = {name: [] for name in checkouts}
    processor: dict[str, list[float]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory() as work:
        run = chosen.run.resolve() if chosen.run else Path(work) / "quick"
        if not chosen.run:
            python(HERE, "interp.train", "quick", "--out", str(run))
        for _ in range(chosen.rounds):
            for name, checkout in checkouts.items():
                before, began = processor_seconds(), time.perf_counter()
                python(checkout, "interp.analyze", "all", str(run), "--out", f"{work}/found")
                wall[name].append(time.perf_counter() - began)
                processor[name].append(processor_seconds() - before)
    rows = [[name, common.spread(wall[name], "s"), common.spread(processor[name], "s")] for name in checkouts]
    if chosen.against:
        ratios = [f"{common.ratio(each['the other'], each['this checkout']):.2f}" for each in (wall, processor)]
        rows.append(["the other ÷ this", *ratios])
    what = chosen.run.name if chosen.run else "the quick preset"
    common.write(
        "analyze_all",
        f"`python -m interp.analyze all` on {what}, {chosen.rounds} of each in turn, a process each; "
        "medians, quartiles in brackets",
        ["what", "s", "processor s"],
        rows,
    )


def python(checkout: Path, *words: str) -> None:
    """Run a module of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    subprocess.run([sys.executable, "-m", *words], check=True, capture_output=True, cwd=checkout, env=environment)


def processor_seconds() -> float:
    """Of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
