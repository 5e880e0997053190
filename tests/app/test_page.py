"""The live page in a real browser: the list, a run that trains, a step that is chosen, a measurement that is asked for."""

import shutil
import signal
import subprocess
import sys
import time

import pytest

import interp
from interp.config import RunConfig
from interp.models import MlpSpec
from interp.recipe import TrainConfig
from interp.tasks import ModularTask

pytest.importorskip("dash")
DRIVER = shutil.which("chromedriver")
SECONDS = 60


def config(**fields):
    return RunConfig(
        name="one",
        task=ModularTask(p=11, train_fraction=0.5),
        model=MlpSpec(d_model=8, width=16),
        train=TrainConfig(**{"steps": 40, "log_every": 1, "checkpoint_every": 10, **fields}),
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Directory of two runs, and the address of the page over it; one of the names would be a script where it is not escaped."""
    home = tmp_path_factory.mktemp("runs")
    interp.train_run(config(), home / "one")
    interp.train_run(config(), home / "<img src=x onerror=alert(1)>")
    command = [sys.executable, "-m", "interp.app", str(home), "--port", "0"]
    complaints = home / "complaints"
    with complaints.open("w") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
    assert process.stdout is not None
    said = process.stdout.readline()
    yield home, said.split()[0]
    process.terminate()
    assert process.wait(SECONDS) == -signal.SIGTERM, complaints.read_text()
    process.stdout.close()
    assert "Traceback" not in complaints.read_text(), complaints.read_text()
    assert said.startswith("http://127.0.0.1:")


@pytest.fixture(scope="module")
def browser():
    """A browser without a window."""
    if DRIVER is None or not (chromium := shutil.which("chromium")):
        pytest.skip("there is no chromium with chromedriver here")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1000,1200"):
        options.add_argument(word)
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield found
    found.quit()


def until(browser, condition, what):
    """What a condition in the page's own language gives, once it is true."""
    end = time.monotonic() + SECONDS
    while not (found := browser.execute_script(f"return {condition}")):
        assert time.monotonic() < end, f"{what}: {browser.execute_script('return document.body.innerText')}"
        time.sleep(0.05)
    return found


TEXT = "document.body.innerText"
STEP = "[...document.querySelectorAll('p')].map(p => p.textContent).filter(t => /^step [0-9,]+$/.test(t))[0]"


def test_runs_are_listed_and_their_names_are_text(served, browser):
    browser.get(served[1])
    until(browser, f"{TEXT}.includes('onerror')", "the name as it is")
    assert browser.execute_script("return document.querySelectorAll('img').length") == 0
    assert browser.execute_script("return document.querySelectorAll('#rows tr').length") == 2
    browser.find_element("link text", "one").click()
    until(browser, f"{TEXT}.includes('step 40 of 40, finished')", "the run that the row leads to")


def test_a_run_that_comes_is_listed_without_loading_the_page_anew(served, browser):
    home, address = served
    browser.get(address)
    until(browser, "document.querySelectorAll('#rows tr').length == 2", "two runs")
    browser.execute_script("window.loaded = true")
    interp.train_run(config(), home / "two")
    until(browser, "document.querySelectorAll('#rows tr').length == 3", "three")
    assert browser.execute_script("return window.loaded")


def test_a_step_is_chosen_and_its_numbers_are_those_of_the_history(served, browser):
    from selenium.webdriver.common.keys import Keys

    home, address = served
    browser.get(f"{address}run/one")
    assert until(browser, STEP, "a step") == "step 40"
    until(browser, "document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length", "curves")
    browser.find_element("css selector", "[role=slider]").send_keys(Keys.HOME)
    until(browser, f"{STEP} == 'step 0'", "the first step")
    first = interp.open_run(home / "one").history.loc[0, "train_loss"]
    assert f"{first:.3g}" in browser.execute_script(f"return {TEXT}")


def test_what_is_not_measured_is_measured_when_asked_for(served, browser):
    browser.get(f"{served[1]}run/one?analysis=norms")
    until(browser, f"{TEXT}.includes('not measured yet')", "nothing yet")
    browser.find_element("xpath", "//button[text()='measure']").click()
    until(browser, "document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length", "norms")
    until(browser, STEP, "a step")


def test_a_run_that_goes_on_is_followed_and_stands_beside_itself(served, browser):
    home, address = served
    browser.get(f"{address}run/one?beside=one")
    until(browser, f"({TEXT}.match(/step 40 of 40, finished/g) || []).length == 2", "two panes")
    from interp.train.loop import train

    train(config(steps=60), home / "one", resume=True)
    until(
        browser,
        f"({TEXT}.match(/step 60 of 60, finished; [0-9]+ checkpoints, the newest at 60/g) || []).length == 2",
        "60",
    )
    until(browser, f"{STEP} == 'step 60'", "the slider at the new end")


def test_a_run_that_is_not_there_is_one_sentence(served, browser):
    browser.get(f"{served[1]}run/..%2F..")
    until(browser, f"{TEXT}.includes('no run')", "a sentence")
