"""The story a newcomer lives: train, interrupt nothing, analyse all, reopen; by the commands themselves."""

import json
import subprocess
import sys
from typing import Any

import pytest
import xarray as xr

import interp
from interp.analyze.__main__ import main as analyze
from interp.report.files import browser
from interp.train.__main__ import main as train

TRAIN = [
    "--task.p", "11", "--task.train-fraction", "0.5", "--model.d-model", "16", "--model.d-head", "8", "--model.n-heads",
    "2", "--model.d-mlp", "24", "--train.steps", "30", "--train.checkpoint-every", "10",
]  # fmt: skip

LEFT_OUT = {"positions", "regimes", "geometry", "path", "llc", "neurons_for_noise"}
"""Of one task with one answer a prompt, by a transformer, without wrong labels; and what takes minutes."""


def command(*words: str, cwd) -> None:
    done = subprocess.run([sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder in which the commands were typed."""
    home = tmp_path_factory.mktemp("home")
    command("interp.train", "quick", *TRAIN, "--out", "checkpoints/mine", cwd=home)
    command("interp.analyze", "all", "checkpoints/mine", cwd=home)
    return home


def test_training_leaves_a_run_that_opens(home):
    run = interp.open_run(home / "checkpoints/mine")
    assert run.steps[0] == 0
    assert run.steps[-1] == 30
    assert isinstance(run.task, interp.ModularTask)
    assert run.task.p == 11
    assert run.final.metrics["train_loss"] < run.at(0).metrics["train_loss"]
    assert "x + y mod 11" in repr(run)
    assert "<table>" in run._repr_html_()


def test_every_analysis_left_its_files(home):
    out = home / "checkpoints/mine/analysis"
    for name in interp.analyses().keys() - LEFT_OUT:
        assert (out / f"{name}.csv").stat().st_size > 0
        assert len(list((out / "kept").glob(f"{name}-*"))) == 1
    assert not list(out.glob("*.nc"))  # the numbers are kept once


def test_an_analysis_alone_leaves_a_picture_and_a_page_of_its_own_too(home, typed):
    typed(analyze, "norms", "checkpoints/mine", "--out", "alone", "--long-csv")
    kinds = {".html", ".csv", ".nc", "-long.csv"} | ({".png"} if browser() else set())
    assert {file.name for file in (home / "alone").iterdir()} == {f"norms{kind}" for kind in kinds}
    with xr.open_dataset(home / "alone/norms.nc") as found:
        assert list(found["total_l2"].dims) == ["step", "kind"]


def test_the_page_stands_alone(home):
    page = (home / "checkpoints/mine/analysis/index.html").read_text()
    assert page.count('class="plot"') == len(interp.analyses().keys() - LEFT_OUT)
    assert 'src="http' not in page
    assert "src='http" not in page


def test_what_does_not_fit_is_left_out_with_its_reason(home):
    page = (home / "checkpoints/mine/analysis/index.html").read_text()
    for name in LEFT_OUT:
        assert not list((home / "checkpoints/mine/analysis").glob(f"{name}.*"))
        assert f"<li><code>{name}</code>: " in page


@pytest.fixture
def typed(home, monkeypatch, capfd):
    """What a command typed in that folder writes to stdout and stderr, given its exit code; in this process."""
    monkeypatch.chdir(home)

    def typed(main, *words: str, expect: int = 0):
        try:
            code = main(list(words))
        except SystemExit as stopped:
            code = stopped.code
        assert code == expect
        return capfd.readouterr()

    return typed


def test_json_on_stdout_is_only_json(typed):
    said = typed(analyze, "curves", "checkpoints/mine", "--json").out
    found = json.loads(said)["analyses"]["curves"]
    assert "curves.html" not in said
    assert found["coords"]["step"]["data"][0] == 0
    assert found["attrs"]["generalised"] is None  # not reached in 30 steps: a value, no error


def test_a_second_training_does_not_overwrite_the_first(home, typed):
    before = (home / "checkpoints/mine/run.json").read_bytes()
    said = typed(train, "quick", *TRAIN, "--out", "checkpoints/mine", expect=2).err
    assert "--resume" in said
    assert "Traceback" not in said
    assert (home / "checkpoints/mine/run.json").read_bytes() == before


def test_resuming_a_finished_run_changes_nothing(home, typed):
    before = (home / "checkpoints/mine/run.json").read_bytes()
    typed(train, "--resume", "checkpoints/mine")
    assert (home / "checkpoints/mine/run.json").read_bytes() == before


def test_a_model_of_a_checkpoint_is_a_hooked_transformer(home):
    run = interp.open_run(home / "checkpoints/mine")
    tokens = interp.ModularTask(p=11).table().inputs
    import torch

    model: Any = run.final.model
    logits, cache = model.run_with_cache(torch.from_numpy(tokens))
    assert logits.shape == (121, 3, 11)
    assert cache["blocks.0.mlp.hook_post"].shape == (121, 3, 24)
    accuracy = (logits[:, -1].argmax(-1).numpy() == run.task.table().targets)[run.split.train_index].mean()
    assert accuracy == pytest.approx(run.final.metrics["train_accuracy"])
