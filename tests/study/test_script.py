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


def test_the_papers_size_is_trained_and_kept_apart_from_the_results(tmp_path):
    def paper():
        return {"one": tiny_config(name="one")}

    words, file = ["--size", "paper", "--work", str(tmp_path)], tmp_path / "widths" / "study.py"
    assert script.main(str(file), "Which?", configs, report, words, paper=paper) == 0
    assert pd.read_csv(tmp_path / "paper" / "widths.csv", index_col=0).index.tolist() == ["one"]
    assert not (tmp_path / "widths" / "results").exists()


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--size", "paper"], "--size is paper, and widths/study.py has none; take small or full"),
        (["--small", "--size", "paper"], "--small is given and --size paper; give one of them"),
    ],
)
def test_a_size_that_there_is_not_is_told_in_a_sentence(words, sentence, tmp_path, capsys):
    with pytest.raises(SystemExit) as refused:
        script.main(str(tmp_path / "widths" / "study.py"), "Which?", configs, report, [*words, "--work", str(tmp_path)])
    assert refused.value.code == 2
    assert sentence in capsys.readouterr().err
