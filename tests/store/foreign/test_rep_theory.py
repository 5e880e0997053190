"""Folders in the layout of Chughtai et al. (2023), made from our own runs and read back."""

import json

import numpy as np
import pytest
import torch
from helpers import origin, tiny_config

from interp.base import UserError
from interp.models import MlpSpec, TransformerSpec
from interp.recipe import TrainConfig
from interp.store import CheckpointError, open_run
from interp.store.foreign.convert import convert
from interp.store.foreign.numbering import Numbering, numberings, renumbered
from interp.store.foreign.rep_theory import their_split
from interp.tasks import GroupTask
from interp.train.loop import train

LEARN = TrainConfig(
    steps=400, lr=1e-2, weight_decay=0.0, warmup_steps=0, checkpoint_every=400, checkpoints_per_decade=1
)


def numbered(group, about):
    """The numbering of that name."""
    return next(each for each in numberings(group) if each.about == about)


def inverse(numbering):
    """The numbering that undoes another one."""
    return Numbering("", np.argsort(numbering.elements))


THEIRS = "in sympy's order (coset), x acting first"


@pytest.fixture(scope="module")
def learned_mlp(tmp_path_factory):
    """x · y on S4, learned by an MLP of their kind."""
    task = GroupTask(group="S4", prompt="ab", operands="separate", train_fraction=0.97)
    model = MlpSpec(inputs="embedded", d_model=32, width=128, act_fn="relu")
    return train(tiny_config(task=task, model=model, train=LEARN), tmp_path_factory.mktemp("mlp") / "ours")


@pytest.fixture(scope="module")
def learned_transformer(tmp_path_factory):
    """x · y on S3, learned by a transformer of their kind."""
    task, model = GroupTask(group="S3", train_fraction=0.97), TransformerSpec(n_heads=2, d_model=16, d_head=8, d_mlp=24)
    return train(tiny_config(task=task, model=model, train=LEARN), tmp_path_factory.mktemp("lens") / "ours")


def config(run, **more):
    fields = {"lr": 0.01, "weight_decay": 1, "betas": [0.9, 0.98], "layers": {"embed_dim": 32, "hidden_dim": 128}}
    named = {"group": "SymmetricGroup", "group_parameter": int(run.task.group[1:]), "frac_train": 0.4, "seed": 3}
    kind = "OneLayerMLP" if run.config.model.kind == "mlp" else "Transformer"
    return {**fields, **named, "model": kind, "num_epochs": 400} | more


def saved(run, numbering=THEIRS):
    """The final weights of one of our runs, as their code saves them."""
    theirs = inverse(numbered(run.task.group, numbering))
    weights = renumbered(run.final.weights, run.config.model, run.task, theirs)
    if run.config.model.kind == "transformer":
        return {**weights, "x_embed": weights["embed.W_E"].clone(), "y_embed": weights["embed.W_E"].clone()}
    n = run.task.n_values
    W_E = weights["embed.W_E"]
    return {"W_x": W_E[:n], "W_y": W_E[n:], "W": weights["layers.0.W"].flatten(0, 1), "W_U": weights["unembed.W_U"]}


def folder(path, run, numbering=THEIRS, **more):
    path.mkdir(parents=True)
    (path / "cfg.json").write_text(json.dumps(config(run, **more)))
    torch.save({name: tensor.clone() for name, tensor in saved(run, numbering).items()}, path / "model.pt")
    return path


def test_an_mlp_has_the_weights_that_it_had_whatever_numbers_the_elements_have_there(learned_mlp, tmp_path):
    for count, numbering in enumerate(numberings("S4")):
        source = folder(tmp_path / f"S4_MLP_seed{count}", learned_mlp, numbering.about)
        (run,) = convert(source, tmp_path / f"x{count}")
        assert run.task == learned_mlp.task.but(train_fraction=0.4)
        assert run.known_model == learned_mlp.config.model
        for name, tensor in learned_mlp.final.weights.items():
            assert torch.equal(run.final.weights[name], tensor), (numbering.about, name)


def test_the_training_set_is_in_interp_s_numbering_too(learned_mlp, tmp_path):
    """Of every prompt that they train on: the composition of its two elements is that of the same two elements here."""
    (run,) = convert(folder(tmp_path / "S4_MLP_seed3", learned_mlp), tmp_path / "x")
    way, rows = numbered("S4", THEIRS), their_split(24, 0.4, 3)
    expected = {(way.elements[row // 24], way.elements[row % 24]) for row in rows}
    assert {(a, b - 24) for a, b in run.split.train.inputs} == expected


def test_a_transformer_gives_the_logits_that_it_gave_and_its_further_tensors_are_named(learned_transformer, tmp_path):
    (run,) = convert(folder(tmp_path / "S3_T_seed3", learned_transformer), tmp_path / "x")
    tokens = torch.from_numpy(run.task.table().inputs)
    assert isinstance(run.task, GroupTask) and run.task.group == "S3"
    logits = run.final.model(tokens)[:, -1]
    assert (logits.argmax(dim=1) == torch.from_numpy(run.task.table().targets)).float().mean() > 0.9
    theirs = learned_transformer.final.model(tokens)[:, -1]
    torch.testing.assert_close(logits.flatten().sort().values, theirs.flatten().sort().values)
    assert "left out: x_embed, a copy of embed.W_E; y_embed, a copy of embed.W_E" in origin(run).notes


@pytest.mark.parametrize("name", ["model.pt", "cfg.json"])
def test_a_file_of_a_folder_stands_for_it(learned_mlp, tmp_path, name):
    (run,) = convert(folder(tmp_path / "S4_MLP_seed3", learned_mlp) / name, tmp_path / "x")
    assert run.name == "S4_MLP_seed3"
    assert origin(run).files.keys() == {"cfg.json", "model.pt"}


def test_a_folder_of_folders_is_a_run_each(learned_mlp, learned_transformer, tmp_path):
    folder(tmp_path / "all/S3_T_seed1", learned_transformer, seed=1)
    folder(tmp_path / "all/S4_MLP_seed2", learned_mlp, seed=2)
    assert [run.name for run in convert(tmp_path / "all", tmp_path / "x")] == ["S3_T_seed1", "S4_MLP_seed2"]


def test_weights_alone_are_read_with_the_group_that_is_given(learned_mlp, tmp_path):
    torch.save({name: tensor.clone() for name, tensor in saved(learned_mlp).items()}, tmp_path / "weights.pt")
    (run,) = convert(tmp_path / "weights.pt", tmp_path / "x", task={"group": "S4"})
    assert isinstance(run.task, GroupTask) and (run.task.group, run.task.operation) == ("S4", "compose")
    assert torch.equal(run.final.weights["unembed.W_U"], learned_mlp.final.weights["unembed.W_U"])
    (run,) = convert(tmp_path / "weights.pt", tmp_path / "y")
    assert run.task.kind == "unknown"
    with pytest.raises(
        UserError, match=r"48 tokens, 24 answers and 2 positions, which is not task\.group D5 with any prompt"
    ):
        convert(tmp_path / "weights.pt", tmp_path / "z", task={"group": "D5", "operation": "compose"})


def test_checkpoints_and_measures_stand_at_the_number_of_updates_that_made_them(learned_mlp, tmp_path):
    """epoch_e.pt is saved after the update of epoch e, and a row of metrics.csv is measured of it."""
    source = folder(tmp_path / "S4_MLP_seed3", learned_mlp)
    (source / "checkpoints").mkdir()
    for epoch in (0, 9):
        torch.save(
            {name: tensor.clone() for name, tensor in saved(learned_mlp).items()},
            source / f"checkpoints/epoch_{epoch}.pt",
        )
    (source / "metrics.csv").write_text(
        ",train_loss,test_loss,train_acc,test_acc,all_loss,epoch\n7,3.5,3.6,0.1,,9,0\n2,0.5,nan,0.9,0.2,9,9\n"
    )
    (source / "summary_metrics.json").write_text(
        json.dumps({"train_loss": 0.25, "test_acc": 0.5, "epoch": 400.0, "more": 1})
    )
    (run,) = convert(source, tmp_path / "x")
    assert run.steps == (1, 10, 400)
    history = run.history
    assert list(history.index) == [1, 10, 400]
    assert history.loc[1].fillna(-1).tolist() == [3.5, 3.6, 0.1, -1]
    assert history.loc[10].fillna(-1).tolist() == [0.5, -1, 0.9, 0.2]
    assert history.loc[400].fillna(-1).tolist() == [0.25, -1, -1, 0.5]
    assert any("2 measures of theirs" in note and "all_loss" in note for note in origin(run).notes)


def test_their_training_set_is_the_first_share_of_a_permutation_and_for_seed_0_of_the_table():
    torch.manual_seed(5)
    assert set(their_split(6, 0.5, 5)) == set(torch.randperm(36)[:18].tolist())
    assert their_split(6, 0.5, 0).tolist() == list(range(18))


def test_weights_that_have_learned_nothing_are_taken_as_numbered_here_and_that_is_told(tmp_path, learned_mlp):
    source = folder(tmp_path / "S4_MLP_seed3", learned_mlp)
    generator = torch.Generator().manual_seed(0)
    torch.save(
        {name: torch.randn(tensor.shape, generator=generator) for name, tensor in saved(learned_mlp).items()},
        source / "model.pt",
    )
    (run,) = convert(source, tmp_path / "x")
    assert isinstance(run.task, GroupTask) and run.task.group == "S4"
    assert any("in any numbering of the elements that interp knows" in note for note in origin(run).notes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": "BilinearNet"}, "BilinearNet"),
        ({"group_parameter": -1}, "a whole number from 0"),
        ({"num_epochs": "many"}, "a whole number from 0"),
        ({"seed": 1.5}, "a whole number from 0"),
        ({"group_parameter": 5}, "is not task.group S5 with any prompt"),
        ({"group_parameter": 9}, "at most 1,024 elements"),
    ],
)
def test_a_configuration_that_cannot_be_is_a_sentence(learned_mlp, tmp_path, change, says):
    source = folder(tmp_path / "S4_MLP_seed3", learned_mlp, **change)
    with pytest.raises(UserError, match=says):
        convert(source, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_weights_of_shapes_that_do_not_fit_each_other_are_named(learned_mlp, tmp_path):
    source = folder(tmp_path / "S4_MLP_seed3", learned_mlp)
    torch.save(
        {**{name: tensor.clone() for name, tensor in saved(learned_mlp).items()}, "W": torch.zeros(63, 128)},
        source / "model.pt",
    )
    with pytest.raises(CheckpointError, match=r"model\.pt has W_x \(24, 32\), .* W \(63, 128\)"):
        convert(source, tmp_path / "x")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epoch,train_loss\nmany,3\n", "'many' as its epoch"),
        ("epoch,train_loss\n1,high\n", "'high' as its train_loss"),
        ("epoch,train_loss\n1,1e999\n", "'1e999' as its train_loss"),
        ("steps,train_loss\n1,3\n", "no column epoch"),
        ("", "has no rows"),
    ],
)
def test_measures_that_are_none_are_a_sentence(learned_mlp, tmp_path, text, says):
    source = folder(tmp_path / "S4_MLP_seed3", learned_mlp)
    (source / "metrics.csv").write_text(text)
    with pytest.raises(CheckpointError, match=says):
        convert(source, tmp_path / "x")


def test_the_converted_run_is_an_ordinary_one(learned_mlp, tmp_path):
    from interp import analyze
    from interp.store.verify import verify

    (run,) = convert(folder(tmp_path / "S4_MLP_seed3", learned_mlp), tmp_path / "x")
    assert [verdict.fault for verdict in verify(run.path) if verdict.fault] == []
    ours = analyze.measure(open_run(learned_mlp.path).select(last=1), "groups")
    theirs = analyze.measure(run, "groups")
    assert np.allclose(ours["share"].values, theirs["share"].values, atol=1e-12)
