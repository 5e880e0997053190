"""Folders of folders with the weights of one step each, as Hugging Face's Trainer writes them."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import interp
from interp.base import UserError
from interp.store.foreign.convert import convert


def net(step):
    """A module that interp does not compute, from a seed."""
    torch.manual_seed(step)
    return nn.Sequential(nn.Conv1d(3, 4, 2), nn.Linear(5, 2))


HISTORY = [
    {"loss": 2.0, "step": 10},
    {"eval_loss": 2.5, "step": 10},
    {"loss": 1.0, "step": 20},
    {"eval_loss": 2.0, "step": 20},
]


def as_trainer_does(folder, steps):
    """Checkpoints with weights, an optimiser's state and the log, as the Trainer leaves them."""
    for step in steps:
        place = folder / f"checkpoint-{step}"
        place.mkdir(parents=True)
        save_file(net(step).state_dict(), place / "model.safetensors")
        torch.save({"state": {}}, place / "optimizer.pt")
        log = [row for row in HISTORY if row["step"] <= step]
        (place / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": log}))


def test_checkpoints_of_a_trainer_are_a_run_with_its_losses(tmp_path):
    as_trainer_does(tmp_path / "out", (10, 20))
    (run,) = convert(tmp_path / "out", tmp_path / "run")
    assert run.steps == (10, 20)
    for step in run.steps:
        weights = run.at(step).weights
        assert all(torch.equal(weights[name], value) for name, value in net(step).state_dict().items())
    assert run.history["train_loss"].to_dict() == {10: 2.0, 20: 1.0}
    assert run.history["test_loss"].to_dict() == {10: 2.5, 20: 2.0}
    assert run.record.origin is not None
    assert set(run.record.origin.files) == {
        "checkpoint-10/model.safetensors", "checkpoint-20/model.safetensors", "trainer_state.json",
    }  # fmt: skip
    assert any("optimizer.pt, not taken in" in note for note in run.record.origin.notes)
    assert {"norms", "spectra", "trajectory", "curves"} <= set(interp.open_run(run.path).applies.fitting)


@pytest.mark.parametrize("name", ["step1000", "1000", "iter_1000"])
def test_a_folder_named_by_its_step_has_the_weights_of_that_step(tmp_path, name):
    (tmp_path / "out" / name).mkdir(parents=True)
    torch.save(net(3).state_dict(), tmp_path / "out" / name / "weights.pt")
    assert convert(tmp_path / "out", tmp_path / "run")[0].steps == (1000,)


def test_which_file_has_the_weights_is_asked(tmp_path):
    (tmp_path / "out" / "step5").mkdir(parents=True)
    for name in ("a.pt", "b.pt"):
        torch.save(net(3).state_dict(), tmp_path / "out" / "step5" / name)
    with pytest.raises(UserError, match=r"step5 has a\.pt and b\.pt, and which has the weights is not known"):
        convert(tmp_path / "out", tmp_path / "run")
