"""State dicts by epoch in one file, made from our own runs and read back."""

import pytest
import torch
from helpers import origin

from interp.store import CheckpointError
from interp.store.foreign.convert import convert
from interp.store.foreign.series import step_of


def written(path, found):
    torch.save(found, path)
    return path


def checkpoints(run):
    """Copies of the weights of every checkpoint, by step."""
    return {checkpoint.step: {name: each.clone() for name, each in checkpoint.weights.items()} for checkpoint in run}


@pytest.mark.parametrize("key", [int, str, "epoch_{}".format, "Step {}".format, "ckpt-{:06d}".format])
def test_every_checkpoint_is_the_one_of_its_key(learned, tmp_path, key):
    found = {key(step): state for step, state in checkpoints(learned).items()}
    (run,) = convert(written(tmp_path / "all.pt", found), tmp_path / "x", model={"act_fn": "relu"})
    assert run.steps == learned.steps
    for ours, theirs in zip(learned, run, strict=True):
        assert all(torch.equal(theirs.weights[name], tensor) for name, tensor in ours.weights.items())
    assert run.task.but(train_fraction=0.9) == learned.task


def test_losses_beside_the_weights_are_those_of_their_step_and_what_is_not_taken_in_is_named(learned, tmp_path):
    found = {
        step: {"model": state, "train_loss": 1 / (1 + step), "test_acc": 0.5, "train_acc": 97.0, "optimizer": {}}
        for step, state in checkpoints(learned).items()
    }
    (run,) = convert(written(tmp_path / "all.pt", found | {"args": {"p": 7}}), tmp_path / "x")
    assert list(run.history["train_loss"]) == [1 / (1 + step) for step in learned.steps]
    assert (run.history["test_accuracy"] == 0.5).all()
    assert (run.history["train_accuracy"] == 0.97).all()
    notes = origin(run).notes
    assert "all.pt also has optimizer and args, not taken in" in notes
    assert "train_accuracy in all.pt is taken as percent" in notes


def test_curves_beside_the_checkpoints_are_taken_in_too(learned, tmp_path):
    found = {**checkpoints(learned), "train_losses": [3.0, 2.0, 1.0], "test_losses": [4.0, 4.0, 4.0]}
    (run,) = convert(written(tmp_path / "all.pt", found), tmp_path / "x")
    assert run.steps == learned.steps
    assert run.history["train_loss"].tolist() == [3, 2, 1]
    assert run.history["test_loss"].tolist() == [4, 4, 4]


def test_checkpoints_kept_without_a_copy_are_one_and_that_is_told(learned, tmp_path):
    state = checkpoints(learned)[learned.final.step]
    (run,) = convert(written(tmp_path / "all.pt", {0: state, 500: state, 100: state}), tmp_path / "x")
    assert run.steps == (500,)
    assert any(
        "one set of tensors for steps 0, 100 and 500, saved without a copy" in note for note in origin(run).notes
    )


def test_two_checkpoints_of_one_step_are_refused(learned, tmp_path):
    state = checkpoints(learned)[0]
    source = written(
        tmp_path / "all.pt", {100: state, "epoch_100": {name: each.clone() for name, each in state.items()}}
    )
    with pytest.raises(CheckpointError, match=r"all\.pt has two checkpoints of one step"):
        convert(source, tmp_path / "x")


def test_only_numbers_alone_or_behind_a_word_that_counts_are_steps():
    steps = {12: 12, "12": 12, "epoch 12": 12, "global_step=12": 12, "iter12": 12}
    assert {key: step_of(key) for key in steps} == steps
    assert [step_of(key) for key in (True, -1, 1.5, "p53", "seed_2", "0.weight", "", None, "12a")] == [None] * 9
