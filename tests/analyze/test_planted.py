"""Every measure finds what was planted, through the whole way: weights written as a run, read back, measured."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp import analyze
from interp.config import TrainConfig
from interp.maths.geometry import aligned
from interp.models import TransformerSpec
from interp.store import RunWriter, open_run
from interp.tasks import ModularTask

P, D = 13, 16


@pytest.fixture
def plant(tmp_path):
    """Write a run whose checkpoint at step i is the initial weights, changed by the i-th function."""

    def plant(*changes, task=ModularTask(p=P, train_fraction=0.5), **model):  # noqa: B008  frozen
        spec = TransformerSpec(n_heads=2, d_model=D, d_head=8, d_mlp=24, **model)
        config = tiny_config(task=task, model=spec, train=TrainConfig(steps=len(changes)))
        with RunWriter(tmp_path / "planted", config) as writer:
            for step, change in enumerate(changes):
                weights = spec.initial_weights(task.shape, seed=step)
                change(weights)
                writer.checkpoint(step, weights)
        return open_run(tmp_path / "planted")

    return plant


def circle(k: int, order: np.ndarray, d: int = D) -> torch.Tensor:
    """Row order[j] at angle 2πkj/len(order), in the first two of d dimensions; other rows 0."""
    angle = 2 * math.pi * k * torch.arange(len(order)) / len(order)
    rows = torch.zeros(int(order.max()) + 1, d)
    rows[order, 0], rows[order, 1] = angle.cos(), angle.sin()
    return rows


def put_circle(k, task=ModularTask(p=P)):  # noqa: B008  frozen
    def change(weights):
        rows = circle(k, task.residues())
        weights["embed.W_E"][: len(rows)] = rows
        weights["unembed.W_U"][:, : len(rows)] = rows.T
        # what neurons write lies in the plane of the circle too
        weights["blocks.0.mlp.W_out"][:, 2:] = 0

    return change


def nothing(weights):
    pass


def test_fourier_finds_a_planted_frequency_at_its_step(plant):
    found = analyze.measure(plant(nothing, put_circle(5)), "fourier")
    planted = found.sel(step=1)
    for matrix in ("W_E", "W_L"):
        assert planted["power"].sel(matrix=matrix, freq=5).item() == pytest.approx(1)
        assert planted["ipr"].sel(matrix=matrix).item() == pytest.approx(1)
        for rule in found["rule"].values:
            key = planted["key"].sel(matrix=matrix, rule=rule)
            assert list(found["freq"].values[key.values]) == [5]
    assert (found["gini"].sel(step=1) > found["gini"].sel(step=0) + 0.5).all()


def test_fourier_reads_products_by_their_logarithm(plant):
    """A wave on the exponents of a generator is no wave on the residues themselves."""
    task = ModularTask(p=P, operation="multiply", train_fraction=0.5)
    found = analyze.measure(plant(put_circle(2, task), task=task), "fourier")
    assert found.sizes["freq"] == (P - 1) // 2
    assert found["power"].sel(step=0, matrix="W_E", freq=2).item() == pytest.approx(1)


def test_fourier_takes_no_notice_of_the_equals_token(plant):
    def loud_equals(weights):
        put_circle(3)(weights)
        weights["embed.W_E"][P] = 100.0

    found = analyze.measure(plant(put_circle(3), loud_equals), "fourier")
    np.testing.assert_array_equal(found["power"].sel(step=0, matrix="W_E"), found["power"].sel(step=1, matrix="W_E"))


def test_a_circle_is_two_features_in_two_dimensions_and_all_tokens_in_two(plant):
    found = analyze.measure(plant(put_circle(4)), "superposition").sel(step=0)
    waves, tokens = found.sel(features="W_E waves"), found.sel(features="W_E tokens")
    assert waves["ratio"].item() == pytest.approx(1)
    assert waves["features_represented"].item() == pytest.approx(2)
    assert waves["dimensions_used"].item() == pytest.approx(2)
    assert tokens["ratio"].item() == pytest.approx(P / 2)  # P tokens of equal length on a circle
    assert tokens["total_dimensionality"].item() == pytest.approx(2)  # ΣD is the rank
    assert tokens["mean_dimensionality"].item() == pytest.approx(2 / P)


def test_the_superposition_of_neurons_is_that_of_their_activations(plant):
    """Against HookedTransformer's cache, averaged by answer in a loop."""
    run = plant(nothing)
    post = run.at(0).cache(["blocks.0.mlp.hook_post"])["blocks.0.mlp.hook_post"][:, -1]
    targets = run.task.table().targets
    means = torch.stack([post[targets == answer].mean(dim=0) for answer in range(P)]).double()
    angle = 2 * math.pi * torch.arange(P).double()[None] * torch.arange(1, P // 2 + 1)[:, None] / P
    V = math.sqrt(2 / P) * torch.cat([angle.cos(), angle.sin()]) @ means
    shares = (V**2).sum(1) / (V**2).sum()
    eigenvalues = torch.linalg.eigvalsh(V @ V.T).clamp(min=0) / (V**2).sum()
    slow = (torch.special.entr(shares).sum() - torch.special.entr(eigenvalues).sum()).exp().item()
    found = analyze.measure(run, "superposition")
    assert found["ratio"].sel(step=0, features="neuron waves").item() == pytest.approx(slow, rel=1e-4)


def test_random_weights_lie_at_the_random_ratio(plant):
    """The control is what untrained embeddings give; 13 × 16 matrices scatter by a few per cent."""
    found = analyze.measure(plant(nothing), "superposition").sel(step=0, features=["W_E waves", "W_E tokens"])
    np.testing.assert_allclose(found["ratio"], found["ratio_of_random"], rtol=0.15)


def test_norms_of_planted_tensors(plant):
    def change(weights):
        for tensor in weights.values():
            tensor.zero_()
        weights["embed.W_E"][0, 0] = 3.0
        weights["unembed.W_U"][1, 1] = -4.0
        weights["blocks.0.mlp.b_in"][:] = 1.0
        weights["blocks.0.attn.W_V"][1, :8, :8] = torch.eye(8)

    found = analyze.measure(plant(nothing, change), "norms").sel(step=1)
    assert found["l2"].sel(tensor="embed.W_E").item() == 3
    assert found["linf"].sel(tensor="unembed.W_U").item() == 4
    assert found["group_l2"].sel(group="mlp", kind="biases").item() == pytest.approx(math.sqrt(24))
    assert found["group_l2"].sel(group="attn OV", kind="weights").item() == pytest.approx(math.sqrt(8))
    assert found["total_l2"].sel(kind="weights").item() == pytest.approx(math.sqrt(9 + 16 + 8))
    assert found["total_sum_of_squares"].item() == pytest.approx(9 + 16 + 8 + 24)
    assert found["stable_rank"].sel(weight_matrix="embed.W_E").item() == pytest.approx(1)
    assert found["stable_rank"].sel(weight_matrix="blocks.0.attn.W_V").item() == pytest.approx(8)


def test_a_tensor_counts_once_in_norms(plant):
    run = plant(nothing, normalization="LN", n_layers=2)
    found = analyze.measure(run, "norms").sel(step=0)
    slow = sum(tensor.double().square().sum().item() for tensor in run.at(0).weights.values())
    assert found["total_sum_of_squares"].item() == pytest.approx(slow)
    assert (found["group_l2"] ** 2).sum().item() == pytest.approx(slow)


def test_tsne_keeps_neighbours_of_a_planted_ring(plant):
    found = analyze.measure(plant(nothing, put_circle(1), put_circle(1)), "tsne", perplexity=4.0)
    assert found["frequency"].sel(matrix="W_E").item() == 1
    radius = np.hypot(*found["circle"].sel(step=1, matrix="W_E").values.T)
    np.testing.assert_allclose(radius, 1, atol=1e-6)
    np.testing.assert_allclose(np.hypot(*found["pca"].sel(step=1, matrix="W_E").values.T), 1, atol=1e-6)
    assert (found["trustworthiness"].sel(step=[1, 2]) > 0.95).all()
    assert found["pca_share"].sel(step=1, matrix="W_E").item() == pytest.approx(1)


def test_no_turn_brings_a_frame_nearer_to_the_one_before(plant):
    found = analyze.measure(plant(put_circle(1), nothing, put_circle(2)), "tsne", perplexity=4.0)
    for kind in ("tsne", "pca"):
        frames = torch.from_numpy(found[kind].sel(matrix="W_E").values)
        for before, after in pairwise(frames):
            torch.testing.assert_close(aligned(after, before), after - after.mean(dim=0), rtol=0, atol=1e-4)


def test_curves_mark_the_planted_transition(tmp_path):
    config = tiny_config(train=TrainConfig(steps=50))
    with RunWriter(tmp_path / "x", config) as writer:
        for step, (train, test) in {
            0: (0.1, 0.1),
            10: (1, 0.2),
            20: (1, 0.995),
            30: (1, 0.5),
            40: (1, 1),
            50: (1, 1),
        }.items():
            writer.log(
                {"step": step, "train_loss": 1.0, "test_loss": 1.0, "train_accuracy": train, "test_accuracy": test}
            )
        writer.checkpoint(50, config.model.initial_weights(config.task.shape, 0))
    found = analyze.measure(open_run(tmp_path / "x"), "curves")
    assert found.attrs["memorised"] == 10
    assert found.attrs["generalised"] == 40  # at 20 it was not to last
    assert found.attrs["delay"] == 30
    late = analyze.measure(open_run(tmp_path / "x"), "curves", threshold=0.999)
    assert late.attrs["generalised"] == 40
