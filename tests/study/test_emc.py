"""Effective model complexity: bisection over planted errors, and on real digits."""

from types import SimpleNamespace

import pandas as pd
import pytest

from interp.base import UserError
from interp.cli.study import main, parse
from interp.config import RunConfig
from interp.models import MlpSpec
from interp.recipe import TrainConfig
from interp.study import emc as module
from interp.study.emc import emc
from interp.tasks import Corruption, ImagesTask, ModularTask

DIGITS = RunConfig(
    task=ImagesTask(examples=20, test_examples=20),
    model=MlpSpec(inputs="vectors", width=3, act_fn="relu", biases=True),
    train=TrainConfig(steps=150, lr=2e-2, weight_decay=0.0, log_every=150, checkpoint_every=150),
)


@pytest.fixture
def planted(monkeypatch):
    """Runs whose train error is a function of the number of examples; and the numbers that were tried."""

    def planted(error):
        tried = []

        def run_all(configs, out, processes=None):
            tried.extend({config.task.examples for config in configs.values()})
            runs = {
                name: SimpleNamespace(history=pd.DataFrame({"train_accuracy": [0.0, 1 - error(config.task.examples)]}))
                for name, config in configs.items()
            }
            return SimpleNamespace(runs=runs, failures={})

        monkeypatch.setattr(module, "run_all", run_all)
        return tried

    return planted


@pytest.mark.parametrize("known", [11, 137, 400, 999])
def test_a_planted_complexity_is_found_within_the_resolution(known, planted, tmp_path):
    tried = planted(lambda n: 0.0 if n <= known else 0.2)
    found = emc(DIGITS, tmp_path, 10, 1_000, resolution=0.05)
    assert found.fits <= known < found.fails
    assert found.fails <= max(found.fits + 1, 1.05 * found.fits)
    assert found.monotone
    assert len(tried) == len(set(tried)) <= 2 + 7  # 7 = log₂(ln 100 ÷ ln 1.05), rounded up
    exact = emc(DIGITS, tmp_path, 10, 1_000, resolution=1e-6)
    assert (exact.fits, exact.fails) == (known, known + 1)


def test_beyond_the_numbers_that_are_tried_it_is_bounded_on_one_side(planted, tmp_path):
    planted(lambda n: 0.0)
    assert str(emc(DIGITS, tmp_path, 10, 500)) == "EMC is at least 500"
    planted(lambda n: 0.5)
    assert str(emc(DIGITS, tmp_path, 10, 500)) == "EMC is below 10"


def test_an_error_that_falls_again_is_told(planted, tmp_path):
    planted(lambda n: 0.3 if 50 < n < 200 else 0.2 if n > 200 else 0.0)
    found = emc(DIGITS, tmp_path, 10, 1_000)
    assert not found.monotone
    assert pd.read_csv(tmp_path / "emc.csv", index_col=0)["fits"].tolist() == found.table["fits"].tolist()


@pytest.mark.slow
def test_real_digits_are_bisected_and_what_is_finished_is_kept(tmp_path, capsys):
    words = ["--least", "4", "--most", "300", "--seeds", "2", "--resolution", "0.9", "--processes", "1"]
    given = parse(["emc", "digits-width", "--out", str(tmp_path / "runs"), *words])[0]
    assert given.config.task.kind == "images"
    how = {"seeds": 2, "resolution": 0.99, "processes": 1}
    of = DIGITS.but(model=DIGITS.model.but(width=16), corruption=Corruption(share=0.5))
    found = emc(of, tmp_path / "runs", 4, 300, **how)
    assert found.fits >= 4
    assert found.table.loc[300, "train_error"] > 0.01 >= found.table.loc[4, "train_error"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.safetensors")}
    again = emc(of, tmp_path / "runs", 4, 300, **how)
    pd.testing.assert_frame_equal(again.table, found.table)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.safetensors")} == before


def test_a_dry_run_says_the_rounds_and_trains_nothing(tmp_path, capsys):
    words = ["--model.width", "3", "--train.steps", "5", "--most", "100", "--seeds", "2", "--dry-run"]
    assert main(["emc", "digits-width", "--out", str(tmp_path / "runs"), *words]) == 0
    said = capsys.readouterr().out
    assert "at most 8 rounds of 2 runs; the largest:" in said  # 2 + log₂(ln 10 ÷ ln 1.05)
    assert "2 runs (2 to train)" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "how", "says"),
    [
        (
            {"task": ModularTask(p=7), "model": MlpSpec()},
            {},
            'task.kind is "modular", whose number of examples is not a field',
        ),
        ({}, {"least": 30, "most": 30}, "--least is 30 and --most 30; give a smaller and a larger"),
        ({}, {"level": 1.0}, "--level is 1; it should be at least 0 and below 1"),
        ({}, {"resolution": 0.0}, "--resolution is 0; it should be between 0 and 1"),
        ({}, {"most": 1_790}, "task.examples is 1,790 and task.test_examples 20, and digits has 1,797 images"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(changes, how, says, tmp_path):
    numbers = {"least": 10, "most": 100, "resolution": 0.9} | how
    with pytest.raises(UserError, match=says):
        emc(DIGITS.but(**changes), tmp_path, **numbers)
