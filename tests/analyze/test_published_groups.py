"""Figures that Chughtai et al. (2023) published beside their weights, by `groups`; each definition that differs is named."""

import json

import pytest
import torch
from helpers import needs_published, published

from interp import analyze
from interp.maths import groups, irreps
from interp.maths.losses import cross_entropy
from interp.models.network import over
from interp.store.foreign.convert import convert

pytestmark = needs_published

SIGNED = next(
    name for name in irreps.real_irreps(groups.symmetric(5), "S5").names if {*name.split("⊗")} == {"sign", "standard"}
)
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
    group, weights = irreps.real_irreps(run.task.products(), run.task.group), run.final.weights
    if run.config.model.kind == "mlp":
        embedded = weights["embed.W_E"][:120] @ weights["layers.0.W"][0]
        shares = dict(zip(group.names[1:], irreps.irrep_shares(embedded, group).tolist(), strict=True))
    else:
        shares = {name: found["share"].sel(matrix="W_E", irrep=name).item() for name in IRREPS.values()}
    varying = 1 - figures["percent_x_embed_trivial_rep"]
    for theirs, ours in IRREPS.items():
        assert varying * shares[ours] == close(figures[f"percent_x_embed_{theirs}_rep"])


def test_the_unembedding_has_as_much_of_each_irrep(measured):
    """Of a transformer theirs is W_L = W_out·W_U; `share` of W_U is of W_U itself."""
    run, found, figures = measured
    group, weights = irreps.real_irreps(run.task.products(), run.task.group), run.final.weights
    if run.config.model.kind == "mlp":
        shares = {name: found["share"].sel(matrix="W_U", irrep=name).item() for name in IRREPS.values()}
    else:
        W_L = weights["blocks.0.mlp.W_out"] @ weights["unembed.W_U"]
        shares = dict(zip(group.names[1:], irreps.irrep_shares(W_L.T, group).tolist(), strict=True))
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
