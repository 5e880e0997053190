"""The list of runs: read from the end of their histories, whatever else lies in the directory."""

import json
import os
import platform

import pytest

import interp
from interp.app.listing import Listing, is_training, last_row, number
from interp.base import UserError
from interp.cli.app import main
from interp.config import RunConfig
from interp.models import MlpSpec
from interp.recipe import TrainConfig
from interp.store.layout import HISTORY, LOCK, RECORD
from interp.tasks import ModularTask


def config(steps=40):
    return RunConfig(
        name="one",
        task=ModularTask(p=7, train_fraction=0.5),
        model=MlpSpec(d_model=8, width=16),
        train=TrainConfig(steps=steps, log_every=1, checkpoint_every=10),
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Two runs, one of them in a folder of its own."""
    home = tmp_path_factory.mktemp("runs")
    interp.train_run(config(), home / "one")
    interp.train_run(config(60), home / "grid" / "two")
    return home


def test_every_run_is_listed_by_its_path_with_its_last_logged_row(directory):
    runs = {run.name: run for run in Listing(directory).all()}
    assert list(runs) == ["grid/two", "one"]
    history = interp.open_run(directory / "one").history.iloc[-1]
    assert runs["one"].last.step == runs["one"].steps == 40
    assert runs["one"].last.columns["test_loss"] == history["test_loss"]
    assert not runs["one"].training
    assert [run.name for run in Listing(directory / "one").all()] == ["."]


def test_the_last_row_is_the_last_whole_one(tmp_path):
    lines = ["step,train_loss,check", *(f"{step},{step / 7!r},0" for step in range(5_000))]
    (tmp_path / HISTORY).write_text("\n".join(lines) + "\n5000,1.")
    assert last_row(tmp_path).step == 4_999 and last_row(tmp_path).columns["train_loss"] == 4_999 / 7
    for text in ("", "step", "no,history\n1,2\n", "step\nx\n", "\0" * 5_000):
        (tmp_path / HISTORY).write_text(text)
        assert last_row(tmp_path) == (0, {})
    assert number("") != number("") and number("1e-3") == 1e-3


def test_a_run_is_training_while_its_holder_lives(directory):
    run = directory / "one"
    known = (run / LOCK).read_text()
    try:
        for owner, training in (
            ({"process": os.getpid(), "host": platform.node()}, True),
            ({"process": 2**22 + 1, "host": platform.node()}, False),  # above the largest number of a process
            ({"process": -1, "host": platform.node()}, False),  # all processes, to a signal
            ({"process": 1, "host": "elsewhere"}, True),  # its history was written just now
            ({"process": "1"}, False),
            ([], False),
        ):
            (run / LOCK).write_text(json.dumps(owner))
            assert is_training(run) is training, owner
    finally:
        (run / LOCK).write_text(known)
    assert not is_training(run)


def test_a_name_leads_nowhere_else(directory):
    listing = Listing(directory / "grid")
    assert listing.path_of("two") == directory / "grid" / "two"
    for name in ("../one", str(directory / "one"), "three", "", "two/steps", "a\0b", "x" * 5_000):
        with pytest.raises(UserError, match="no run"):
            listing.path_of(name)


def test_a_damaged_run_says_what_is_wrong_and_hides_no_other(directory, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / RECORD).write_text("{")
    os.symlink(directory, tmp_path / "link")
    interp.train_run(config(1), tmp_path / "good")
    bad, good = Listing(tmp_path).all()
    assert "damaged" in bad.about and good.steps == 1


def test_time_left_is_that_of_the_pace(directory, monkeypatch):
    listing, clock = Listing(directory), [100.0]
    monkeypatch.setattr("interp.app.listing.time.monotonic", lambda: clock[0])
    assert listing._left(directory / "one", 10, 40) != listing._left(directory / "one", 10, 40)  # not known yet
    clock[0] = 105.0
    assert listing._left(directory / "one", 20, 40) == pytest.approx(10)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "nowhere is no directory; give one that holds runs"),
        ([".", "--port", "70000"], "--port is 70000; take 0 to 65535"),
        ([".", "--prot", "1"], "--port"),
    ],
)
def test_wrong_words_get_one_sentence(words, sentence, capsys):
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
