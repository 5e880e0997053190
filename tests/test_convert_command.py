"""python -m interp.convert: the command, its words, and what it leaves on disk."""

import json

import pytest
import torch
from helpers import origin

from interp.cli.convert import main
from interp.store import open_run
from interp.store.foreign.bridge import CONFIG


@pytest.fixture
def curves(tmp_path):
    path = tmp_path / "curves.pth"
    torch.save({"train_losses": [3.0, 0.5], "test_losses": [3.0, 4.0]}, path)
    return path


def test_it_says_what_it_found_and_what_is_not_known(curves, tmp_path, capsys):
    assert main([str(curves), "--out", str(tmp_path / "x")]) == 0
    said = capsys.readouterr().out
    assert "from learning curves: curves.pth" in said
    assert "not known    model, task, train, seeds" in said
    assert f"python -m interp.analyze all {tmp_path / 'x'}" in said


def test_options_go_before_what_files_leave_open(curves, tmp_path):
    words = ["--task.p", "113", "--task.operation", "add", "--task.train-fraction", "0.25", "--train.weight-decay", "2"]
    assert main([str(curves), "--out", str(tmp_path / "x"), *words]) == 0
    run = open_run(tmp_path / "x")
    assert run.task.about == "x + y mod 113, 25% of 12,769 prompts"
    assert run.config.train.weight_decay == 2
    assert "train.weight_decay" not in origin(run).unknown


def test_several_runs_get_a_directory_each_and_a_line_each(tmp_path, capsys):
    torch.save([[0.5, 0.3], [[3.0], [3.0], [3.0], [3.1]]], tmp_path / "sweep.pth")
    assert main([str(tmp_path / "sweep.pth"), "--out", str(tmp_path / "x")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[:2]] == ["train_fraction=0.5", "train_fraction=0.3"]
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["train_fraction=0.3", "train_fraction=0.5"]


def test_to_bridge_writes_the_chosen_checkpoints(tiny, tmp_path, capsys):
    assert main([str(tiny.path), "--to", "bridge", "--out", str(tmp_path / "x"), "--steps", "0", "40"]) == 0
    assert "2 checkpoints and config.json for TransformerLens 4" in capsys.readouterr().out
    assert json.loads((tmp_path / "x" / CONFIG).read_text())["d_vocab"] == 12
    assert sorted(file.name for file in (tmp_path / "x/steps").iterdir()) == [
        "00000000.safetensors",
        "00000040.safetensors",
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere.pth"], "does not exist"),
        (["{curves}", "--steps", "3"], "--steps goes with --to bridge"),
        (["{curves}", "--to", "bridge"], "has no run.json"),
        (["{curves}", "--task.operation", "ad", "--task.p", "7"], 'did you mean "add"?'),
        (
            ["{curves}", "--task.operation", "add", "--task.p", "7", "--task.train-fraction", "3"],
            "should be less than 1",
        ),
        (["{curves}", "--train.lr", "-1"], "train.lr is -1.0"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(curves, tmp_path, capsys, words, sentence):
    source = {"{curves}": str(curves.parent if "bridge" in words else curves)}
    with pytest.raises(SystemExit) as stopped:
        main([source.get(word) or word for word in words] + ["--out", str(tmp_path / "x")])
    assert stopped.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert sentence in said[0]
    assert not (tmp_path / "x").exists()


def test_without_words_it_shows_its_use(capsys):
    assert main([]) == 2
    assert main(["--help"]) == 0
    assert "usage: python -m interp.convert SRC --out DIR" in capsys.readouterr().out
