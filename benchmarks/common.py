"""What the benchmarks share: fair timing, and how a table says where it comes from."""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import torch

RESULTS = Path(__file__).parent / "results"


def interleaved(
    cases: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 3, settle: int = 0
) -> dict[str, list[float]]:
    """Seconds of each case in each round, a call of each in turn: whatever else the machine does falls on all.

    Before each call that is timed come `settle` others of the same case, so that no case finds the caches as another left them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for count in range(warm_up + rounds):
        for name, act in cases.items():
            for _ in range(settle):
                act()
            begin = time.perf_counter()
            act()
            if count >= warm_up:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def spread(seconds: list[float], unit: str = "ms") -> str:
    """Median, with the quartiles in brackets."""
    factor = {"ms": 1e3, "s": 1.0}[unit]
    low, middle, high = (factor * value for value in statistics.quantiles(seconds, n=4))
    return f"{middle:.3g} ({low:.3g}–{high:.3g})"


def ratio(slow: list[float], fast: list[float]) -> float:
    """Of the medians."""
    return statistics.median(slow) / statistics.median(fast)


def machine() -> str:
    """Processor, threads, load and versions."""
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    processor = f"{len(names)} × {names[0]}" if names else platform.processor()
    return (
        f"{processor}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f} at the end, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def write(name: str, about: str, header: list[str], rows: list[list[str]], notes: str = "") -> None:
    """Print the table, and put it where docs/speed.md finds it."""
    lines = [f"`python benchmarks/{name}.py` on {machine()}: {about}", ""]
    lines += [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    text = "\n".join([*lines, *(["", notes] if notes else [])]) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text)
    print(text)


class Build:
    """The package of another checkout, beside ours in one process: within its region, `import interp` takes that one.

    What is imported there is kept for the next time that the region is entered.
    """

    def __init__(self, checkout: Path):
        self.path, self.modules, self.ours = str(checkout), {}, {}

    def __enter__(self) -> None:
        self.ours = taken_out()
        sys.path.insert(0, self.path)
        sys.modules.update(self.modules)

    def __exit__(self, *_: object) -> None:
        sys.path.remove(self.path)
        self.modules = taken_out()
        sys.modules.update(self.ours)


def taken_out() -> dict[str, ModuleType]:
    """The package's modules, which are no longer imported."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "interp"}


def add_earlier(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark the option to be held against an earlier build."""
    parser.add_argument("--against", type=checkout, help="checkout of an earlier build", metavar="DIR")


def checkout(text: str) -> Path:
    """Directory of a checkout. Without the package there, our own would be imported, and measured against itself."""
    path = Path(text).resolve()
    if not (path / "interp").is_dir():
        raise argparse.ArgumentTypeError(f"{text} has no folder interp; name a checkout of this project")
    return path


def commit(checkout: Path) -> str:
    """Short name of a checkout's commit; that of its directory where there is none."""
    found = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or checkout.name


def peak_memory() -> float:
    """MiB of resident memory that this process has had at most; getrusage's begins with that of the process before."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) / 1024 for row in status if row.startswith("VmHWM"))
