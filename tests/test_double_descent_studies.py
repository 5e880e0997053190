"""The studies of deep double descent at their small size, and what they compute beside their runs."""

import pandas as pd
import pytest
import torch
from study_scripts import load, small

import interp
from interp.maths.wide import relu_kernels
from interp.train.learner import Learner


@pytest.mark.slow
def test_model_wise(tmp_path):
    tables, results = small("model_wise", tmp_path)
    ends = tables["by_width"].set_index(["noise", "width"])
    assert ends.loc[(0.4, 2), "train_error"] > 0.3 and ends.loc[(0.4, 64), "train_error"] < 0.02
    assert ends.loc[(0.4, 64), "train_corrupted_accuracy"] > 0.95
    assert ends.loc[(0.4, 4), "train_recovered_accuracy"] > ends.loc[(0.4, 64), "train_recovered_accuracy"] + 0.3
    peaks = tables["peaks"].set_index(["noise", "what"])
    assert peaks.loc[(0.4, "test_error"), "p_value"] < 0.05 < peaks.loc[(0.0, "test_error"), "p_value"]
    assert peaks.loc[(0.0, "test_error"), "threshold"] < 64
    assert (results / "model_wise.png").stat().st_size > 10_000


@pytest.mark.slow
def test_second_rise(tmp_path):
    tables, results = small("second_rise", tmp_path)
    ends = tables["by_width"].set_index(["recipe", "noise", "width"])
    assert (ends.xs(256, level="width")["train_error"] < 0.05).all()  # far beyond the threshold every recipe fits
    assert ends.loc[("Adam, one rate", 0.2, 4), "train_error"] > 0.2
    limits = tables["infinite_width"].set_index(["kernel", "penalty", "noise"])
    assert (limits.xs(0.0, level="penalty")["train_error"] == 0).all()
    assert set(tables["second_rise"]["recipe"]) == {"Adam, one rate"}  # the only one of three widths beyond
    features = tables["random_features"].set_index(["noise", "penalty", "features"])["test_error"]
    assert features[0.2, 0.0, 200] > features[0.2, 0.0, 4_000] + 0.2  # as many features as examples: the peak
    for name in ("second_rise", "random_features"):
        assert (results / f"{name}.png").stat().st_size > 10_000


def test_many_random_features_have_the_kernel_of_infinite_width():
    study, generator = load("second_rise"), torch.Generator().manual_seed(0)
    x, asked = (torch.rand(n, 16, generator=generator, dtype=torch.float64) for n in (6, 4))
    data = study.Data(x, asked, torch.zeros(4, dtype=torch.long), {0.0: torch.zeros(6, dtype=torch.long)})
    limit = relu_kernels(torch.cat([x, asked]), x).last
    scale = limit.diagonal().mean()
    few, many = (torch.cat(kernels) for kernels in study.kernels_of_features(data, [100, 100_000], seed=0))
    # Each is a mean over features of a spread of about twice its size: errors of 2/√100 and of 2/√100,000.
    assert (many - limit).abs().max() / scale < 0.03 < (few - limit).abs().max() / scale


def test_the_runs_beyond_are_those_of_twice_the_width_that_fits():
    widths = [4, 8, 16, 32, 64, 128]
    errors = {
        "Adam": [0.5, 0.2, 0.005, 0.0, 0.0, 0.0],
        "SGD": [0.5, 0.4, 0.3, 0.2, 0.1, 0.05],
        "Muon": [0.5, 0.4, 0.3, 0.0, 0.0, 0.0],
    }
    rows = [
        {"recipe": recipe, "noise": 0.2, "width": width, "train_error": error}
        for recipe, each in errors.items()
        for width, error in zip(widths, each, strict=True)
    ]
    beyond = load("second_rise").beyond(pd.DataFrame(rows))
    assert beyond[["recipe", "width"]].to_numpy().tolist() == [["Adam", 32], ["Adam", 64], ["Adam", 128]]


def test_runs_at_the_base_width_count_for_both_recipes_that_they_are_of():
    study = load("second_rise")
    labels = {word: recipe.label for word, recipe in study.RECIPES.items()}
    rows = [
        {"recipe": labels["adam"], "noise": noise, "width": width, "seed": 0}
        for noise in (0.0, 0.2)
        for width in (32, study.BASE)
    ]
    rows.append({"recipe": labels["adam-mup"], "noise": 0.2, "width": 512, "seed": 0})
    found = study.with_shared(pd.DataFrame(rows))
    mine = found[found["recipe"] == labels["adam-mup"]]
    assert sorted(mine["width"]) == [study.BASE, 512] and set(mine["noise"]) == {0.2}


def how_far_neurons_move(recipe, width, steps=40):
    """Root mean square of the change of what neurons receive."""
    base = interp.preset("digits-width").config
    train = base.train.but(**recipe.at(width))
    learner = Learner.make([base.but(model=base.model.but(width=width), train=train)], "cpu")
    first = {name: learner.weights[name].detach().clone() for name in ("layers.0.W", "layers.0.b")}
    for step in range(steps):
        learner.update(step)
    W, b = (learner.weights[name].detach()[0] - before[0] for name, before in first.items())
    return float((torch.from_numpy(learner.examples[0].inputs) @ W + b).square().mean().sqrt())


def test_the_recipes_are_what_they_are_called():
    """By µP neurons move as far at 1,024 as at 64, and by a rate that goes with 1/width ever less."""
    recipes, wide = load("second_rise").RECIPES, 16 * load("second_rise").BASE
    far = {
        word: how_far_neurons_move(recipe, wide) / how_far_neurons_move(recipe, 64) for word, recipe in recipes.items()
    }
    assert 0.5 < far["adam-mup"] < 2
    assert 0.5 < far["sgd-mup"] < 2
    assert far["sgd"] < 0.3
