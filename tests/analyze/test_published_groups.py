"""Figures that Chughtai et al. (2023) and Nanda et al. (2023) published, by `groups`; each definition that differs is named."""

import json

import numpy as np
import pytest
import torch
from helpers import needs_published, published, tiny_config
from sympy.combinatorics import SymmetricGroup

from interp import analyze
from interp.maths import groups
from interp.maths.irrep_power import irrep_shares
from interp.maths.irreps import real_irreps
from interp.maths.losses import cross_entropy
from interp.models import MlpSpec, TransformerSpec
from interp.models.network import over
from interp.recipe import TrainConfig
from interp.store import RunWriter, open_run
from interp.store.foreign.convert import convert
from interp.store.layout import SPLIT
from interp.store.split import write_split
from interp.tasks import GroupTask

pytestmark = needs_published

S5 = real_irreps(groups.symmetric(5), "S5")

SIGNED = next(name for name in S5.names if {*name.split("⊗")} == {"sign", "standard"})
"""Name of sign ⊗ standard."""

IRREPS = {
    "sign": "sign",
    "standard": "standard",
    "standard_sign": SIGNED,
    "s5_5d_a": "5d_b",
    "s5_5d_b": "5d_a",
    "s5_6d": "6d",
}
"""Names of the irreps of S5 there and here. Of the two of dimension 5, 5d_a is the one with the larger characters here."""

FLOAT32 = 1e-6
"""Largest share that their arithmetic in float32 leaves where there is none, and its relative error elsewhere."""


@pytest.fixture(scope="module", params=["S5_MLP_seed2", "S5_T_seed4"])
def measured(request, tmp_path_factory):
    """A run on S5, what `groups` measures of its last weights, and their figures."""
    source = published("rep-theory") / request.param
    (run,) = convert(source, tmp_path_factory.mktemp("converted") / "run")
    figures = json.loads((source / "summary_metrics.json").read_text())
    return run, analyze.measure(run, "groups").isel(step=-1), figures


def close(value):
    return pytest.approx(value, rel=FLOAT32, abs=FLOAT32)


@pytest.mark.parametrize("name", ["S5_MLP_seed2", "S5_T_seed4", "C113_MLP_seed1"])
def test_losses_and_accuracies_are_theirs_on_the_prompts_that_they_trained_on(name, tmp_path):
    (run,) = convert(published("rep-theory") / name, tmp_path / "run")
    row = run.history.loc[run.final.step]
    assert (row["train_accuracy"], row["test_accuracy"]) == (1, 1)
    for part, loss in ((run.split.train, row["train_loss"]), (run.split.test, row["test_loss"])):
        forward = over(run.known_model, run.task.shape, torch.from_numpy(part.inputs))
        found = float(cross_entropy(forward(run.final.weights), torch.from_numpy(part.targets)))
        assert found == pytest.approx(loss, rel=1e-4)


def test_the_curves_are_those_of_their_table(tmp_path):
    """727 checkpoints: an accuracy of 99 % in training at epoch 337, in test at 93,556, the weights one update later."""
    (run,) = convert(published("rep-theory/S5_MLP_seed2"), tmp_path / "run")
    history = run.history
    assert len(history) == 727
    assert (history["train_accuracy"] > 0.99).idxmax() == 338
    assert (history["test_accuracy"] > 0.99).idxmax() == 93_557
    assert history.index[-1] == run.final.step == 250_000


def test_the_logits_are_as_similar_to_each_character(measured):
    _, found, figures = measured
    for theirs, ours in IRREPS.items():
        assert found["similarity"].sel(irrep=ours).item() == close(figures[f"logit_{theirs}_rep_trace_similarity"])
    assert found["logit_fve"].item() == close(figures["percent_logits_explained"])
    assert set(found["irrep"].values[found["is_key"].values]) == {"sign", "standard"}  # their key_reps.txt


def test_the_neurons_hold_as_much_of_each_irrep(measured):
    _, found, figures = measured
    for theirs, ours in IRREPS.items():
        for content, name in (("a", "x"), ("b", "y"), ("ab", "xy")):
            share = found["hidden"].sel(content=content, irrep=ours).item()
            assert share == close(figures[f"percent_hidden_{name}_{theirs}_rep"])


def test_the_embedding_has_as_much_of_each_irrep(measured):
    """Their x_embed of an MLP is W_x·W, what the neurons receive of a; `groups` takes the embedding itself. Their shares are of
    all power, those here of what is not constant.
    """
    run, found, figures = measured
    group, weights = real_irreps(run.task.products(), run.task.group), run.final.weights
    if run.config.model.kind == "mlp":
        embedded = weights["embed.W_E"][:120] @ weights["layers.0.W"][0]
        shares = dict(zip(group.names[1:], irrep_shares(embedded, group).tolist(), strict=True))
    else:
        shares = {name: found["share"].sel(matrix="W_E", irrep=name).item() for name in IRREPS.values()}
    varying = 1 - figures["percent_x_embed_trivial_rep"]
    for theirs, ours in IRREPS.items():
        assert varying * shares[ours] == close(figures[f"percent_x_embed_{theirs}_rep"])


def test_the_unembedding_has_as_much_of_each_irrep(measured):
    """Of a transformer theirs is W_L = W_out·W_U; `share` of W_U is of W_U itself."""
    run, found, figures = measured
    group, weights = real_irreps(run.task.products(), run.task.group), run.final.weights
    if run.config.model.kind == "mlp":
        shares = {name: found["share"].sel(matrix="W_U", irrep=name).item() for name in IRREPS.values()}
    else:
        W_L = weights["blocks.0.mlp.W_out"] @ weights["unembed.W_U"]
        shares = dict(zip(group.names[1:], irrep_shares(W_L.T, group).tolist(), strict=True))
    varying = 1 - figures["percent_unembed_trivial_rep"]
    for theirs, ours in IRREPS.items():
        assert varying * shares[ours] == close(figures[f"percent_unembed_{theirs}_rep"])


def test_without_the_key_irreps_the_loss_is_theirs_where_nothing_passes_beside_the_neurons(measured):
    """`hidden_excluded_loss`: to 1 in 1,000,000 for the MLP. Of a transformer theirs drops all that passes beside the neurons
    (20.925); here that stays, which is what they call the logits' excluded loss. Restricted: the mean of the neurons stays here,
    worth 1 % for the MLP, and theirs is smaller for the transformer without its skip and biases.
    """
    run, found, figures = measured
    excluded, restricted = found["hidden_excluded_loss"].item(), found["hidden_restricted_loss"].item()
    if run.config.model.kind == "mlp":
        assert excluded == pytest.approx(figures["total_hidden_excluded_loss"], rel=FLOAT32)
        assert restricted == pytest.approx(figures["total_hidden_restricted_loss"], rel=0.02)
        return
    assert excluded == pytest.approx(figures["total_logit_excluded_loss"], rel=1e-5)
    assert found.attrs["excluded_over"] == "train"
    assert 0 < figures["total_hidden_restricted_loss"] < restricted < 1e-10


def test_logits_of_a_sum_are_as_similar_to_each_wave(tmp_path):
    """C113. Their shares of embedding and neurons are not compared: they are of a basis that is not orthogonal."""
    source = published("rep-theory/C113_MLP_seed1")
    (run,) = convert(source, tmp_path / "run")
    found, figures = (
        analyze.measure(run, "groups").isel(step=-1),
        json.loads((source / "summary_metrics.json").read_text()),
    )
    assert (run.task.kind, run.task.about) == ("modular", "x + y mod 113, 30% of 12,769 prompts")
    for k in range(1, 57):
        ours = found["similarity"].sel(irrep=f"k={k}").item()
        assert ours == close(figures[f"logit_freq_{k}_rep_trace_similarity"])
    assert found["logit_fve"].item() == close(figures["percent_logits_explained"])
    named = (source / "key_reps.txt").read_text().split()
    assert [f"freq_{each.removeprefix('k=')}" for each in found["irrep"].values[found["is_key"].values]] == named


def test_the_published_adder_answers_by_the_characters_of_its_five_frequencies(tmp_path):
    """Nanda et al. (2023): k = 6, 23, 37, 39 and 41 are key, and their cosines are 97.5 % of the logits' variance."""
    (run,) = convert(published("progress-measures") / "wd_10-1_mod_addition_loss_curve.pth", tmp_path / "run")
    found = analyze.measure(run.select(last=1), "groups").isel(step=-1)
    assert found["irrep"].values[found["is_key"].values].tolist() == ["k=6", "k=23", "k=37", "k=39", "k=41"]
    assert found["logit_fve"].item() == pytest.approx(0.975, abs=5e-4)
    assert found["hidden_residual"].item() < 0.03
    # 2.4e-7 is the loss of the whole network on all pairs.
    assert found["hidden_restricted_loss"].item() < 2.4e-7 < 5 < found["hidden_excluded_loss"].item()


def chughtais(path, name):
    """A run of the weights that Chughtai et al. (2023) published, its elements numbered as here; and what they measured of it.

    Their product x·y lets x act first: x⁻¹ stands for x. Their split is the first of torch.randperm(n²), seeded.
    """
    folder = published("rep-theory") / name
    theirs = torch.load(folder / "model.pt", weights_only=True, map_location="cpu")
    about = json.loads((folder / "cfg.json").read_text())
    elements = SymmetricGroup(5).generate(method="coset")
    inverse = np.array([[x(point) for point in range(5)] for x in elements]).argsort(axis=1)  # type: ignore
    ours = torch.tensor([groups.permutations(5).tolist().index(row) for row in inverse.tolist()])
    operands = "separate" if "W_x" in theirs else "shared"
    task = GroupTask(group="S5", prompt="ab" if "W_x" in theirs else "ab=", operands=operands)
    spec = TransformerSpec()
    if "W_x" in theirs:
        spec = MlpSpec(inputs="embedded", d_model=256, width=128, act_fn="relu", biases=False)
        weights = {"embed.W_E": torch.cat([theirs["W_x"], theirs["W_y"]]), "unembed.W_U": theirs["W_U"]}
        weights["layers.0.W"] = theirs["W"].unflatten(0, (2, 256))
    else:
        weights = {each: tensor for each, tensor in theirs.items() if each.split(".")[-1][:2] in ("W_", "b_")}
    numbered = weights["embed.W_E"].clone()
    for begin in range(0, len(numbered) // 120 * 120, 120):
        numbered[begin + ours] = weights["embed.W_E"][begin : begin + 120]
    columns = {each: torch.empty_like(weights[each]) for each in ("unembed.W_U", "unembed.b_U") if each in weights}
    for each, tensor in columns.items():
        tensor[..., ours] = weights[each]
    config = tiny_config(task=task, model=spec, train=TrainConfig(steps=1))
    with RunWriter(path, config) as writer:
        writer.checkpoint(0, {**weights, "embed.W_E": numbered, **columns})
    pairs = torch.randperm(120**2, generator=torch.Generator().manual_seed(about["seed"]))
    trained = pairs[: int(about["frac_train"] * 120**2)]
    write_split(path / SPLIT, config.digest, (120 * ours[trained // 120] + ours[trained % 120]).numpy())
    return open_run(path), json.loads((folder / "summary_metrics.json").read_text())


def received_of_a(weights):
    """Shares of W_E·W of the first operand, by irrep, where the network is an MLP."""
    W = weights.get("layers.0.W")
    return None if W is None else irrep_shares(weights["embed.W_E"][:120] @ W[0], S5)


THEIR_NAMES = {"sign": "sign", "standard": "standard", "sign⊗standard": "standard_sign"}


@pytest.mark.parametrize("name", ["S5_T_seed4", "S5_MLP_seed2"])
def test_the_published_networks_on_s5_have_their_published_figures(tmp_path, name):
    """What they call W_U of a transformer is W_out·W_U, W_a of an MLP what its neurons receive of a, and their losses are those
    of the neurons alone."""
    run, theirs = chughtais(tmp_path / "run", name)
    found = analyze.measure(run, "groups").isel(step=0)
    assert found["irrep"].values[found["is_key"].values].tolist() == ["sign", "standard"]
    assert found["logit_fve"].item() == pytest.approx(theirs["percent_logits_explained"], rel=1e-4)
    for irrep, their in THEIR_NAMES.items():
        here, hidden = found.sel(irrep=irrep), found["hidden"].sel(irrep=irrep)
        assert here["similarity"].item() == pytest.approx(theirs[f"logit_{their}_rep_trace_similarity"], abs=1e-5)
        for content, part in (("a", "x"), ("b", "y"), ("ab", "xy")):
            assert hidden.sel(content=content).item() == pytest.approx(
                theirs[f"percent_hidden_{part}_{their}_rep"], abs=1e-4
            )
        received = received_of_a(run.first.weights)
        embedding = here["share"].sel(matrix="W_E") if received is None else received[S5.names.index(irrep) - 1]
        for share, part in ((embedding, "x_embed"), (here["share"].sel(matrix="W_L"), "unembed")):
            trivial = theirs[f"percent_{part}_trivial_rep"]  # counted in their total, and left out of ours
            assert share.item() == pytest.approx(theirs[f"percent_{part}_{their}_rep"] / (1 - trivial), abs=1e-4)
    for which in ("excluded", "restricted"):
        ours = found[f"neurons_alone_{which}_loss"].item()
        assert ours == pytest.approx(theirs[f"total_hidden_{which}_loss"], rel=1e-3)
