"""The live page in a headless Chromium, with 200 runs, one of 1,000 checkpoints: first paint, a run, a step of the slider."""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import common
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

import interp
from interp.config import RunConfig
from interp.models import MlpSpec
from interp.recipe import TrainConfig
from interp.tasks import ModularTask

RUNS, CHECKPOINTS, ROUNDS = 200, 1_000, 20
STEP = "[...document.querySelectorAll('p')].map(p => p.textContent).filter(t => /^step [0-9,]+$/.test(t))[0]"


def runs(home: Path) -> None:
    """Many small runs, and one with many checkpoints whose norms are measured."""
    train = TrainConfig(steps=100, log_every=10, checkpoint_every=100, checkpoints_per_decade=1)
    config = RunConfig(task=ModularTask(p=11), model=MlpSpec(d_model=8, width=16), train=train)
    interp.train_run(config.but(name="run"), home / "run-000")
    for number in range(1, RUNS - 1):
        shutil.copytree(home / "run-000", home / f"run-{number:03}")
    long = train.but(steps=CHECKPOINTS - 1, checkpoint_every=1)
    interp.train_run(config.but(name="long", train=long), home / "long").measure.norms()


def until(browser: Any, condition: str) -> float:
    """Seconds until a condition in the page's own language is true."""
    begin = time.perf_counter()
    while not browser.execute_script(f"return {condition}"):
        if time.perf_counter() - begin > 60:
            raise SystemExit(f"waited a minute for {condition}")
        time.sleep(0.002)
    return time.perf_counter() - begin


def timed(browser: Any, address: str) -> dict[str, list[float]]:
    """Seconds of each, several times."""
    found: dict[str, list[float]] = {"first paint": [], "a run": [], "a step of the slider": []}
    for _ in range(3):
        begin = time.perf_counter()
        browser.get(address)
        until(browser, f"document.querySelectorAll('#rows tr').length == {RUNS}")
        found["first paint"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        browser.get(f"{address}run/long?analysis=norms")
        until(browser, "document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length")
        until(browser, STEP)
        found["a run"].append(time.perf_counter() - begin)
    slider = browser.find_element("css selector", "[role=slider]")
    for _ in range(ROUNDS):
        before = browser.execute_script(f"return {STEP}")
        begin = time.perf_counter()
        slider.send_keys(Keys.ARROW_LEFT)
        until(browser, f"{STEP} != '{before}'")
        found["a step of the slider"].append(time.perf_counter() - begin)
    return found


def main() -> None:
    """Write results/app.md."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1200"):
        options.add_argument(word)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        runs(home)
        command = [sys.executable, "-m", "interp.app", str(home), "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            assert server.stdout is not None
            found = timed(browser, server.stdout.readline().split()[0])
        finally:
            browser.quit()
            server.terminate()
    limits = {"first paint": "2 s", "a step of the slider": "200 ms"}
    lines = [
        f"| {what} | {statistics.median(seconds):.3g} | {max(seconds):.3g} | {limits.get(what, '–')} |"
        for what, seconds in found.items()
    ]
    text = (
        f"# The live page: {RUNS} runs, one with {CHECKPOINTS:,} checkpoints\n\n"
        "| | median, s | longest, s | asked |\n|---|---|---|---|\n"
        + "\n".join(lines)
        + f"\n\n{common.machine()}. `python benchmarks/app.py`\n"
    )
    (common.RESULTS / "app.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
