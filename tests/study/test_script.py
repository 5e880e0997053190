"""The script of a study: what it trains, in which order, and what it keeps."""

import pandas as pd
import pytest

import interp
from interp.figures import panels
from interp.study import script
from tests.helpers import tiny_config

WIDTHS = (8, 16)


def configs(small):
    assert small
    return interp.grid(tiny_config(), seeds=1, vary={"model.d_mlp": WIDTHS})


def further(runs):
    """The wider model with another seed."""
    wide = max(runs.values(), key=lambda run: run.config.model.d_mlp).config
    return {"more": wide.but(name="more", seeds=wide.seeds.but(model=1))}


def report(runs):
    table = pd.DataFrame({"d_mlp": {name: run.config.model.d_mlp for name, run in runs.items()}})
    return script.Report({"widths": table}, {"nothing": panels(["nothing"], [2], "nothing", over_steps=False)})


def command(folder, *words, **how):
    """Its exit code."""
    file = folder / "widths" / "study.py"
    return script.main(str(file), "Which?", configs, report, ["--small", "--work", str(folder), *words], **how)


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr(script, "write_pngs", lambda drawn: None)


def test_runs_that_others_call_for_are_trained_after_them_and_reported_with_them(tmp_path):
    assert command(tmp_path, further=further) == 0
    table = pd.read_csv(tmp_path / "small" / "widths.csv", index_col=0)["d_mlp"]
    assert table.to_dict() == {"d_mlp=8": 8, "d_mlp=16": 16, "more": 16}


def test_a_dry_run_plans_them_once_it_is_known_which_they_are(tmp_path, capsys):
    assert command(tmp_path, "--dry-run", further=further) == 0
    told = capsys.readouterr().out
    assert "2 runs (2 to train)" in told
    assert "depends on what they find" in told
    assert not (tmp_path / "small").exists()
    assert command(tmp_path) == 0
    capsys.readouterr()
    assert command(tmp_path, "--dry-run", further=further) == 0
    told = capsys.readouterr().out
    assert "2 runs (2 finished)" in told
    assert "1 run (1 to train)" in told
    assert not (tmp_path / "small" / "more").exists()
