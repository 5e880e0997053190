"""Every measure finds what was planted, through the whole way: weights written as a run, read back, measured."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from closed_forms import quadratic_network
from helpers import tiny_config

from interp import analyze
from interp.maths.geometry import aligned
from interp.maths.neighbours import nearest
from interp.models import MlpSpec, TransformerSpec
from interp.models.network import initial_weights
from interp.recipe import TrainConfig
from interp.store import RunWriter, open_run
from interp.tasks import GroupTask, ModularTask

P, D = 13, 16


@pytest.fixture
def plant(tmp_path):
    """Write a run whose checkpoint at step i is the initial weights, changed by the i-th function."""

    def plant(*changes, task=ModularTask(p=P, train_fraction=0.5), **model):  # noqa: B008  frozen
        spec = TransformerSpec(n_heads=2, d_model=D, d_head=8, d_mlp=24, **model)
        config = tiny_config(task=task, model=spec, train=TrainConfig(steps=len(changes)))
        with RunWriter(tmp_path / "planted", config) as writer:
            for step, change in enumerate(changes):
                weights = initial_weights(spec, task.shape, seed=step)
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
    assert planted["ipr_neuron"].sel(matrix="W_L").item() == pytest.approx(1)
    assert found["ipr_neuron"].sel(matrix="W_E").isnull().all()  # columns of a residual stream are no neurons
    for matrix in ("W_E", "W_L"):
        assert planted["power"].sel(matrix=matrix, freq=5).item() == pytest.approx(1)
        assert planted["ipr_network"].sel(matrix=matrix).item() == pytest.approx(1)
        for rule in found["rule"].values:
            key = planted["key"].sel(matrix=matrix, rule=rule)
            assert list(found["freq"].values[key.values]) == [5]
    assert (found["gini"].sel(step=1) > found["gini"].sel(step=0) + 0.5).all()


def test_gromovs_solution_in_an_mlp_has_one_frequency_a_neuron_in_both_matrices(tmp_path):
    """Frequencies 1 … 6 for p = 13, each as often: 1/6 for the network, 1 for each neuron (Gromov 2023)."""
    on_a, on_b, out = quadratic_network(P, 24, seed=0)
    config = tiny_config(
        task=ModularTask(p=P, prompt="ab", train_fraction=0.5), model=MlpSpec(width=24), train=TrainConfig(steps=1)
    )
    with RunWriter(tmp_path / "run", config) as writer:
        writer.checkpoint(0, {"layers.0.W": torch.stack([on_a, on_b]).mT.float(), "unembed.W_U": out.mT.float()})
    found = analyze.measure(open_run(tmp_path / "run"), "fourier")
    np.testing.assert_allclose(found["ipr_neuron"], 1, rtol=1e-6)
    np.testing.assert_allclose(found["ipr_network"], 1 / 6, rtol=1e-6)


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


@pytest.mark.parametrize("operands", ["shared", "separate"])
@pytest.mark.parametrize("answers", ["residues", "tokens"])
@pytest.mark.parametrize("prompt", ["ab=", "ab"])
def test_tokens_that_are_no_residue_change_no_spectrum_no_ratio_and_no_ring(plant, operands, answers, prompt):
    task = ModularTask(p=P, train_fraction=0.5, operands=operands, answers=answers, prompt=prompt)

    def loud(weights):
        put_circle(5)(weights)
        weights["embed.W_E"][P:] = 100.0 * torch.arange(len(weights["embed.W_E"]) - P)[:, None]
        weights["unembed.W_U"][:, P:] = 100.0 * torch.arange(weights["unembed.W_U"].shape[1] - P)

    run = plant(loud, loud, task=task)
    fourier = analyze.measure(run, "fourier").sel(step=0)
    np.testing.assert_allclose(fourier["power"].sel(freq=5), 1)
    waves = analyze.measure(run, "superposition").sel(step=0, features=["W_E waves", "W_L waves"])
    np.testing.assert_allclose(waves["features_represented"], 2, rtol=0.05)  # what neurons write is an ellipse
    ring = analyze.measure(run, "tsne", perplexity=4.0, frequency=5).sel(step=0)
    np.testing.assert_allclose(np.hypot(*np.moveaxis(ring["circle"].values, -1, 0)), 1, atol=1e-6)


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


def test_answers_that_are_never_given_are_no_wave(plant):
    """x² + y² mod 12 has 9 of 12 answers; neurons that are always 1 then have no wave at all."""

    def constant(weights):
        weights["blocks.0.mlp.W_in"].zero_()
        weights["blocks.0.mlp.b_in"].fill_(1.0)
        weights["blocks.0.mlp.b_in"][0] = 1.5  # so that there is something to take shares of

    task = ModularTask(p=12, operation="x2_y2", train_fraction=0.5)
    assert len(set(task.table().targets)) < 12
    found = analyze.measure(plant(constant, task=task), "superposition").sel(step=0, features="neuron waves")
    assert found["features_per_dimension"].item() == pytest.approx(0, abs=1e-12)


def test_heavy_features_are_those_longer_than_the_root_of_a_half(plant):
    def change(weights):
        weights["embed.W_E"][:P] = 0.8 * circle(2, np.arange(P)) * math.sqrt(2 / P)  # waves of length 0.8
        weights["embed.W_E"][:P, 2:4] = 0.65 * circle(3, np.arange(P))[:, :2] * math.sqrt(2 / P)  # and of 0.65

    found = analyze.measure(plant(change), "superposition").sel(step=0, features="W_E waves")
    assert found["heavy_share"].item() == pytest.approx(2 / D)  # 0.64 > 0.5 > 0.42
    assert found["represented_count"].item() == 4


def test_the_random_control_of_centred_tokens_is_centred(plant):
    from interp.maths.superposition import superposition_ratio

    found = analyze.measure(plant(nothing), "superposition", random_draws=400).sel(step=0)
    V = torch.randn(4000, P, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    centred = superposition_ratio(V - V.mean(dim=1, keepdim=True)).mean().item()
    assert abs(found["ratio_of_random"].sel(features="W_E tokens").item() - centred) < 0.25 * abs(
        superposition_ratio(V).mean().item() - centred
    )


def test_the_standard_error_of_the_random_ratio_is_its_spread_over_seeds(plant):
    run = plant(nothing)
    measured = [analyze.measure(run, "superposition", random_draws=8, random_seed=seed) for seed in range(40)]
    found = [each.sel(step=0, features="W_E waves") for each in measured]
    spread = np.std([each["ratio_of_random"].item() for each in found], ddof=1)
    told = math.sqrt(np.mean([each["ratio_of_random_error"].item() ** 2 for each in found]))
    assert told == pytest.approx(spread, rel=0.4)  # three and a half deviations of 1/√80


def test_moving_the_phases_of_an_embedding_leaves_the_phase_free_ratio_and_moves_the_plain_one(plant):
    """Gaussian rows, and at step 1 every residue has its successor's row: each frequency k turns by 2πk/p."""
    rows = torch.randn(P, D, generator=torch.Generator().manual_seed(0))

    def put(rows):
        return lambda weights: weights["embed.W_E"][:P].copy_(rows)

    found = analyze.measure(plant(put(rows), put(rows.roll(1, dims=0))), "superposition")
    as_is, turned = (found.sel(step=step, features="W_E waves") for step in (0, 1))
    assert turned["ratio_phase_free"].item() == pytest.approx(as_is["ratio_phase_free"].item(), rel=1e-6)
    assert abs(turned["ratio"].item() / as_is["ratio"].item() - 1) > 1e-4
    assert found["ratio_phase_free"].sel(features="W_E tokens").isnull().all()  # which are no waves


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


def test_heads_lie_side_by_side_in_w_v_and_one_above_the_other_in_w_o(plant):
    """Two heads that write the same d_head directions: rank d_head for W_O stacked, not more."""
    block = torch.randn(8, D, generator=torch.Generator().manual_seed(0))

    def change(weights):
        weights["blocks.0.attn.W_O"][0], weights["blocks.0.attn.W_O"][1] = block, -2 * block
        weights["blocks.0.attn.W_V"][0], weights["blocks.0.attn.W_V"][1] = block.T, 3 * block.T

    found = analyze.measure(plant(change), "norms").sel(step=0)
    for matrix, factor in (("W_O", 5**0.5), ("W_V", 10**0.5)):
        here = found.sel(weight_matrix=f"blocks.0.attn.{matrix}")
        slow = torch.linalg.svdvals(block.double()) * factor
        assert here["spectral_norm"].item() == pytest.approx(slow[0].item(), rel=1e-5)
        assert here["stable_rank"].item() == pytest.approx((slow.square().sum() / slow[0] ** 2).item(), rel=1e-5)


def test_rms_times_the_root_of_the_size_is_the_norm(plant):
    run = plant(nothing)
    found = analyze.measure(run, "norms").sel(step=0)
    sizes = [math.prod(run.tensor_shapes[name]) for name in found["tensor"].values]
    np.testing.assert_allclose(found["rms"] * np.sqrt(sizes), found["l2"])


def test_norms_are_compared_with_step_0_whatever_is_in_view(plant):
    def double(weights):
        for tensor in weights.values():
            tensor.mul_(2)

    run = plant(nothing, nothing, double)
    start = analyze.measure(run, "norms")["total_l2"].sel(kind="weights").values
    late = analyze.measure(run.select(last=1), "norms")["total_l2_ratio"].sel(kind="weights").item()
    assert late == pytest.approx(start[2] / start[0])


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


def test_random_matrices_for_comparison_are_averaged_and_one_alone_has_no_error(plant):
    run = plant(nothing)
    one, two, three = (
        analyze.measure(run, "tsne", perplexity=4.0, iterations=300, random_draws=draws).attrs for draws in (1, 2, 3)
    )
    assert not [name for name in one if name.endswith("_error")]
    for name in ("random_kl", "random_trustworthiness"):
        first = one[name]
        second = 2 * two[name] - first
        third = 3 * three[name] - 2 * two[name]
        drawn = np.array([first, second, third])
        assert three[f"{name}_error"] == pytest.approx(drawn.std(ddof=1) / math.sqrt(3))
        assert len(set(drawn.round(6).tolist())) == 3


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
        writer.checkpoint(50, initial_weights(config.model, config.task.shape, 0))
    run = open_run(tmp_path / "x")
    found = analyze.measure(run, "curves", in_a_row=2)
    assert found.attrs["memorised"] == 10
    assert found.attrs["generalised"] == 40  # at 20 it was not to last
    assert found.attrs["delay"] == 30
    assert analyze.measure(run, "curves", threshold=0.999, in_a_row=2).attrs["generalised"] == 40
    once = analyze.measure(run, "curves", in_a_row=1)
    assert (once.attrs["generalised"], once.attrs["generalised_until"], once.attrs["generalised_fell"]) == (
        20,
        20,
        "30",
    )
    thrice = analyze.measure(run, "curves")
    assert math.isnan(thrice.attrs["generalised"])
    assert thrice.attrs["generalised_until"] == 30  # if a third came at 60, it would have arrived at 40


def test_tsne_keeps_apart_the_elements_of_a_group_that_a_planted_matrix_keeps_apart(plant):
    """S4 with a cluster for each coset of its first point's stabiliser: six consecutive elements, x(0) being the same."""

    def clusters(weights):
        place = torch.arange(24) // 6
        weights["unembed.W_U"][:] = 0.01 * torch.randn(D, 24, generator=torch.Generator().manual_seed(0))
        weights["unembed.W_U"][place, torch.arange(24)] += 5

    found = analyze.measure(plant(clusters, task=GroupTask(group="S4")), "tsne", perplexity=4.0).sel(step=0)
    assert "circle" not in found
    near = nearest(torch.from_numpy(found["tsne"].sel(matrix="W_U").values))
    assert (near[:, :5] // 6 == torch.arange(24)[:, None] // 6).all()
    assert found["trustworthiness"].sel(matrix="W_U").item() > 0.95
