"""Files in the layout of Nanda et al., made from our own runs and read back."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from helpers import origin
from store.foreign.conftest import turned

from interp.base import DoesNotApply, UserError
from interp.cli.probe import banner
from interp.run import open_run
from interp.store import CheckpointError
from interp.store.foreign.contents import spacing
from interp.store.foreign.convert import convert
from interp.store.foreign.nanda import their_split
from interp.store.verify import verify

CONFIG = {"lr": 0.01, "weight_decay": 0.5, "p": 7, "d_model": 32, "fn_name": "add", "frac_train": 0.9, "seed": 3}


def whole(run, **more):
    """The dictionary that their trainer saves at the end, of one of our runs."""
    losses = [4.0 / (epoch + 1) for epoch in range(run.final.step)]
    optimizer = {
        "state": {0: {"step": run.final.step, "exp_avg": torch.zeros(3)}},
        "param_groups": [{"lr": 0.01, "betas": (0.9, 0.98), "eps": 1e-8, "weight_decay": 0.5, "initial_lr": 0.01}],
    }
    return {
        "model": turned(run.final.weights),
        "train_losses": losses,
        "test_losses": [2 * loss for loss in losses],
        "optimizer": optimizer,
        "config": CONFIG,
    } | more


def test_a_converted_run_is_an_ordinary_one_with_the_same_weights(learned, tmp_path):
    torch.save(whole(learned), tmp_path / "final.pth")
    (run,) = convert(tmp_path / "final.pth", tmp_path / "x")
    assert [verdict.fault for verdict in verify(run.path) if verdict.fault] == []
    assert run.steps == (learned.final.step,)
    for name, tensor in learned.final.weights.items():
        assert torch.equal(run.final.weights[name], tensor), name
    assert run.task == learned.task
    assert run.config.train.lr == 0.01
    assert run.config.train.optimizer == "adamw"


def test_the_loss_of_an_epoch_is_that_of_the_weights_before_its_update(learned, tmp_path):
    torch.save(whole(learned), tmp_path / "final.pth")
    (run,) = convert(tmp_path / "final.pth", tmp_path / "x")
    assert list(run.history.index) == list(range(learned.final.step))
    assert run.history.loc[9, "train_loss"] == 0.4
    assert run.history.loc[9, "test_loss"] == 0.8
    assert run.history["train_accuracy"].isna().all()


@pytest.mark.parametrize("every", [2, 10, 7])
def test_sparser_test_losses_stand_at_their_epochs(learned, tmp_path, every):
    losses = [4.0 / (epoch + 1) for epoch in range(learned.final.step)]
    torch.save(whole(learned, test_losses=losses[::every]), tmp_path / "a.pth")
    (run,) = convert(tmp_path / "a.pth", tmp_path / "x")
    known = run.history["test_loss"].dropna()
    assert list(known.index) == list(range(0, learned.final.step, every))
    assert list(known) == losses[::every]


def test_test_losses_whose_epochs_the_lengths_do_not_tell_are_left_out(learned, tmp_path):
    """1,000 train losses and 23 test losses: every 44th, 45th fit alike."""
    torch.save(whole(learned, test_losses=[1.0] * 23), tmp_path / "a.pth")
    (run,) = convert(tmp_path / "a.pth", tmp_path / "x")
    assert run.history["test_loss"].isna().all()
    assert any("the test losses are left out" in note for note in origin(run).notes)


@pytest.mark.parametrize(
    ("n_train", "n_test", "every"),
    [(1000, 1000, 1), (107_791, 10_780, 10), (24_100, 25, 1000), (1000, 23, None), (1000, 999, None), (5, 7, None)],
)
def test_the_spacing_is_the_only_number_that_fits_or_the_only_round_one(n_train, n_test, every):
    assert spacing(n_train, n_test) == every


def test_a_share_that_the_list_of_trained_prompts_contradicts_is_refused(learned, tmp_path):
    torch.save(whole(learned), tmp_path / "a.pth")
    with pytest.raises(
        UserError, match=r"tells 44 of 49 prompts that were trained on, which is not task\.train_fraction 0\.5"
    ):
        convert(tmp_path / "a.pth", tmp_path / "x", task={"train_fraction": 0.5})


def test_an_operation_that_the_weights_do_not_compute_is_taken_and_told(learned, tmp_path):
    torch.save(whole(learned, config={}), tmp_path / "a.pth")
    (run,) = convert(tmp_path / "a.pth", tmp_path / "x", task={"operation": "subtract"}, model={"act_fn": "relu"})
    assert any("of x − y mod 7 the last weights answer" in note for note in origin(run).notes)


def test_fractions_that_print_alike_get_a_directory_each(tmp_path):
    torch.save([[0.3, 0.3], [[3.0], [3.0], [2.0], [2.0]]], tmp_path / "sweep.pth")
    runs = convert(tmp_path / "sweep.pth", tmp_path / "x")
    assert [run.path.name for run in runs] == ["train_fraction=0.3", "train_fraction=0.3-2"]
    assert [run.history.loc[0, "train_loss"] for run in runs] == [3.0, 2.0]


def test_a_contradiction_between_config_and_optimizer_is_told_and_the_optimizer_believed(learned, tmp_path):
    torch.save(whole(learned, config=CONFIG | {"weight_decay": 1}), tmp_path / "a.pth")
    (run,) = convert(tmp_path / "a.pth", tmp_path / "x")
    assert run.config.train.weight_decay == 0.5
    assert any("config says weight_decay 1, its optimizer 0.5" in note for note in origin(run).notes)
    assert "config says weight_decay 1" in repr(run)


def test_the_training_set_is_the_one_that_their_code_draws(learned, tmp_path):
    import random

    pairs = [(a, b) for a in range(7) for b in range(7)]
    random.Random(3).shuffle(pairs)
    torch.save(whole(learned), tmp_path / "a.pth")
    (run,) = convert(tmp_path / "a.pth", tmp_path / "x")
    assert {tuple(prompt[:2]) for prompt in run.split.train.inputs} == set(pairs[: int(0.9 * 49)])
    assert len(run.split.train) + len(run.split.test) == 49
    assert list(run.split.train_index) == list(their_split(7, 0.9, 3))


def test_a_folder_of_epochs_is_in_order_and_after_their_updates(learned, tmp_path):
    folder, data = tmp_path / "grok_1", [(a, b, 7) for a in range(7) for b in range(5)]
    folder.mkdir()
    torch.save({"model": turned(learned.first.weights), "train_data": data, "test_data": []}, folder / "init.pth")
    for epoch in (0, 200, 400):
        saved = {"train_loss": 1.0 / (epoch + 1), "test_loss": 2.0, "epoch": epoch}
        torch.save({"model": turned(learned.at(epoch).weights), **saved}, folder / f"{epoch}.pth")
    (run,) = convert(folder, tmp_path / "x")
    assert run.steps == (0, 1, 201, 401)  # each is saved after the update of its epoch
    assert torch.equal(run.at(201).weights["embed.W_E"], learned.at(200).weights["embed.W_E"])
    assert list(run.history.index) == [0, 200, 400]
    assert run.history.loc[200, "train_loss"] == 1 / 201
    assert sorted(map(tuple, run.split.train.inputs.tolist())) == sorted(data)
    torch.save(whole(learned), folder / "final.pth")
    (run,) = convert(folder, tmp_path / "y")
    assert run.steps == (0, 1, 201, 401, 1000)
    assert len(run.history) == 1000


def test_a_folder_of_epochs_alone_is_told_by_what_is_inside(learned, tmp_path):
    folder = tmp_path / "epochs"
    folder.mkdir()
    for epoch in (0, 100):
        saved = {"model": turned(learned.first.weights), "train_loss": 1.0, "test_loss": 1.0, "epoch": epoch}
        torch.save(saved, folder / f"{epoch}.pth")
    assert convert(folder, tmp_path / "x")[0].steps == (1, 101)


def test_curves_without_weights_are_a_run_whose_curves_can_be_measured(tmp_path):
    from interp import analyze

    torch.save({"train_losses": [3.0, 2.0, 0.5], "test_losses": [3.0, 4.0, 5.0]}, tmp_path / "a.pth")
    (run,) = convert(tmp_path / "a.pth", tmp_path / "x")
    assert len(run) == 0
    assert analyze.measure(run, "curves", loss_threshold=1)["train_loss"].values.tolist() == [3.0, 2.0, 0.5]
    for name in ("fourier", "norms", "superposition", "tsne"):
        with pytest.raises(DoesNotApply):
            analyze.measure(run, name)
    with pytest.raises(DoesNotApply, match="learning curves and no weights"):
        _ = run.final
    assert "not known" in run.summary()["task"]
    assert run.without_broken()[1] == []
    assert "learning curves without weights" in banner(open_run(run.path))


def test_a_sweep_over_fractions_is_a_run_each(tmp_path):
    torch.save([[0.5, 0.3], [[3.0, 2.0], [3.0, 3.0], [3.0, 2.0, 1.0], [3.0, 3.1, 3.2]]], tmp_path / "sweep.pth")
    runs = convert(tmp_path / "sweep.pth", tmp_path / "x", task={"p": 113, "operation": "add"})
    assert [run.path.name for run in runs] == ["train_fraction=0.5", "train_fraction=0.3"]
    assert [run.config.model_dump()["task"]["train_fraction"] for run in runs] == [0.5, 0.3]
    assert [len(run.history) for run in runs] == [2, 3]
    assert "model" in origin(runs[0]).unknown


def test_what_no_file_tells_stays_unknown(learned, tmp_path):
    torch.save({"model": turned(learned.first.weights), "train_losses": [1.0]}, tmp_path / "a.pth")
    (run,) = convert(tmp_path / "a.pth", tmp_path / "x")
    assert {"task", "model.act_fn", "train.lr", "seeds"} <= set(origin(run).unknown)
    with pytest.raises(DoesNotApply, match=r"do not tell its act_fn; convert it with --model\.act-fn"):
        _ = run.final.model
    with pytest.raises(DoesNotApply):
        _ = run.split
    assert run.final.weights  # which are known
    (run,) = convert(
        tmp_path / "a.pth", tmp_path / "y", model={"act_fn": "relu"}, task={"operation": "add", "train_fraction": 0.9}
    )
    model: Any = run.final.model
    assert model.cfg.act_fn == "relu"
    assert "model.act_fn" not in origin(run).unknown
    with pytest.raises(DoesNotApply, match="which prompts were trained on"):
        _ = run.split


def test_what_is_given_goes_before_what_the_files_say_and_is_told(learned, tmp_path):
    torch.save(whole(learned), tmp_path / "a.pth")
    (run,) = convert(tmp_path / "a.pth", tmp_path / "x", train={"lr": 0.5})
    assert run.config.train.lr == 0.5
    assert "train.lr 0.5 is given, where the files say 0.01" in origin(run).notes
    with pytest.raises(UserError, match=r"is not task\.p 11 with any prompt"):
        convert(tmp_path / "a.pth", tmp_path / "y", task={"p": 11})


def test_weights_that_are_not_finite_are_left_out_and_told(learned, tmp_path):
    folder = tmp_path / "epochs"
    folder.mkdir()
    for epoch in (0, 100):
        weights = turned(learned.first.weights)
        weights["embed.W_E"][0, 0] = torch.nan if epoch else 0.0
        torch.save({"model": weights, "epoch": epoch, "train_loss": 1.0, "test_loss": 1.0}, folder / f"{epoch}.pth")
    (run,) = convert(folder, tmp_path / "x")
    assert run.steps == (1,)
    assert any("step 101 is left out" in note for note in origin(run).notes)


def test_training_does_not_go_on_with_a_converted_run(learned, tmp_path):
    from interp.train.loop import train

    torch.save(whole(learned), tmp_path / "a.pth")
    (run,) = convert(tmp_path / "a.pth", tmp_path / "x")
    with pytest.raises(UserError, match="was converted from"):
        train(run.config, run.path, resume=True)


def test_nothing_is_written_over_without_being_asked(learned, tmp_path):
    torch.save(whole(learned), tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "x")
    with pytest.raises(UserError, match="holds a run already"):
        convert(tmp_path / "a.pth", tmp_path / "x")
    convert(tmp_path / "a.pth", tmp_path / "x", overwrite=True)
    with pytest.raises(UserError, match="is no run"):
        convert(tmp_path / "a.pth", tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": {"embed.W_E": torch.zeros(3)}}, "is no transformer that interp describes"),
        ({"model": {"embed.W_E": 3}}, "a named tensor is expected"),
        ({"model": {}}, "no state dict"),
        ({"config": CONFIG | {"p": 10**9}}, "a whole number from 0 to 1,024 is expected"),
    ],
)
def test_nonsense_in_a_file_is_a_sentence_that_names_it(learned, tmp_path, change, says):
    content = whole(learned) | change
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(UserError, match=says) as error:
        convert(tmp_path / "a.pth", tmp_path / "x")
    assert "a.pth" in str(error.value)
    assert not (tmp_path / "x").exists()


def test_shapes_that_do_not_belong_together_are_named(learned, tmp_path):
    weights = turned(learned.final.weights)
    weights["blocks.0.mlp.b_in"] = torch.zeros(5)
    torch.save(whole(learned, model=weights), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"'blocks\.0\.mlp\.b_in' has shape \(5,\), and \(64,\) is expected"):
        convert(tmp_path / "a.pth", tmp_path / "x")


def test_the_record_names_every_file_with_its_digest(learned, tmp_path):
    import hashlib

    torch.save(whole(learned), tmp_path / "a.pth")
    (run,) = convert(tmp_path / "a.pth", tmp_path / "x")
    assert origin(run).files == {"a.pth": hashlib.sha256((tmp_path / "a.pth").read_bytes()).hexdigest()}
    record = json.loads((run.path / "run.json").read_text())
    assert str(tmp_path) not in json.dumps(record["origin"])
    assert np.isfinite(run.history["train_loss"]).all()
