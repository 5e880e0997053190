"""The analysis finds planted irreps, products and cosets: weights written as a run, read back, measured."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp import analyze
from interp.base import DoesNotApply
from interp.maths import groups
from interp.maths.irrep_power import content_shares, logit_similarity
from interp.maths.irreps import real_irreps
from interp.maths.losses import cross_entropy
from interp.models import TransformerSpec
from interp.models.network import initial_weights
from interp.recipe import TrainConfig
from interp.store import RunWriter, open_run
from interp.tasks import GroupTask, ModularTask
from interp.tasks.table import Prompt
from interp.train.loop import train

S3 = real_irreps(groups.symmetric(3), "S3")
ROUNDING = 1e-5  # weights and activations are float32


def write(path, changes, task, **model):
    """A run whose checkpoint at step i is the initial weights, changed by the i-th function."""
    spec = TransformerSpec(**model)
    config = tiny_config(task=task, model=spec, train=TrainConfig(steps=len(changes)))
    with RunWriter(path, config) as writer:
        for step, change in enumerate(changes):
            weights = initial_weights(spec, task.shape, seed=step)
            change(weights)
            writer.checkpoint(step, weights)
    return open_run(path)


def multiplier(strengths, task, loud=0.0):
    """A network that computes logits Σ_ρ w_ρ·d_ρ/n·χ_ρ(a·b·c⁻¹) exactly, for a task with the composition of S3.

    Every token is a direction of its own; attention adds up the directions of all positions, evenly; neuron (a, b) is 1
    where both are there and 0 elsewhere, and writes the functions of a·b which W_U compares with those of c. `loud` of the
    embedding is written on the logits as well, past the neurons.
    """
    elements = task.composition()
    n, tokens, free = 6, task.shape.tokens.d_vocab, task.shape.tokens.d_vocab
    weight = torch.tensor([strengths.get(name, 0.0) for name in S3.names])[S3.of_row]

    def change(weights):
        for tensor in weights.values():
            tensor.zero_()
        weights["embed.W_E"][:, :tokens] = torch.eye(tokens)
        weights["blocks.0.attn.W_V"][0] = torch.eye(free + n)
        weights["blocks.0.attn.W_O"][0] = task.shape.tokens.n_ctx * torch.eye(free + n)
        weights["blocks.0.mlp.b_in"].fill_(-1.0)
        for pair, (a, b) in enumerate(np.ndindex(n, n)):
            weights["blocks.0.mlp.W_in"][elements.a[a], pair] = 1.0
            weights["blocks.0.mlp.W_in"][n + elements.b[b], pair] = 1.0
            weights["blocks.0.mlp.W_out"][pair, free:] = S3.basis[:, S3.table[a, b]].float()
        weights["unembed.W_U"][free:, elements.c] = (weight[:, None] * S3.basis).float()
        weights["unembed.W_U"][:n, elements.c] = loud * torch.eye(n)

    return change


def multiplying(tmp_path, *changes, prompt: Prompt = "ab="):
    task = GroupTask(group="S3", operands="separate", prompt=prompt, train_fraction=0.5)
    size = task.shape.tokens.d_vocab + 6
    return write(
        tmp_path / "planted", [change(task) for change in changes], task, n_heads=1, d_model=size, d_head=size, d_mlp=36
    )


@pytest.mark.parametrize("prompt", ["ab=", "aob="])
def test_logits_of_one_irrep_are_explained_by_it(tmp_path, prompt):
    run = multiplying(tmp_path, lambda task: multiplier({"standard": 40.0}, task), prompt=prompt)
    found = analyze.measure(run, "groups").sel(step=0)
    assert found["similarity"].sel(irrep="standard").item() == pytest.approx(1, abs=ROUNDING)
    assert found["similarity"].sel(irrep="sign").item() == pytest.approx(0, abs=ROUNDING)
    assert found["logit_fve"].item() == pytest.approx(1, abs=ROUNDING)
    assert found["irrep"].values[found["is_key"].values].tolist() == ["standard"]


def test_several_irreps_share_the_logits_by_strength_times_dimension(tmp_path):
    run = multiplying(tmp_path, lambda task: multiplier({"sign": 20.0, "standard": 40.0}, task))
    found = analyze.measure(run, "groups").sel(step=0)
    assert found["similarity"].sel(irrep="sign").item() == pytest.approx(1 / math.sqrt(17), abs=ROUNDING)
    assert found["similarity"].sel(irrep="standard").item() == pytest.approx(4 / math.sqrt(17), abs=ROUNDING)
    assert found["logit_fve"].item() == pytest.approx(1, abs=ROUNDING)
    assert found["is_key"].all()


def test_neurons_of_one_pair_each_have_every_function_of_a_pair_alike(tmp_path):
    found = analyze.measure(multiplying(tmp_path, lambda task: multiplier({"standard": 1.0}, task)), "groups").sel(
        step=0
    )
    hidden = found["hidden"]
    for irrep, d in (("sign", 1), ("standard", 2)):
        for content in ("a", "b", "ab"):
            assert hidden.sel(irrep=irrep, content=content).item() == pytest.approx(d**2 / 35, abs=ROUNDING)
        assert hidden.sel(irrep=irrep, content="a⊗b").item() == pytest.approx(d**4 / 35, abs=ROUNDING)
        assert found["share"].sel(irrep=irrep, matrix="W_E").item() == pytest.approx(d**2 / 5, abs=ROUNDING)
    assert found["hidden_residual"].item() == pytest.approx(1 - (2 * 5 + 17) / 35, abs=ROUNDING)
    for matrix in ("W_U", "W_L"):
        assert found["share"].sel(irrep="standard", matrix=matrix).item() == pytest.approx(1, abs=ROUNDING)


def test_without_its_key_irrep_a_network_guesses_and_with_nothing_else_it_is_as_before(tmp_path):
    run = multiplying(tmp_path, lambda task: multiplier({"standard": 40.0}, task))
    found, logits = analyze.measure(run, "groups").sel(step=0), 40 / 3 * S3.characters[2]
    loss = logits.logsumexp(dim=0).item() - logits.max().item()  # χ(a·b·c⁻¹) over c, whatever a and b
    assert found["hidden_excluded_loss"].item() == pytest.approx(math.log(6), abs=ROUNDING)
    assert found["hidden_restricted_loss"].item() == pytest.approx(loss, abs=1e-4)


def test_what_goes_past_the_neurons_stays_in_both_losses(tmp_path):
    """W_U reads the embedding of a too: without neurons the answer is a, and right where b is the identity."""
    loud = 30.0
    run = multiplying(tmp_path, lambda task: multiplier({"sign": 1e-3}, task, loud=loud))
    found, trained = analyze.measure(run, "groups", key_above=1e-6).sel(step=0), run.split.train
    assert found["irrep"].values[found["is_key"].values].tolist() == ["sign"]
    every = run.task.table()
    for name, part in (("hidden_excluded_loss", trained), ("hidden_restricted_loss", every)):
        wrong = (part.inputs[:, 0] != part.targets).mean()
        assert found[name].item() == pytest.approx(loud * wrong, abs=2e-3)


def test_what_goes_past_the_neurons_is_in_no_loss_of_the_neurons_alone(tmp_path):
    """W_U reads a loudly, past neurons that write the standard irrep: these answer alone as if nothing else were there."""
    loud, quiet = (
        analyze.measure(
            multiplying(tmp_path / str(level), lambda task, by=level: multiplier({"standard": 4.0}, task, loud=by)),
            "groups",
        ).sel(step=0)
        for level in (9.0, 0.0)
    )
    for name in ("excluded", "restricted"):
        alone = f"neurons_alone_{name}_loss"
        assert loud[alone].item() == pytest.approx(quiet[alone].item(), abs=ROUNDING)
        assert loud[f"hidden_{name}_loss"].item() > quiet[f"hidden_{name}_loss"].item() + 0.1
    logits = 4 / 3 * S3.characters[2]
    loss = logits.logsumexp(dim=0).item() - logits.max().item()
    assert quiet["neurons_alone_restricted_loss"].item() == pytest.approx(loss, abs=ROUNDING)
    assert quiet["neurons_alone_excluded_loss"].item() == pytest.approx(math.log(6), abs=ROUNDING)


def test_neurons_behind_a_layernorm_have_no_losses_alone(tmp_path):
    spec = TransformerSpec(n_heads=2, d_model=16, d_head=8, d_mlp=24, normalization="LN")
    run = train(tiny_config(task=GroupTask(group="S3"), model=spec, train=TrainConfig(steps=0)), tmp_path / "run")
    assert not [name for name in analyze.measure(run, "groups").data_vars if "alone" in str(name)]


def test_key_irreps_are_those_of_the_last_step_in_view(tmp_path):
    signs = [lambda task: multiplier({"sign": 9.0}, task), lambda task: multiplier({"standard": 9.0}, task)]
    run = multiplying(tmp_path, *signs)
    key = {last: analyze.measure(run.select(steps=range(last + 1)), "groups")["is_key"].values for last in (0, 1)}
    assert (key[0].tolist(), key[1].tolist()) == ([True, False], [False, True])
    found = analyze.measure(run, "groups")
    assert found["hidden_excluded_loss"].sel(step=1).item() == pytest.approx(math.log(6), abs=ROUNDING)
    assert found["hidden_excluded_loss"].sel(step=0).item() < math.log(6) - 0.5  # there it was the sign


def test_an_embedding_that_is_constant_on_cosets_names_their_subgroup(tmp_path):
    """A4 in S4 by the sign; and the right cosets of one of three conjugates of order 8, which are no left ones."""
    table = groups.symmetric(4)
    eight = next(every for every in groups.subgroup_classes(table)[0] if every[0].sum() == 8)
    right = groups.cosets(table, np.flatnonzero(eight[1]), "right")
    sign = 1 - 2 * groups.parity(groups.permutations(4))

    def change(weights):
        weights["embed.W_E"].mul_(1e-3)[:24, 0] += torch.from_numpy(sign).float()
        weights["unembed.W_U"].mul_(1e-3)[0] += torch.tensor([-1.0, 0.0, 1.0])[torch.from_numpy(right)]

    run = write(tmp_path / "planted", [change], GroupTask(group="S4"), n_heads=1, d_model=16, d_head=16, d_mlp=8)
    found = analyze.measure(run, "groups").sel(step=0)
    r2 = found["coset_r2"].sel(component=1)
    for side in ("left", "right"):  # A4 is normal
        assert r2.sel(matrix="W_E", side=side)[found["subgroup_order"].values == 12].item() == pytest.approx(
            1, abs=1e-4
        )
    assert r2.sel(matrix="W_U", side="right", subgroup="order 8").item() == pytest.approx(1, abs=1e-4)
    assert r2.sel(matrix="W_U", side="left", subgroup="order 8").item() < 0.9
    assert r2.sel(subgroup="order 24").values == pytest.approx(0, abs=1e-9)  # the group itself explains nothing
    assert 0 < found.attrs["random_coset_r2"] < 0.9


@pytest.mark.parametrize("p", [5, 11, 13])
@pytest.mark.parametrize("operation", ["add", "subtract", "multiply", "divide", "add_mod_p_minus_1"])
def test_modular_operations_are_composition_in_the_order_of_their_elements(operation, p):
    task = ModularTask(p=p, operation=operation, train_fraction=0.5)
    elements, table = task.composition(), task.table()
    assert elements is not None
    rows = elements.rows.reshape(elements.table.shape)
    n = len(elements.table)
    assert len(set(rows.flatten())) == n * n  # every pair is a prompt of its own
    for i in range(n):
        for j in range(n):
            assert table.inputs[rows[i, j], :2].tolist() == [elements.a[i], elements.b[j]]
            assert table.targets[rows[i, j]] == elements.c[elements.table[i, j]]
    groups.check_table(elements.table)


def test_what_is_no_composition_does_not_apply(tmp_path):
    others = [ModularTask(p=7, operation=name) for name in ("x2_y2", "random", "divide_if_odd")]
    others += [ModularTask(p=8, operation="multiply"), GroupTask(group="S3", operation="aba")]
    for number, task in enumerate(others):
        run = train(tiny_config(task=task, train=TrainConfig(steps=0)), tmp_path / str(number))
        with pytest.raises(DoesNotApply, match='analysis "groups" needs composition in a group'):
            analyze.measure(run, "groups")


def test_similarity_and_contents_are_those_of_hooked_transformers_activations(tiny):
    found, group = analyze.measure(tiny, "groups"), real_irreps(groups.cyclic(11), "C11")
    for checkpoint in tiny:
        cache = checkpoint.cache(["blocks.0.mlp.hook_post"])
        logits = checkpoint.model(torch.from_numpy(tiny.task.table().inputs))[:, -1].detach()
        post = cache["blocks.0.mlp.hook_post"][:, -1].unflatten(0, (11, 11))
        here = found.sel(step=checkpoint.step)
        slow = logit_similarity(logits.unflatten(0, (11, 11)), group)
        np.testing.assert_allclose(here["similarity"], slow, atol=ROUNDING)
        np.testing.assert_allclose(here["hidden"], content_shares(post, group), atol=ROUNDING)


def test_losses_without_key_irreps_or_with_none_but_their_rest_are_those_of_a_hook(tiny):
    """With no key irrep at all: excluded is the plain loss, restricted that of neurons which always send their mean."""
    found = analyze.measure(tiny, "groups", key_above=0.999).sel(step=40)
    model, table = tiny.final.model, tiny.task.table()
    np.testing.assert_allclose(found["hidden_excluded_loss"], found["train_loss"], rtol=1e-5)

    def averaged(post, hook):
        return post.mean(dim=0, keepdim=True).expand_as(post).contiguous()

    with torch.inference_mode():
        tokens, hook = torch.from_numpy(table.inputs), ("blocks.0.mlp.hook_post", averaged)
        logits = model.run_with_hooks(tokens, fwd_hooks=[hook])[:, -1]
        loss = cross_entropy(logits, torch.from_numpy(table.targets))
    assert found["hidden_restricted_loss"].item() == pytest.approx(loss.item(), rel=1e-5)


@pytest.mark.parametrize(
    "model",
    [{"normalization": "LN", "n_layers": 2}, {"act_fn": "solu_ln"}, {"attention": "bidirectional", "n_layers": 2}],
)
def test_every_model_is_unembedded_as_it_is(tmp_path, model):
    """Without a key irrep, the excluded loss is the plain one of the training prompts."""
    spec = TransformerSpec(n_heads=2, d_model=16, d_head=8, d_mlp=24, **model)
    config = tiny_config(task=GroupTask(group="S3"), model=spec, train=TrainConfig(steps=3))
    found = analyze.measure(train(config, tmp_path / "run"), "groups", key_above=0.999)
    np.testing.assert_allclose(found["hidden_excluded_loss"], found["train_loss"], rtol=1e-5)


def test_a_network_that_tells_its_roles_alone_is_measured_as_one_that_tells_what_follows_its_neurons(
    tmp_path, monkeypatch
):
    from interp.models.transformer import forward

    run = multiplying(tmp_path, lambda task: multiplier({"sign": 1.0}, task, loud=3.0))
    whole = analyze.measure(run, "groups")
    monkeypatch.delattr(forward, "tail")
    found = analyze.measure(run, "groups")
    for name in found.data_vars:
        np.testing.assert_allclose(found[name], whole[name], rtol=1e-5, atol=ROUNDING, err_msg=str(name))


def test_losses_are_in_the_unit_of_the_history(tmp_path):
    """Without a key irrep, the excluded loss is the plain one of the training prompts: here a squared error."""
    config = tiny_config(task=GroupTask(group="S3"), train=TrainConfig(steps=3, loss="squared_error"))
    found = analyze.measure(train(config, tmp_path / "run"), "groups", key_above=0.999)
    np.testing.assert_allclose(found["hidden_excluded_loss"], found["train_loss"], rtol=1e-5)
    assert found["hidden_excluded_loss"].attrs["units"] == found["train_loss"].attrs["units"] == "squared error"


def test_a_network_that_learns_s3_comes_to_answer_by_its_characters(tmp_path):
    """Seconds of training on 34 of 36 prompts."""
    spec = TransformerSpec(n_heads=2, d_model=32, d_head=16, d_mlp=64)
    learning = TrainConfig(steps=300, lr=3e-3, checkpoint_every=150, checkpoints_per_decade=1)
    task = GroupTask(group="S3", train_fraction=0.95)
    found = analyze.measure(train(tiny_config(task=task, model=spec, train=learning), tmp_path / "s3"), "groups")
    first, last = found.isel(step=0), found.isel(step=-1)
    assert last["train_accuracy"].item() == 1
    assert last["logit_fve"].item() > 0.3 > 0.01 > first["logit_fve"].item()
    assert found["is_key"].all()
    # What it answers by is ρ(a·b) in the neurons: alone it is enough, and without it a guess would be better.
    assert last["hidden_restricted_loss"].item() < 0.3 < 1.5 < first["hidden_restricted_loss"].item()
    assert last["hidden_excluded_loss"].item() > math.log(6) > 1 > last["train_loss"].item()
    np.testing.assert_allclose(found["share"].sum("irrep"), 1)


def test_the_largest_subgroup_is_named_that_explains_nearly_as_much_as_the_best(tmp_path):
    """What is constant on cosets of A4 is so on those of all its subgroups."""
    sign = torch.from_numpy(1.0 - 2.0 * groups.parity(groups.permutations(4))).float()

    def change(weights):
        weights["embed.W_E"].mul_(1e-3)[:24, 0] += sign
        weights["unembed.W_U"].mul_(1e-3)[0] += torch.randn(24, generator=torch.Generator().manual_seed(0))

    run = write(tmp_path / "planted", [change], GroupTask(group="S4"), n_heads=1, d_model=16, d_head=16, d_mlp=8)
    found = analyze.measure(run, "groups")
    explained = found["coset_r2"].sel(step=0, component=1, matrix="W_E", side="left")
    assert (explained > 0.99).sum() > 3
    assert analyze.summarise(found)["cosets W_E"].item() == "order 12 left"


def by_table(tmp_path, table, new):
    """What is measured of D4 by name, and of the same network where element x of D4 has the number new[x] of the table."""
    task = GroupTask(group="D4", train_fraction=0.5)
    written = task.but(group=groups.write_table(table))

    def renumber(weights):
        weights["embed.W_E"][new] = weights["embed.W_E"][: len(new)].clone()
        weights["unembed.W_U"][:, new] = weights["unembed.W_U"].clone()

    size = {"n_heads": 2, "d_model": 16, "d_head": 8, "d_mlp": 24}
    runs = [
        write(tmp_path / "name", [lambda w: None] * 2, task, **size),
        write(tmp_path / "table", [renumber] * 2, written, **size),
    ]
    return [analyze.measure(run, "groups") for run in runs]


def test_a_group_by_its_table_is_measured_as_by_its_name(tmp_path):
    named, written = by_table(tmp_path, groups.dihedral(4), np.arange(8))
    assert written.attrs["group"] == "a group of 8 elements, table given"
    assert list(written["irrep"].values) == list(named["irrep"].values) == ["sign", "sign r", "sign r⊗sign", "k=1"]
    for name, values in named.data_vars.items():
        np.testing.assert_array_equal(written[name].values, values.values, name)
    figure: Any = analyze.draw(written)
    titles = [note.text for note in figure.layout.annotations]
    assert any("key irreps of a group of 8 elements, table given (excluded)" in title for title in titles)


def test_elements_of_a_table_may_be_numbered_in_any_way(tmp_path):
    new = np.array([5, 2, 7, 1, 0, 4, 6, 3])
    table = np.empty((8, 8), dtype=int)
    table[np.ix_(new, new)] = new[groups.dihedral(4)]
    named, written = by_table(tmp_path, table, new)
    for name in ("hidden_residual", "logit_fve", "component_share"):
        np.testing.assert_allclose(written[name], named[name], atol=1e-4)
    for name in ("share", "similarity"):  # irreps of one dimension come in another order
        np.testing.assert_allclose(np.sort(written[name]), np.sort(named[name]), atol=1e-4)
