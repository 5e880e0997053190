"""The studies of deep double descent at their small size, and what they compute beside their runs."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from study_scripts import load, small

import interp
from interp.maths.wide import relu_kernels
from interp.models.network import initial_weights, symmetries
from interp.train.align import aligned
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


def test_published_figures_stand_beside_ours_of_the_same_width():
    theirs = pd.DataFrame(
        {"peak": [0.5], "peak_width": [8], "end": [0.2], "test_loss_peak": [3.0], "test_loss_peak_width": [16]}
        | {"valley": [np.nan], "valley_width": [np.nan]},
        index=pd.Index([0.2], name="noise"),
    )
    rows = [
        {"noise": noise, "width": width, "test_error": error + off, "test_loss": 10 * error + off}
        for noise in (0.0, 0.2)
        for width, error in ((8, 0.4 + noise), (100, 0.2))
        for off in (-0.1, 0.0, 0.1)
    ]
    found = load("model_wise").beside(pd.DataFrame(rows), theirs)
    assert list(found.index) == [(0.2, "peak"), (0.2, "end")]  # no valley was published, and no run has width 16
    assert found.loc[(0.2, "peak"), ["width", "mean", "sd", "published"]].tolist() == pytest.approx([8, 0.6, 0.1, 0.5])
    assert found["sd away"].tolist() == pytest.approx([-1, 0])


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


@pytest.mark.slow
def test_sample_wise(tmp_path):
    tables, results = small("sample_wise", tmp_path)
    ends = tables["by_size"].set_index(["noise", "width", "examples"])
    assert ends.loc[(0.0, 60, 800), "test_error"] < ends.loc[(0.0, 60, 100), "test_error"] - 0.05  # more examples help
    assert abs(ends.loc[(0.9, 60, 800), "test_error"] - 0.9) < 0.05  # and tell nothing where labels are by chance
    assert (ends.loc[(0.2, 4, 800), "train_error"] > 0.1) and (ends.loc[(0.2, 60, 100), "train_error"] < 0.01)
    few = ends.xs(800, level="examples")  # as many passes as all updates make over the largest set
    assert few["test_error"].tolist() == few["test_error_as_many_passes"].tolist()
    thresholds = tables["thresholds"].set_index(["noise", "width"])
    assert thresholds.loc[(0.2, 60), "fits"] >= 100
    assert (results / "sample_wise.png").stat().st_size > 10_000


@pytest.mark.slow
def test_last_layer(tmp_path):
    tables, results = small("last_layer", tmp_path)
    ends = tables["by_width"].set_index(["network", "noise", "others", "swept", "width"]).loc["two layers, digits", 0.2]
    # Networks of the same widths are one and the same, whichever was swept to come there.
    assert ends.loc[(64, "first", 64)].equals(ends.loc[(64, "last", 64)])
    assert ends.loc[(64, "first", 64)].equals(ends.loc[(0, "all", 64)])
    # 64 pixels and ten classes: weights and biases of two layers and the readout.
    assert ends.loc[(64, "first", 12), "parameters"] == 65 * 12 + 13 * 64 + 65 * 10
    assert ends.loc[(64, "last", 12), "parameters"] == 65 * 64 + 65 * 12 + 13 * 10
    assert (ends["train_error"].xs(1, level="width") > 0.5).all()
    assert set(tables["falls"]["swept"]) <= {"first", "last", "all"}
    for name in ("last_layer", "by_parameters"):
        assert (results / f"{name}.png").stat().st_size > 10_000


def test_noise_in_the_images_is_asked_of_the_same_sweeps(monkeypatch):
    monkeypatch.setitem(sys.modules, "study", load("last_layer"))
    study = load("last_layer", "in_the_images")
    configs = study.configs(False)
    assert {config.task.pixel_noise for config in configs.values()} == {study.PIXEL_NOISE}
    assert {config.corruption.share for config in configs.values()} == {0.0, study.NULL}
    widths = {config.model.widths for config in configs.values() if not config.corruption}
    assert {(width, 64) for width in study.WIDTHS} | {(12, width) for width in study.WIDTHS} <= widths


def test_falls_beyond_the_threshold_are_tested_from_there_on():
    """Error that falls to its threshold and stays has no second descent; one that peaks there and falls has."""
    study, numbers = load("last_layer"), np.random.default_rng(0)
    widths = [1, 4, 16, 64, 256, 512]
    curves = {"first": [0.5, 0.2, 0.4, 0.3, 0.2, 0.1], "last": [0.5, 0.4, 0.2, 0.2, 0.2, 0.2]}
    rows = [
        {
            "network": "MLP", "noise": 0.2, "others": 64, "swept": swept, "width": width,
            "train_error": 0.3 if width < 16 else 0.0,
            **dict.fromkeys(study.MEASURES, error + 0.002 * numbers.standard_normal()),
        }
        for swept, curve in curves.items()
        for width, error in zip(widths, curve, strict=True)
        for _ in range(4)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    found = study.peaks(table, "width", list(study.MEASURES), each=study.CELL, fits="train_error")
    falls = study.falls(table, found).xs("test_error", level="what").droplevel(["network", "noise", "others"])
    assert (falls.loc["first", ["from", "to"]] == [16, 512]).all() and falls.loc["first", "p_value"] < 1e-3
    assert falls.loc["first", "height"] == pytest.approx(0.3, abs=0.01)
    assert falls.loc["last", "p_value"] > 0.05


@pytest.mark.slow
def test_one_model_at_the_threshold(tmp_path):
    tables, results = small("one_model_at_the_threshold", tmp_path)
    cells = tables["by_width"].set_index(["differ_in", "noise", "width"])
    assert (cells["least"] <= cells["disagreement"]).all()
    assert (cells["aligned_distance"] <= cells["distance"] + 1e-9).all()
    fitted = cells.xs(128, level="width")
    assert (fitted["train_error"] < 0.01).all() and (fitted["wrong labels: disagreement"] < 0.02).all()
    weights, order = (cells.loc[arm, 0.2] for arm in ("initial weights", "order of batches"))
    assert (order["untrained_distance"] == 0).all() and (order["distance"] < weights["distance"]).all()
    assert (order["normalised"] < weights["normalised"]).all()  # networks that begin alike differ less
    paths = (
        tables["paths"].set_index(["differ_in", "noise", "width", "path"])["train_loss_barrier"].xs(128, level="width")
    )
    assert paths["initial weights", 0.2, "aligned curve"] < 0.02 < paths["initial weights", 0.2, "aligned line"]
    compared = tables["threshold"].set_index(["differ_in", "noise", "what"])
    assert compared.loc[("initial weights", 0.2, "normalised disagreement"), "below less at"] > 0
    assert (results / "one_model_at_the_threshold.png").stat().st_size > 10_000


@pytest.mark.parametrize("size", [False, True])
def test_networks_of_a_cell_differ_in_one_seed_alone_and_have_the_same_labels(size):
    study = load("one_model_at_the_threshold")
    configs = study.configs(size)
    cells = study.cells({name: SimpleNamespace(config=config) for name, config in configs.items()})
    assert {run.config.name for each in cells.values() for run in each} == set(configs)
    for key, each in cells.items():
        varied = "model" if key.differ_in == study.WEIGHTS else "order"
        seeds = [run.config.seeds.model_dump() for run in each]
        assert [seed.pop(varied) for seed in seeds] == list(range(3 if size else 5))
        plain = {"name": "one", "seeds": each[0].config.seeds}
        assert len({run.config.but(**plain) for run in each}) == 1 and all(seed == seeds[0] for seed in seeds)
    of_one = [run.config.split().train for run in next(iter(cells.values()))]
    assert all(
        (train.targets == of_one[0].targets).all() and (train.inputs == of_one[0].inputs).all() for train in of_one
    )


def test_the_distance_of_weights_is_0_of_one_network_1_of_orthogonal_ones_and_knows_no_order_of_neurons_when_aligned():
    study, spec = load("one_model_at_the_threshold"), interp.MlpSpec(inputs="vectors", width=6, biases=True)
    shape = interp.preset("digits-width").config.task.shape
    one = {name: tensor.double() for name, tensor in initial_weights(spec, shape, seed=0).items()}
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    moved = one | {
        "layers.0.W": one["layers.0.W"][:, order],
        "layers.0.b": one["layers.0.b"][order],
        "unembed.W_U": one["unembed.W_U"][order],
    }
    assert study.distance(one, one) == 0
    assert study.distance(one, {name: 3 * tensor for name, tensor in one.items()}) == pytest.approx(2 / 10**0.5)
    apart = {name: torch.zeros_like(tensor) for name, tensor in one.items()}
    apart["unembed.b_U"] = torch.ones_like(one["unembed.b_U"])
    assert study.distance(one | {"unembed.b_U": torch.zeros(10)}, apart) == pytest.approx(1)
    assert study.distance(one, moved) > 0.5
    assert study.distance(one, aligned(one, moved, symmetries(spec, shape))[0]) == pytest.approx(0, abs=1e-12)


def test_a_dip_or_a_hump_at_the_threshold_is_told_from_a_slope():
    study = load("one_model_at_the_threshold")
    widths, rows = [2, 4, 8, 16, 32, 64], pd.MultiIndex.from_product
    curves = {0.0: [5, 5, 4, 1, 4, 5], 0.2: [1, 1, 3, 5, 3, 1], 0.4: [7, 6, 5, 4, 2, 1], 0.6: [3, 3, 3, 3, 3, 3]}
    errors = pd.Series(
        np.tile(np.repeat([0.5, 0.3, 0.1, 0.0, 0.0, 0.0], 2), 4),
        index=rows([[study.WEIGHTS], curves, np.repeat(widths, 2)], names=[*study.CELL, "width"]),
        name="train_error",
    )
    cells = pd.DataFrame(index=rows([[study.WEIGHTS], curves, widths], names=[*study.CELL, "width"]))
    for name in study.STATISTICS:
        cells = cells.assign(**{name: np.concatenate(list(curves.values())) / 10, f"{name} ±": 0.02}, networks=5)
    found = study.beside_the_threshold(cells, errors).loc[study.WEIGHTS]
    assert (found["threshold"] == 16).all()
    told = found.xs("normalised disagreement", level="what")["answer"]
    assert told.to_list() == ["least at the threshold", "most at the threshold", "neither", "neither"]
    assert found.loc[(0.0, "disagreement"), "below less at"] == pytest.approx((0.5 + 0.5 + 0.4) / 3 - 0.1)


@pytest.mark.slow
def test_epoch_wise(tmp_path):
    tables, results = small("epoch_wise", tmp_path)
    stages = tables["stages"].set_index(["group", "arm", "curve"]).loc["digits, MLP"]
    wrong, right, chance = (stages.loc[arm] for arm in ("Adam, .001", "Adam, .001, all right", "labels by chance"))
    for curve in ("test error", "test loss, nats"):
        assert (wrong.loc[curve, ["simple generalisation", "memorisation"]] == 2).all()
        assert right.loc[curve, ["simple generalisation", "memorisation"]].tolist() == [2, 0]
    assert chance.loc["test loss, nats", "memorisation"] == 2
    stopped = tables["early_stopping"].set_index(["group", "arm"]).loc[("digits, MLP", "Adam, .001")]
    assert stopped["train_error"] < 0.01 and stopped["best_test_error"] < stopped["test_error"] - 0.05
    assert (results / "epoch_wise.png").stat().st_size > 10_000


def test_a_consolidation_counts_beyond_its_null_only_if_it_is_higher_than_all_of_it():
    heights = {"labels by chance": [0.02, np.nan], "Adam, .001": [0.01, 0.03], "SGD, .1": [np.nan, 0.5]}
    rows = [
        {"group": "digits, MLP", "arm": arm, "curve": "test error", "consolidation height": height}
        for arm, each in heights.items()
        for height in each
    ]
    rows.append(rows[-1] | {"group": "no null here"})
    found = load("epoch_wise").with_null(pd.DataFrame(rows))["consolidation beyond null"]
    assert found.tolist() == [0, 0, 0, 1, 0, 1, 0]


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
        "SGD, far": [None, None, None, 0.0, 0.0, 0.0],
    }
    rows = [
        {"recipe": recipe, "noise": 0.2, "width": width, "train_error": error, "test_error": 0.5}
        for recipe, each in errors.items()
        for width, error in zip(widths, each, strict=True)
        if error is not None
    ]
    beyond = load("second_rise").beyond(pd.DataFrame(rows))
    assert beyond[["recipe", "width"]].to_numpy().tolist() == [
        [recipe, width] for recipe in ("Adam", "SGD, far") for width in (32, 64, 128)
    ]


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
