"""interp/train/muon.py: Muon's steps for hidden matrices, AdamW's for the others."""

import pytest
import torch
from helpers import tiny_config
from hypothesis import given
from hypothesis import strategies as st

from interp.base import UserError
from interp.models import Family, MlpSpec, ToySpec, TransformerSpec
from interp.recipe import Seeds, TrainConfig
from interp.tasks import SparseFeaturesTask
from interp.train.learner import Learner
from interp.train.muon import Layout

HOW = TrainConfig(optimizer="muon", lr=1e-2, muon_lr=0.05, weight_decay=0.3, warmup_steps=0)
WIDE = TransformerSpec(n_heads=2, d_model=16, d_head=4, d_mlp=24)


def learner(train: TrainConfig = HOW, model: Family = WIDE) -> Learner:
    return Learner.make([tiny_config(train=train, model=model)], "cpu")


def copies(one):
    return {name: one.weights[name].detach()[0].clone() for name in one.learned}


@given(st.permutations(range(4)), st.integers(1, 3))
def test_a_tensor_comes_back_from_its_matrix(axes, rows):
    tensor = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5)
    layout = Layout((2, 3, 4, 5), tuple(axes[:rows]))
    matrix = layout.matrix(tensor)
    assert matrix.shape[0] == torch.tensor([(2, 3, 4, 5)[axis] for axis in axes[:rows]]).prod()
    assert torch.equal(layout.tensor(matrix), tensor)


def test_the_matrices_are_those_of_the_hidden_layers():
    hidden = WIDE.hidden_matrices(tiny_config(model=WIDE).task.shape)
    assert {name.removeprefix("blocks.0.") for name in hidden} == {
        "attn.W_Q", "attn.W_K", "attn.W_V", "attn.W_O", "mlp.W_in", "mlp.W_out",
    }  # fmt: skip
    assert hidden["blocks.0.attn.W_Q"] == (1,)  # d_model by heads and their dimensions: x @ W
    assert hidden["blocks.0.attn.W_O"] == (0, 1)


def test_a_step_has_singular_values_near_one():
    """Five Newton–Schulz iterations bring every singular value to between .7 and 1.2, about (Jordan et al. 2024)."""
    one = learner(HOW.but(weight_decay=0.0))
    before = copies(one)
    one.update(0)
    for name, rows in WIDE.hidden_matrices(one.configs[0].task.shape).items():
        layout = Layout(tuple(before[name].shape), rows)
        moved = layout.matrix(before[name] - one.weights[name].detach()[0])
        scale = 0.05 * max(1, moved.shape[0] / moved.shape[1]) ** 0.5
        values = torch.linalg.svdvals(moved) / scale
        rank = int(torch.linalg.matrix_rank(layout.matrix(one.gradient(name)[0]), rtol=1e-3))
        assert (values[:rank] < 1.3).all()
        assert values[0] > 0.6


def test_what_is_not_hidden_takes_adamws_step():
    one, plain = learner(), learner(TrainConfig(lr=1e-2, weight_decay=0.3, warmup_steps=0))
    one.update(0)
    plain.update(0)
    hidden = WIDE.hidden_matrices(one.configs[0].task.shape)
    for name in one.learned:
        assert torch.equal(one.weights[name], plain.weights[name]) != (name in hidden), name


def test_decay_is_a_share_of_the_weight_at_muons_rate():
    """The difference that decay makes to the first step is rate · decay · weight, of all that is moved."""
    without, decayed = learner(HOW.but(weight_decay=0.0)), learner()
    before = copies(decayed)
    without.update(0)
    decayed.update(0)
    hidden = WIDE.hidden_matrices(decayed.configs[0].task.shape)
    for name in decayed.learned:
        rate = 0.05 if name in hidden else 1e-2
        difference = (without.weights[name] - decayed.weights[name]).detach()[0]
        torch.testing.assert_close(difference, rate * 0.3 * before[name], rtol=1e-3, atol=1e-6)


def test_both_rates_follow_the_schedule():
    one = learner(HOW.but(warmup_steps=10, weight_decay=0.0))
    before = copies(one)
    one.update(0)  # at rate 0
    for name in one.learned:
        assert torch.equal(one.weights[name].detach()[0], before[name])


def test_runs_with_and_without_it_learn_side_by_side():
    configs = [
        tiny_config(train=how, model=WIDE, seeds=Seeds(model=seed))
        for seed, how in enumerate([HOW, HOW.but(optimizer="adamw", muon_lr=0.02), HOW.but(muon_lr=0.01)])
    ]
    together = Learner.make(configs, "cpu")
    alone = [Learner.make([config], "cpu") for config in configs]
    for step in range(3):
        for one in (together, *alone):
            one.update(step)
    for run, one in enumerate(alone):
        for name, expected in one.parameters(0).items():  # Muon rounds to bfloat16, where a last digit may tip over
            torch.testing.assert_close(together.parameters(run)[name], expected, rtol=1e-2, atol=2e-3)


def test_a_model_of_hidden_matrices_alone_is_trained():
    model = MlpSpec(width=12, n_hidden=2, act_fn="relu", normalization="LNPre", frozen_readout=10.0)
    one = learner(model=model)
    assert set(one.learned) == {"layers.0.W", "layers.1.W"}
    before = copies(one)
    one.update(0)
    assert not any(torch.equal(one.weights[name].detach()[0], before[name]) for name in one.learned)


def test_a_model_without_hidden_matrices_is_refused():
    with pytest.raises(UserError, match="no hidden weight matrix"):
        tiny_config(train=HOW, model=ToySpec(d_hidden=2), task=SparseFeaturesTask(n_features=5))
