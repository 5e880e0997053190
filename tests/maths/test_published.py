"""What other people published, measured here: the weights of Nanda et al. (2023) give their figures."""

import os
from pathlib import Path

import pytest
import torch

from interp.maths.fourier import above_largest_gap, above_quarter_of_largest, component_norms, frequency_norms, gini
from interp.maths.losses import accuracy, cross_entropy
from interp.models.shared import SharedForward
from interp.models.transformer import TransformerSpec
from interp.tasks.modular import ModularTask

VARIABLE = "INTERP_REFERENCE_DIR"
pytestmark = pytest.mark.skipif(
    not os.environ.get(VARIABLE),
    reason=f"needs weights that other people published: set {VARIABLE} to the folder that holds progress-measures/",
)
TASK = ModularTask(p=113, operation="add")


@pytest.fixture(scope="module")
def weights():
    """The published weights in HookedTransformer's layout, float64, the biases that they lack at 0.

    Their 114th answer, "=", is never right and is left out.
    """
    path = Path(os.environ[VARIABLE]) / "progress-measures" / "wd_10-1_mod_addition_loss_curve.pth"
    published = {
        name: tensor.double()
        for name, tensor in torch.load(path, weights_only=True, map_location="cpu")["model"].items()
    }
    turned = {
        "embed.W_E": published["embed.W_E"].T,
        "pos_embed.W_pos": published["pos_embed.W_pos"],
        **{f"blocks.0.attn.W_{kind}": published[f"blocks.0.attn.W_{kind}"].mT for kind in "QKV"},
        "blocks.0.attn.W_O": published["blocks.0.attn.W_O"].T.unflatten(0, (4, 32)),
        "blocks.0.mlp.W_in": published["blocks.0.mlp.W_in"].T,
        "blocks.0.mlp.b_in": published["blocks.0.mlp.b_in"],
        "blocks.0.mlp.W_out": published["blocks.0.mlp.W_out"].T,
        "blocks.0.mlp.b_out": published["blocks.0.mlp.b_out"],
        "unembed.W_U": published["unembed.W_U"][:, : TASK.p],
    }
    shapes = TransformerSpec().tensor_shapes(TASK.shape)
    return {name: turned.get(name, torch.zeros(size, dtype=torch.float64)) for name, size in shapes.items()}


@pytest.fixture(scope="module")
def W_E(weights):
    return weights["embed.W_E"][: TASK.p]


@pytest.fixture(scope="module")
def W_L(weights):
    """What each neuron adds to each answer, answers as rows."""
    return (weights["blocks.0.mlp.W_out"] @ weights["unembed.W_U"]).T


def named(key):
    return {int(k) + 1 for k in key.nonzero()}


def test_the_inequality_of_the_fourier_components_is_the_published_one(W_E, W_L):
    assert round(float(gini(component_norms(W_E))), 3) == 0.535
    assert round(float(gini(component_norms(W_L))), 3) == 0.756


def test_ten_frequencies_exceed_a_quarter_of_the_largest(W_E):
    assert named(above_quarter_of_largest(frequency_norms(W_E))) == {3, 6, 12, 23, 31, 37, 39, 41, 46, 54}


def test_five_frequencies_stand_above_the_largest_gap(W_E):
    assert named(above_largest_gap(frequency_norms(W_E))) == {6, 23, 37, 39, 41}


def test_the_published_weights_have_every_tensor_that_the_model_has(weights):
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == TransformerSpec().tensor_shapes(
        TASK.shape
    )


def test_the_published_network_answers_every_pair_with_the_published_loss(weights):
    table = TASK.table()
    tokens, targets = torch.from_numpy(table.inputs), torch.from_numpy(table.targets)
    logits = SharedForward(TransformerSpec(), tokens)(weights)
    assert accuracy(logits, targets) == 1
    # Two digits: over all pairs, between the test loss 5.0e-7 and the train loss 9e-9 of the run's last epochs.
    assert cross_entropy(logits, targets) == pytest.approx(3.5e-7, rel=0.02)
