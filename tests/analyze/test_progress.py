"""progress and neurons against HookedTransformer and a slow reference, and what may not change them."""

import numpy as np
import pytest
import torch
from helpers import needs_published, published, tiny_config

from interp import analyze
from interp.base import DoesNotApply, UserError
from interp.maths.losses import cross_entropy
from interp.models import TransformerSpec
from interp.models.network import initial_weights
from interp.recipe import TrainConfig
from interp.store import RunWriter, open_run
from interp.store.foreign.convert import convert
from interp.tasks import ModularTask
from interp.train.loop import train


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Subtraction, learned for a while: rows of b stand backwards."""
    task = ModularTask(p=11, operation="subtract", train_fraction=0.6)
    return train(
        tiny_config(task=task, train=TrainConfig(steps=150, lr=1e-2, checkpoint_every=150)),
        tmp_path_factory.mktemp("x") / "run",
    )


def slow_logits(run, step):
    """[a, b, c] of x − y, b counted backwards, by HookedTransformer."""
    with torch.inference_mode():
        logits = run.at(step).model(torch.from_numpy(run.task.table().inputs))[:, -1].double()
    return logits.unflatten(0, (11, 11))[:, -torch.arange(11) % 11]


def test_restricted_and_excluded_loss_are_those_of_a_loop_over_waves(learned):
    found = analyze.measure(learned, "progress", frequencies=(2, 5)).sel(step=150)
    logits = slow_logits(learned, 150)
    a, b = torch.arange(11)[:, None], torch.arange(11)
    kept = torch.zeros_like(logits)
    for k in (2, 5):
        for wave in (torch.cos, torch.sin):
            direction = wave(2 * torch.pi * k * (a + b).double() / 11)
            direction /= direction.norm()
            kept += direction[..., None] * torch.einsum("ab,abc->c", direction, logits)
    answers, train = ((a + b) % 11).flatten(), learned.split.train_index
    rows = np.arange(121).reshape(11, 11)[:, -np.arange(11) % 11].ravel()
    trained = torch.from_numpy(np.isin(rows, train))
    restricted = (kept + (logits - kept).mean(dim=(0, 1))).flatten(0, 1)
    excluded = (logits - kept).flatten(0, 1)
    assert found["restricted_loss"].sel(restriction="code_exact", split="all").item() == pytest.approx(
        cross_entropy(restricted, answers).item(), rel=1e-4
    )
    assert found["excluded_loss"].sel(exclusion="code_exact", split="train").item() == pytest.approx(
        cross_entropy(excluded[trained], answers[trained]).item(), rel=1e-4
    )
    assert found["loss"].sel(split="train").item() == pytest.approx(found["train_loss"].item(), rel=1e-4)
    assert found["loss"].sel(split="test").item() == pytest.approx(found["test_loss"].item(), rel=1e-4)


def test_the_mlps_projection_is_that_of_its_activations(learned):
    """As TransformerLens' demo has it: activations' mean and waves through W_out·W_U, and the rest of each answer's mean."""
    found = analyze.measure(learned, "progress", frequencies=(3,)).sel(step=150)
    cache, model = learned.at(150).cache(["blocks.0.mlp.hook_post", "blocks.0.hook_resid_mid"]), learned.at(150).model
    order = np.arange(121).reshape(11, 11)[:, -np.arange(11) % 11].ravel()
    post = cache["blocks.0.mlp.hook_post"][order, -1].double().detach()
    middle = cache["blocks.0.hook_resid_mid"][order, -1].double().detach()
    a, b = torch.arange(121) // 11, torch.arange(121) % 11
    waves = torch.stack([wave(2 * torch.pi * 3 * (a + b).double() / 11) for wave in (torch.cos, torch.sin)])
    waves /= waves.norm(dim=-1, keepdim=True)
    along = waves.T @ (waves @ post)
    W_out, W_U = model.W_out[0].double().detach(), model.W_U.double().detach()
    without = (middle + (post - along) @ W_out + model.b_out[0].double().detach()) @ W_U + model.b_U.double().detach()
    alone = along @ W_out @ W_U
    whole = without + alone
    answers = (a + b) % 11
    restricted = alone + (whole - alone).mean(dim=0)
    for name, variant, logits in (("excluded", "exclusion", without), ("restricted", "restriction", restricted)):
        here = found[f"{name}_loss"].sel({variant: "mlp_projection", "split": "all"}).item()
        assert here == pytest.approx(cross_entropy(logits, answers).item(), rel=1e-4)


def test_taking_out_one_frequency_leaves_the_others(learned):
    found = analyze.measure(learned, "progress", frequencies=(2, 5)).sel(step=150)
    each = found["excluded_by_frequency"]
    worst = found["excluded_loss"].sel(exclusion="one_frequency")
    np.testing.assert_array_equal(worst, each.sel(freq=[2, 5]).max("freq"))
    np.testing.assert_array_equal(found["excluded_loss"].sel(exclusion="any_frequency"), each.max("freq"))
    alone = analyze.measure(learned, "progress", frequencies=(4,)).sel(step=150)
    np.testing.assert_allclose(each.sel(freq=4), alone["excluded_loss"].sel(exclusion="code_exact"), rtol=1e-4)


def turned(weights, generator):
    """The same network with its residual stream turned and its neurons in another order."""
    d, n = weights["blocks.0.mlp.W_in"].shape
    Q = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q.float()
    order = torch.randperm(n, generator=generator)
    new = dict(weights)
    for name in ("embed.W_E", "pos_embed.W_pos", "blocks.0.attn.W_O", "blocks.0.attn.b_O", "blocks.0.mlp.b_out"):
        new[name] = weights[name] @ Q
    for name in ("W_Q", "W_K", "W_V"):
        new[f"blocks.0.attn.{name}"] = Q.T @ weights[f"blocks.0.attn.{name}"]
    new["blocks.0.mlp.W_in"] = Q.T @ weights["blocks.0.mlp.W_in"][:, order]
    new["blocks.0.mlp.b_in"] = weights["blocks.0.mlp.b_in"][order]
    new["blocks.0.mlp.W_out"] = weights["blocks.0.mlp.W_out"][order] @ Q
    new["unembed.W_U"] = Q.T @ weights["unembed.W_U"]
    return {name: tensor.contiguous() for name, tensor in new.items()}


@pytest.mark.parametrize("name", ["progress", "neurons"])
def test_turning_the_residual_stream_and_renaming_neurons_changes_nothing(learned, tmp_path, name):
    with RunWriter(tmp_path / "turned", learned.config) as writer:
        writer.checkpoint(150, turned(learned.at(150).weights, torch.Generator().manual_seed(0)))
    before = analyze.measure(learned.select(steps=[150]), name)
    after = analyze.measure(open_run(tmp_path / "turned"), name)
    for variable in set(before.data_vars) - {"train_loss", "test_loss", "train_accuracy", "test_accuracy"}:
        if "neuron" not in before[variable].dims:
            np.testing.assert_allclose(after[variable], before[variable], rtol=2e-3, atol=1e-4, err_msg=str(variable))


def test_the_rules_agree_with_themselves_and_symmetrically(learned):
    found = analyze.measure(learned, "progress")["agreement"].values
    assert (np.diagonal(found, axis1=1, axis2=2) == 1).all()
    np.testing.assert_array_equal(found, found.swapaxes(1, 2))


def test_a_layer_norm_after_the_neurons_leaves_their_projection_out(tmp_path):
    spec = TransformerSpec(n_heads=2, d_model=16, d_head=8, d_mlp=24, normalization="LN")
    run = train(tiny_config(model=spec, train=TrainConfig(steps=1)), tmp_path / "run")
    found = analyze.measure(run, "progress")
    assert "mlp_projection" not in found["restriction"].values
    assert np.isfinite(found["restricted_loss"]).all()


def test_a_frequency_that_the_task_does_not_have_is_a_sentence(learned):
    with pytest.raises(UserError, match=r"--frequencies has 6; .* has frequencies 1 to 5"):
        analyze.measure(learned, "progress", frequencies=(6,))
    command = analyze.measure(learned, "progress", frequencies=(1, 2)).attrs["command"]
    assert command.endswith("--frequencies 1 2")


def test_neurons_of_any_full_table_are_measured_and_sums_alone_have_progress(tmp_path):
    task = ModularTask(p=11, operation="x2_xy_y2", train_fraction=0.5)
    run = train(tiny_config(task=task, train=TrainConfig(steps=1)), tmp_path / "run")
    found = analyze.measure(run, "neurons")
    assert (found["share"].notnull() == (found["frequency"] > 0)).all()
    assert found["share"].notnull().mean() > 0.5
    with pytest.raises(DoesNotApply, match="a sum in no order"):
        analyze.measure(run, "progress")


def test_planted_neurons_have_their_frequency_phases_and_cluster(tmp_path):
    """E_a + E_b reaches the neurons; each reads one wave with a bias that keeps it above zero."""
    p, k = 11, 3
    task = ModularTask(p=p, train_fraction=0.5)
    spec = TransformerSpec(n_heads=1, d_model=16, d_head=16, d_mlp=24, attention_rate=0.0, attention="bidirectional")
    config = tiny_config(task=task, model=spec, train=TrainConfig(steps=0))
    weights = {name: torch.zeros_like(each) for name, each in initial_weights(spec, task.shape, seed=0).items()}
    angle = 2 * torch.pi * k * torch.arange(p).double() / p
    weights["embed.W_E"][:p, 0], weights["embed.W_E"][:p, 1] = angle.cos(), angle.sin()
    weights["blocks.0.attn.W_V"][0] = torch.eye(16)
    weights["blocks.0.attn.W_O"][0] = torch.eye(16)
    phase = torch.linspace(-3, 3, 24).double()
    weights["blocks.0.mlp.W_in"][0], weights["blocks.0.mlp.W_in"][1] = phase.cos(), phase.sin()
    weights["blocks.0.mlp.b_in"][:] = 5.0
    weights["blocks.0.mlp.W_out"][:, :2] = torch.stack([(2 * phase).cos(), (2 * phase).sin()], dim=-1).float()
    weights["unembed.W_U"][0], weights["unembed.W_U"][1] = angle.cos(), angle.sin()
    with RunWriter(tmp_path / "run", config) as writer:
        writer.checkpoint(0, weights)
    found = analyze.measure(open_run(tmp_path / "run"), "neurons").isel(step=0)
    assert (found["frequency"] == k).all()
    np.testing.assert_allclose(found["share"], 1, atol=1e-5)
    np.testing.assert_allclose(found["linear_share"], 1, atol=1e-5)
    for operand in ("a", "b"):
        np.testing.assert_allclose(found["input_phase"].sel(operand=operand), phase, atol=1e-4)
    np.testing.assert_allclose(np.cos(found["output_phase"] - 2 * phase.numpy()), 1, atol=1e-6)
    assert found["phase_agreement"].item() == pytest.approx(1, abs=1e-6)
    assert found["cluster_size"].sel(freq=k).item() == 24
    assert found["clustered"].item() == 1


@needs_published
def test_the_published_network_has_the_published_progress_measures(tmp_path):
    (run,) = convert(published("progress-measures") / "wd_10-1_mod_addition_loss_curve.pth", tmp_path / "run")
    found = analyze.measure(run, "progress").isel(step=-1)
    assert found.attrs["key_frequencies"] == "6 23 37 39 41"
    restricted = found["restricted_loss"].sel(split="all")
    for variant, expected in (("code_exact", "2.2e-09"), ("blocks_2x2", "2.4e-09"), ("blocks_3x3", "3.8e-09")):
        assert f"{restricted.sel(restriction=variant).item():.1e}" == expected
    excluded = found["excluded_loss"].sel(exclusion="code_exact", split="all").item()
    assert round(excluded, 1) == 9.0
    assert round(found["sum_of_squares"].item()) == 1181
    assert [round(value, 3) for value in found["gini"].values] == [0.535, 0.756]
    keys = {rule: found["freq"].values[found["key"].sel(key_rule=rule).values] for rule in found["key_rule"].values}
    assert set(keys["W_E_quarter"]) == {3, 6, 12, 23, 31, 37, 39, 41, 46, 54}
    assert set(keys["neuron_clusters"]) == {6, 23, 37, 39, 41}
    neurons = analyze.measure(run, "neurons").isel(step=-1)
    assert dict(zip(neurons["freq"].values, neurons["cluster_size"].values, strict=True)) == {
        **dict.fromkeys(range(1, 57), 0),
        **{6: 47, 23: 31, 37: 65, 39: 11, 41: 31},
    }


def test_what_neurons_write_is_a_function_of_the_network_and_not_of_how_a_layer_norm_is_written(tmp_path):
    """Its weights can stand in W_U as well, and a constant that W_out adds to the whole stream is centred away."""
    spec = TransformerSpec(n_heads=2, d_model=16, d_head=8, d_mlp=24, normalization="LN")
    config = tiny_config(model=spec, train=TrainConfig(steps=2))
    weights = initial_weights(spec, config.task.shape, seed=0)
    scale = torch.linspace(0.5, 3, 16)
    elsewhere = weights | {
        "ln_final.w": weights["ln_final.w"] * scale,
        "ln_final.b": weights["ln_final.b"] * scale,
        "unembed.W_U": weights["unembed.W_U"] / scale[:, None],
    }
    shifted = weights | {"blocks.0.mlp.W_out": weights["blocks.0.mlp.W_out"] + torch.linspace(-1, 1, 24)[:, None]}
    with RunWriter(tmp_path / "run", config) as writer:
        for step, each in enumerate((weights, elsewhere, shifted)):
            writer.checkpoint(step, each)
    run = open_run(tmp_path / "run")
    found = analyze.measure(run, "progress", frequencies=(1,))
    directions = analyze.measure(run, "ablate", frequencies=(1,), repeats=1)["loss"]
    for step in (1, 2):
        for variable in ("gini", "ipr_network", "ipr_neuron", "loss"):
            np.testing.assert_allclose(found[variable].sel(step=step), found[variable].sel(step=0), rtol=1e-3)
        for ablation in ("W_L directions kept", "W_L directions removed"):
            here = directions.sel(ablation=ablation)
            np.testing.assert_allclose(here.sel(step=step), here.sel(step=0), rtol=1e-3)


def test_phases_do_not_add_up_to_anything_where_nothing_is_added(tmp_path):
    task = ModularTask(p=11, operation="x2_y2", train_fraction=0.5)
    run = train(tiny_config(task=task, train=TrainConfig(steps=1)), tmp_path / "run")
    assert analyze.measure(run, "neurons")["phase_agreement"].isnull().all()
