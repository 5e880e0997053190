"""What `python -m interp.analyze all` leaves: weight of the page beside plotly and of all files, and time to its first plot."""

import csv
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import common
from selenium import webdriver

from interp.report.document import plotly

LIMITS = {"index.html beside plotly, MB": 2.5, "first plot, s": 2, "first plot, processor s": 2}
"""What may not be exceeded, for the preset `quick`."""

ROUNDS = 5
WATCH = """new MutationObserver((_, me) => { if (!document.querySelector(".plot .main-svg")) return;
window.firstPlot = performance.now() / 1000; me.disconnect(); }).observe(document, {childList: true, subtree: true});"""
"""Notes in the page when its first plot stands there."""


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


def first_plot(page: Path) -> dict[str, float]:
    """Median seconds from opening the page in a headless Chromium to its first plot; and processor seconds of its main thread.

    Both are of a browser that has seen no other page. On a busy machine the second alone tells of the page.
    """
    seconds = [one_plot(page.resolve().as_uri()) for _ in range(ROUNDS)]
    medians = map(statistics.median, zip(*seconds, strict=True))
    return dict(zip(("first plot, s", "first plot, processor s"), medians, strict=True))


def one_plot(address: str) -> tuple[float, float]:
    """Seconds to the first plot of a page in a browser of its own, and processor seconds of the main thread."""
    options = webdriver.ChromeOptions()
    options.binary_location, options.page_load_strategy = shutil.which("chromium") or "", "none"
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000"):
        options.add_argument(word)
    browser: Any = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        browser.get(address)
        for _ in range(1200):
            if seconds := browser.execute_script("return window.firstPlot"):
                break
            time.sleep(0.05)
        else:
            raise SystemExit(f"waited a minute for the first plot of {address}")
        metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return seconds, next(each["value"] for each in metrics if each["name"] == "TaskDuration")
    finally:
        browser.quit()


def main(run: str = "checkpoints/quick") -> None:
    """Write the table of a run that was analysed."""
    found = weights(Path(run) / "analysis") | first_plot(Path(run) / "analysis/index.html")
    with (common.RESULTS / "page.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["what", "measured", "limit"])
        table.writerows([name, f"{value:.4g}", LIMITS.get(name, "")] for name, value in found.items())
    print((common.RESULTS / "page.csv").read_text())


if __name__ == "__main__":
    main(*sys.argv[1:])
