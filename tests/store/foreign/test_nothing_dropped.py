"""Files with weights and other things: both are taken in, and what is not is named in a note."""

import json
from typing import Any

import pytest
import torch
from helpers import origin
from safetensors.torch import save_file
from store.foreign.conftest import turned

from interp.cli.convert import main
from interp.models import TransformerSpec
from interp.models.network import initial_weights
from interp.store.foreign.convert import convert
from interp.tasks import ModularTask

SPEC = TransformerSpec(n_heads=1, d_model=6, d_head=3, d_mlp=5)
CURVES = {"train_losses": [4.0, 3.0, 2.0, 1.0], "test_losses": [5.0, 4.5, 4.0, 3.5]}


def weights(seed=0):
    return {name: tensor.clone() for name, tensor in initial_weights(SPEC, ModularTask(p=5).shape, seed).items()}


def notes(run):
    return "\n".join(origin(run).notes)


def saved(folder, name, content):
    folder.mkdir(exist_ok=True)
    torch.save(content, folder / name)
    return folder / name


def test_state_dicts_by_epoch_keep_their_curves(tmp_path):
    """As in teaching material: a checkpoint for each epoch, a train loss for every update, a test loss for one in ten."""
    losses = [1 / (1 + update) for update in range(40)]
    content = {"epochs": [0, 20, 40], "state_dicts": [weights(0), weights(1), weights(2)]}
    path = saved(tmp_path, "full.pth", content | {"train_losses": losses, "test_losses": losses[::10]})
    (run,) = convert(path, tmp_path / "x")
    assert run.steps == (0, 20, 40)
    for step, seed in ((0, 0), (20, 1), (40, 2)):
        assert torch.equal(run.at(step).weights["embed.W_E"], weights(seed)["embed.W_E"])
    assert list(run.history["train_loss"]) == losses
    assert dict(run.history["test_loss"].dropna()) == {update: losses[update] for update in (0, 10, 20, 30)}
    assert "epochs in full.pth is taken as the number of updates" in notes(run)


@pytest.mark.parametrize("layout", [lambda state: state, turned])
def test_curves_as_long_as_the_list_of_epochs_stand_at_these(tmp_path, layout):
    curves = {"train_losses": [3.0, 2.0], "val_acc": torch.tensor([0.25, 0.5])}
    content = {"epochs": [100, 300], "state_dicts": [layout(weights(0)), layout(weights(1))], **curves}
    (run,) = convert(saved(tmp_path, "a.pth", content), tmp_path / "x")
    assert dict(run.history["train_loss"]) == {100: 3.0, 300: 2.0}
    assert dict(run.history["test_accuracy"]) == {100: 0.25, 300: 0.5}


def test_weights_and_curves_and_accuracies_in_one_dictionary(tmp_path):
    beside = {"train_accs": [0.1, 0.2, 0.3, 0.4], "test_accuracies": [10.0, 20.0, 30.0, 40.0]}
    content = {"model": weights(), **CURVES, **beside, "optimizer": {"state": {}}, "comment": "mine"}
    (run,) = convert(saved(tmp_path, "a.pth", content), tmp_path / "x")
    assert torch.equal(run.final.weights["unembed.W_U"], weights()["unembed.W_U"])
    assert run.steps == (4,)
    assert list(run.history["test_loss"]) == CURVES["test_losses"]
    assert list(run.history["train_accuracy"]) == beside["train_accs"]
    assert list(run.history["test_accuracy"]) == [0.1, 0.2, 0.3, 0.4]
    for told in ("also has optimizer and comment, not taken in", "the end of its curves, 4", "taken as percent"):
        assert told in notes(run)


@pytest.mark.parametrize(
    "content",
    [
        {"history": {"train_loss": [1.0, 2.0]}},
        {"history": [{"step": 0, "train_loss": 1.0}, {"step": 1, "train_loss": 2.0}]},
        {"losses": {"train": [1.0, 2.0], "lr": [3.0, 4.0]}},
        {"trainLoss": (1.0, 2.0)},
        {"Loss/train": torch.tensor([1.0, 2.0])},
        {"metrics": {"train": {"loss": [1.0, 2.0]}}},
        {"loss": [torch.tensor(1.0), torch.tensor(2.0)]},
    ],
)
def test_a_curve_is_found_by_the_words_of_its_name(tmp_path, content):
    (run,) = convert(saved(tmp_path, "a.pth", {"model": weights(), **content}), tmp_path / "x")
    assert dict(run.history["train_loss"]) == {0: 1.0, 1: 2.0}
    assert ("also has losses/lr, not taken in" in notes(run)) == ("losses" in content)


def test_of_two_curves_for_one_column_the_other_is_named(tmp_path):
    content = {"model": weights(), "val_loss": [9.0, 9.0], "test_loss": [1.0, 2.0]}
    (run,) = convert(saved(tmp_path, "a.pth", content), tmp_path / "x")
    assert list(run.history["test_loss"]) == [1.0, 2.0]
    assert "also has val_loss, not taken in" in notes(run)


def test_a_curve_goes_before_the_single_number_of_its_name(tmp_path):
    content = {"model": weights(), "step": 9, "train_loss": 7.0, "train_losses": [1.0, 2.0]}
    (run,) = convert(saved(tmp_path, "a.pth", content), tmp_path / "x")
    assert dict(run.history["train_loss"]) == {0: 1.0, 1: 2.0}
    assert "also has train_loss, not taken in" in notes(run)


def test_a_curve_that_cannot_be_read_costs_itself_and_not_the_weights(tmp_path):
    content = {"model": weights(), "train_losses": [2.0, float("nan"), 1.0], "test_losses": "many"}
    (run,) = convert(saved(tmp_path, "a.pth", content), tmp_path / "x")
    assert run.steps == (3,)
    assert list(run.history["train_loss"].dropna()) == [2.0, 1.0]
    assert "has a finite train_loss at 2 of 3 steps" in notes(run)
    assert "also has test_losses, not taken in" in notes(run)


def test_single_numbers_beside_weights_are_of_their_step(tmp_path):
    content = {"state_dict": weights(), "step": 70, "test_acc": 0.5, "train_loss": 0.25}
    (run,) = convert(saved(tmp_path, "a.pth", content), tmp_path / "x")
    assert run.steps == (70,)
    assert dict(run.history.loc[70].dropna()) == {"train_loss": 0.25, "test_accuracy": 0.5}


def test_one_set_of_tensors_under_several_steps_is_that_of_the_last(tmp_path):
    """state_dict() without a copy: all entries are the model at the end."""
    state = weights()
    content: dict[str, Any] = {"epochs": [0, 10, 20, 30, 40], "state_dicts": [state] * 5, **CURVES}
    (run,) = convert(saved(tmp_path, "a.pth", content), tmp_path / "x")
    assert run.steps == (40,)
    assert "one set of tensors for steps 0, 10, 20, 30 and 40, saved without a copy" in notes(run)


def test_equal_weights_under_several_steps_are_told(tmp_path):
    content = {"steps": [0, 10, 20], "state_dicts": [weights(0), weights(1), weights(1)]}
    (run,) = convert(saved(tmp_path, "a.pth", content), tmp_path / "x")
    assert run.steps == (0, 10, 20)
    assert "the weights of steps 10 and 20 are identical" in notes(run)


def test_a_folder_is_taken_in_whole_or_named(tmp_path, capsys):
    folder = tmp_path / "run"
    for step in (100, 200):
        saved(folder, f"model_step{step}.pt", {"model": weights(step), "rng": [1, 2]})
    saved(folder, "model_final.pt", {"model": weights(300), "step": 300})
    saved(folder, "optimizer.pt", {"state": {}})
    (folder / "metrics.csv").write_text("step,train_loss,val_loss,lr\n0,4,5,.1\n100,3,4,.1\n300,,3,.1\n")
    (folder / "notes.txt").write_text("mine")
    (folder / "figures").mkdir()
    assert main([str(folder), "--out", str(tmp_path / "x")]) == 0
    said = capsys.readouterr().out
    assert "run also has figures/, notes.txt and optimizer.pt, not taken in" in said
    assert "metrics.csv also has lr, not taken in" in said
    assert "model_step100.pt and model_step200.pt also have rng, not taken in" in said
    from interp.store import open_run

    run = open_run(tmp_path / "x")
    assert run.steps == (100, 200, 300)
    assert dict(run.history["test_loss"]) == {0: 5.0, 100: 4.0, 300: 3.0}
    assert dict(run.history["train_loss"].dropna()) == {0: 4.0, 100: 3.0}


def test_the_last_weights_of_a_folder_stand_at_the_end_of_its_curves_or_are_asked_for(tmp_path):
    folder = tmp_path / "run"
    for step in (100, 200):
        saved(folder, f"model_step{step}.pt", weights(step))
    saved(folder, "model_final.pt", weights(9))
    (run,) = convert(folder, tmp_path / "x")
    assert run.steps == (100, 200)
    assert "model_final.pt is left out: nothing says after how many updates its weights are; give --step N" in notes(
        run
    )
    assert convert(folder, tmp_path / "y", step=250)[0].steps == (100, 200, 250)
    (folder / "log.jsonl").write_text('{"step": 0, "loss": 2}\n{"step": 400, "loss": 1}\n')
    (run,) = convert(folder, tmp_path / "z")
    assert run.steps == (100, 200, 400)
    saved(folder, "model_final.pt", weights(200))
    assert "model_final.pt has the weights of step 200 again" in notes(convert(folder, tmp_path / "w")[0])


def test_notes_of_several_runs_are_printed_too(tmp_path, capsys):
    for seed in (42, 43):
        saved(tmp_path / "seeds", f"seed{seed}.pt", {"model": weights(seed), "optimizer": {}})
    assert main([str(tmp_path / "seeds"), "--out", str(tmp_path / "x")]) == 0
    said = capsys.readouterr().out
    assert "note: seeds has the files of 2 runs: seed42 and seed43" in said
    assert "seed42: seed42.pt also has optimizer, not taken in" in said


TABLES = {
    "a.csv": "step,train_loss,test_loss,train_acc,test_acc,lr\n0,4,5,.1,.2,.01\n50,3,4,.3,.4,.01\n",
    "b.csv": "\ufeffepoch;train/loss;val/loss;train/acc;val/acc;lr\n0;4;5;.1;.2;.01\n50;3;4;.3;.4;.01\n",
    "c.csv": "Step,grok - trainLoss,grok - testLoss,grok - train_accuracy,grok - test_accuracy,lr\n0,4,5,10,20,1\n"
             "50,3,4,30,40,1\n",
    "d.json": json.dumps({"steps": [0, 50], "train_losses": [4, 3], "test_losses": [5, 4], "train_accs": [0.1, 0.3],
                          "test_accs": [0.2, 0.4], "lr": 1}),
    "e.json": json.dumps([{"step": 50, "train_loss": 3, "train_acc": 0.3, "lr": 1, "test_loss": 4, "test_acc": 0.4},
                          {"step": 0, "train_loss": 4, "train_acc": 0.1, "lr": 1, "test_loss": 5, "test_acc": 0.2}]),
    "f.jsonl": '{"step": 0, "train_loss": 4, "train_acc": 0.1, "lr": 1}\n{"step": 0, "eval_loss": 5, "eval_acc": 0.2}\n'
               '\n{"step": 50, "train_loss": 3, "train_acc": 0.3}\n{"step": 50, "eval_loss": 4, "eval_acc": 0.4}\n',
    "g.json": json.dumps({"log_history": [{"step": 0, "loss": 4, "accuracy": 0.1, "eval_loss": 5, "eval_accuracy": 0.2},
                                          {"step": 50, "loss": 3, "accuracy": 0.3, "eval_loss": 4, "eval_accuracy": 0.4}],
                          "lr": 3}),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_one_history_in_every_format_of_text(tmp_path, name):
    (tmp_path / name).write_text(TABLES[name])
    (run,) = convert(tmp_path / name, tmp_path / "x")
    assert run.history.index.tolist() == [0, 50]
    assert run.history.to_numpy().tolist() == [[4.0, 5.0, 0.1, 0.2], [3.0, 4.0, 0.3, 0.4]]
    assert f"{name} also has lr, not taken in" in notes(run)
    assert len(run) == 0


def test_what_safetensors_say_beside_their_tensors_is_read_or_named(tmp_path):
    save_file(weights(), tmp_path / "a.safetensors", metadata={"step": "900", "author": "me", "format": "pt"})
    (run,) = convert(tmp_path / "a.safetensors", tmp_path / "x")
    assert run.steps == (900,)
    assert "a.safetensors also has author, not taken in" in notes(run)
