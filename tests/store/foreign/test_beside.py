"""Trained prompts and learning curves in files of their own, beside converted weights."""

import json

import pytest
import torch

from interp.base import UserError
from interp.store.foreign.convert import convert

ROWS = [0, 3, 8, 9, 20, 33, 48]


@pytest.fixture
def weights(tmp_path, tiny):
    """A state dict of HookedTransformer with neither curves nor a list of prompts."""
    torch.save(dict(tiny.final.weights), tmp_path / "model_step300.pt")
    return tmp_path / "model_step300.pt"


def pairs(p):
    """The rows as columns x and y."""
    return "x,y\n" + "".join(f"{row // p},{row % p}\n" for row in ROWS)


@pytest.mark.parametrize("form", ["column", "list", "one entry", "tensor", "pairs"])
def test_trained_prompts_are_read_from_a_file_of_their_own(tmp_path, tiny, weights, form):
    p, file = tiny.task.p, tmp_path / "split.pt"
    if form == "tensor":
        torch.save(torch.tensor(ROWS), file)
    else:
        texts = {"column": "row\n" + "\n".join(map(str, ROWS)), "list": json.dumps(ROWS), "pairs": pairs(p)}
        file.write_text(texts.get(form, json.dumps({"train": ROWS})))
    (run,) = convert(weights, tmp_path / "x", split=file, task={"operation": "add", "p": p})
    assert run.split.train_index.tolist() == ROWS
    assert len(run.split.test) == p**2 - len(ROWS)
    trained = run.task.table()[run.split.train_index]
    assert (trained.inputs[:, 0] * p + trained.inputs[:, 1] == ROWS).all()


def test_curves_are_read_from_a_file_of_their_own(tmp_path, weights):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "curve.csv").write_text("step,train_loss,test_loss\n0,2.0,2.1\n300,0.5,1.5\n")
    (run,) = convert(weights, tmp_path / "x", history=tmp_path / "log" / "curve.csv")
    assert run.history["train_loss"].to_dict() == {0: 2.0, 300: 0.5}
    assert run.history["test_loss"].to_dict() == {0: 2.1, 300: 1.5}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[1, 2, 2]", "has 1 prompts more than once"),
        ("[1, -2]", "has no list of whole numbers"),
        ("[1, 2.5]", "has no list of whole numbers"),
        ("[1, 100000]", "has rows up to 100,000, and the task is"),
        ("x,y\n1,2\n", "the modulus is not known; give --task.p too"),
    ],
)
def test_a_split_that_cannot_be_is_refused(tmp_path, weights, content, says):
    (tmp_path / "split.txt").write_text(content)
    with pytest.raises(UserError, match=says):
        convert(weights, tmp_path / "x", split=tmp_path / "split.txt")
    assert not (tmp_path / "x").exists()


def test_a_file_without_curves_is_refused(tmp_path, weights):
    (tmp_path / "curve.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"--history .*curve\.csv has no learning curve"):
        convert(weights, tmp_path / "x", history=tmp_path / "curve.csv")
    with pytest.raises(UserError, match=r"--split .*nowhere is no file"):
        convert(weights, tmp_path / "x", split=tmp_path / "nowhere")
