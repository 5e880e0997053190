"""What a file is, by its content: what cannot be read is named, with what to do, in no words of Python or torch."""

import argparse
import pathlib
import pickle
import re
import types
import zipfile
from collections import defaultdict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from store.foreign.test_nothing_dropped import CURVES, notes, saved, weights

from interp.base import UserError
from interp.store import CheckpointError
from interp.store.foreign.convert import convert
from interp.store.foreign.stand_ins import Array, Dtype, scalar

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234567\n"
WORDS = re.compile(
    r"Traceback|Error\b|Exception|weights_only|unpickl|Unsupported|line 1 column|codec|NoneType|torch\.serial"
)
"""Words of the messages of Python and torch."""


def npz():
    import io

    whole = io.BytesIO()
    np.savez(whole, W_E=np.zeros(3), W_U=np.zeros(3))
    return whole.getvalue()


def program():
    import io

    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name in ("a/data.pkl", "a/constants.pkl", "a/code/a.py"):
            archive.writestr(name, b"x")
    return whole.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (POINTER, "is a Git LFS pointer, which stands for a file of 1,234,567 bytes; run `git lfs pull`"),
        (b"\n<!DOCTYPE html><html><body>Log in</body>", "is a web page"),
        (npz(), r"is a NumPy archive \(.npz\) with W_E, W_U"),
        (b"\x93NUMPY\x01\x00", "is a NumPy array"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        (b"\x1f\x8b\x08\x00junk", "is compressed by gzip; unpack it first"),
        (program(), "is a TorchScript program"),
        (pickle.dumps({"train_losses": [1.0]}), "is a pickle that torch.save did not write"),
        (b"PK\x03\x04" + b"junk" * 9, "its end is missing"),
        (b"epoch 1 loss 2\nepoch 2 loss 1\n", "is text, and no CSV with a header, JSON or JSONL"),
        (b"a,b\n1,2\n", "has a and b, and no learning curve"),
        (b"step,train_loss\n1,2\n3\n", "has 1 values in row 3 and 2 columns"),
        (b'{"train_loss": [1, 2', "is damaged as JSON"),
        (b'{"step": 1}\n{"step": \n', "is damaged as JSONL, in its line 2"),
        (b'{"lr": 1}', "has lr, and no learning curve"),
        (b"[" * 5000 + b"]" * 5000, "is damaged as JSON|nests deeper"),
        (b"\xff\xfe\x00\x01\x02", "is damaged, or no file that torch.save wrote"),
        (b"step,train_loss\n0,\xff\xff\xff\xff\xff\n", "is damaged, or no file that torch.save wrote"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "model.pt"])
def test_what_is_no_file_of_weights_is_named_whatever_its_suffix(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    if name == "model.pt":
        says = says.replace(", and no learning curve", "|holds nothing that interp recognises")
    with pytest.raises(UserError, match=says) as error:
        convert(tmp_path / name, tmp_path / "x")
    assert str(tmp_path / name) in str(error.value)
    assert not WORDS.search(str(error.value))
    assert not (tmp_path / "x").exists()


def test_a_file_is_read_by_its_content_whatever_its_suffix(tmp_path):
    save_file(weights(), tmp_path / "a.pt")
    assert torch.equal(convert(tmp_path / "a.pt", tmp_path / "x")[0].final.weights["embed.W_E"], weights()["embed.W_E"])
    saved(tmp_path, "b.safetensors", weights())
    with pytest.raises(CheckpointError, match=r"is a file of torch\.save, and no safetensors file; rename it to \.pt"):
        convert(tmp_path / "b.safetensors", tmp_path / "y")


def test_a_broken_file_of_a_folder_costs_itself_if_asked(tmp_path, capsys):
    from interp.cli.convert import main

    folder = tmp_path / "run"
    for step in (1, 2):
        saved(folder, f"step{step}.pt", weights(step))
    (folder / "step3.pt").write_bytes(POINTER)
    (folder / "metrics.csv").write_text("step,train_loss\n1\n")
    with pytest.raises(CheckpointError, match=r"step3\.pt is a Git LFS pointer.*or leave it out with --skip-broken"):
        convert(folder, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    assert main([str(folder), "--out", str(tmp_path / "x"), "--skip-broken"]) == 0
    said = capsys.readouterr().out
    assert "step3.pt is left out: it is a Git LFS pointer" in said
    assert "metrics.csv is left out: it has 1 values in row 2 and 2 columns" in said
    (folder / "step1.pt").unlink()
    (folder / "step2.pt").unlink()
    with pytest.raises(CheckpointError, match=r"run has no readable file: step3\.pt is left out"):
        convert(folder, tmp_path / "y", skip_broken=True)
    with pytest.raises(UserError, match=r"--skip-broken cannot be used: .* is one file"):
        convert(folder / "step3.pt", tmp_path / "y", skip_broken=True)


def test_weights_beside_plain_objects_of_python_and_numpy_are_read(tmp_path):
    """The objects are replaced by inert ones; what they hold is read where it is a curve or a count."""
    history = defaultdict(list, {"train_loss": [3.0, 2.0], "test_loss": [4.0, 3.5]})
    beside = {
        "args": argparse.Namespace(lr=0.1, nested=types.SimpleNamespace(p=5)), "path": pathlib.Path("/home/them/run"),
        "history": history, "train_acc": np.array([0.25, 0.5]), "test_acc": np.array([25, 50], dtype=">i2"),
        "step": np.int64(2), "names": np.array(["a"], dtype=object), "flags": np.array([True]),
    }  # fmt: skip
    (run,) = convert(saved(tmp_path, "a.pt", {"model": weights(), **beside}), tmp_path / "x")
    assert torch.equal(run.final.weights["embed.W_E"], weights()["embed.W_E"])
    assert run.steps == (2,)
    assert run.history.to_numpy().tolist() == [[3.0, 4.0, 0.25, 0.25], [2.0, 3.5, 0.5, 0.5]]
    assert "a.pt also has args, path, names and flags, not taken in" in notes(run)


def test_weights_as_arrays_are_weights(tmp_path):
    arrays = {name: tensor.numpy() for name, tensor in weights().items()}
    (run,) = convert(saved(tmp_path, "a.pt", {"model": arrays, **CURVES}), tmp_path / "x")
    assert all(torch.equal(run.final.weights[name], tensor) for name, tensor in weights().items())


@pytest.mark.parametrize(
    "state",
    [
        None,
        (1, (2,), Dtype("f8"), False, b"\0" * 8),
        (1, (-1, -1), Dtype("f8"), False, b"\0" * 8),
        (1, (10**12,), Dtype("f8"), False, b""),
        (1, (1,), Dtype("O"), False, [object()]),
        (1, (1,), Dtype("V8"), False, b"\0" * 8),
        (1, (1,), "f8", False, b"\0" * 8),
        (1, ("1",), Dtype("f8"), False, b"\0" * 8),
    ],
)
def test_an_array_that_does_not_have_what_it_says_is_none(state):
    stand_in = Array()
    stand_in.__setstate__(state)
    assert stand_in.numpy() is None


def test_a_number_of_numpy_is_read_in_its_own_order_of_bytes():
    big = Dtype("i4")
    big.__setstate__((3, ">", None, None, None, -1, -1, 0))
    assert scalar(big, b"\0\0\1\0") == 256
    assert scalar(Dtype("f8"), b"short") is None


def test_stand_ins_are_inert_whatever_they_are_called_with():
    from interp.store.foreign.stand_ins import STAND_INS

    for stand_in, name in STAND_INS:
        made = stand_in("os", "system", {"a": 1})
        assert type(made).__module__ in ("interp.store.foreign.stand_ins", "builtins"), name
        assert not callable(made), name
