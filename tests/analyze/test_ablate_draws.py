"""What an ablation draws in the place of a part: other frequencies and neurons, random functions, other pairs."""

import math

import numpy as np
import pytest
import torch
from hooked_ablations import perturb

from interp import analyze
from interp.analyze.mechanism import ablate
from interp.views.ablatable import Ablatable

P = 11


def test_random_functions_are_orthonormal_and_know_no_direction(of_weights):
    """The squared overlap with any function of mean 0 on d + 1 places is 1 / d in the mean; its variance is a Beta's."""
    draws, d = 400, P - 1
    chosen = ablate.choose(Ablatable.of(of_weights(perturb)), ablate.Options(frequencies=(1,), draws=draws))
    planted = torch.cos(2 * math.pi * 3 * torch.arange(P) / P) + 0.3 * torch.arange(P)
    planted = (planted - planted.mean()) / (planted - planted.mean()).norm()
    overlaps = []
    for draw in range(draws):
        functions = chosen.functions_of_residues(draw, 0)
        torch.testing.assert_close(functions.T @ functions, torch.eye(d), atol=1e-6, rtol=0)
        assert functions.mean(dim=0).abs().max() < 1e-7
        overlaps.append(float(functions[:, 0] @ planted) ** 2)
    spread = math.sqrt(2 * (d - 1) / (d**2 * (d + 2)) / draws)
    assert np.mean(overlaps) == pytest.approx(1 / d, abs=4 * spread)
    pairs = chosen.functions_of_pairs(0)
    torch.testing.assert_close(pairs.T @ pairs, torch.eye(pairs.shape[1]), atol=1e-6, rtol=0)
    assert pairs.mean(dim=0).abs().max() < 1e-7


def test_a_draw_is_the_same_in_whatever_order_it_is_asked_for(of_weights):
    run = of_weights(perturb)
    one, other = (ablate.choose(Ablatable.of(run), ablate.Options(frequencies=(1,), seed=3)) for _ in range(2))
    forwards = [(one.functions_of_pairs(draw), one.pairs(draw), one.functions_of_residues(draw, 0)) for draw in (0, 1)]
    backwards = [
        (other.functions_of_pairs(draw), other.pairs(draw), other.functions_of_residues(draw, 0)) for draw in (1, 0)
    ]
    for mine, theirs in zip(forwards, reversed(backwards), strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(forwards[0][0], forwards[1][0])


def test_others_are_drawn_outside_the_key_ones_while_enough_remain(of_weights):
    run = of_weights(perturb)
    grid = Ablatable.of(run)
    few = ablate.choose(grid, ablate.Options(frequencies=(1, 3), repeats=50))
    assert {k for draw in few.drawn for k in draw} == {2, 4, 5}
    many = ablate.choose(grid, ablate.Options(frequencies=(1, 2, 3), repeats=50))
    assert {k for draw in many.drawn for k in draw} == {1, 2, 3, 4, 5}
    assert all(len(set(draw)) == 3 for draw in many.drawn)


def test_draws_are_told_and_follow_the_seed(of_weights):
    run = of_weights(perturb)
    once, again, other = (analyze.measure(run, "ablate", repeats=3, frequencies=(2,), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once["random_loss"], again["random_loss"])
    assert (once["random_loss"] != other["random_loss"]).any()
    assert (once["drawn"].sum("freq") == 1).all()
    assert not once["drawn"].sel(freq=2).any()


def test_fewer_repeats_are_the_first_of_more(of_weights):
    run = of_weights(perturb)
    three, two = (analyze.measure(run, "ablate", repeats=n, frequencies=(2,)) for n in (3, 2))
    np.testing.assert_array_equal(three["random_loss"].sel(repeat=[0, 1]), two["random_loss"])
    three, two = (analyze.measure(run, "ablate", repeats=1, draws=n, frequencies=(2,)) for n in (3, 2))
    for name in ("random_energy_loss", "resample_loss"):
        np.testing.assert_array_equal(three[name].sel(draw=[0, 1]), two[name])


def test_fewer_checkpoints_and_more_threads_give_the_same_numbers(tiny):
    options = {"repeats": 2, "frequencies": (1, 2)}
    whole = analyze.measure(tiny, "ablate", **options)
    part = analyze.measure(tiny.select(every=2), "ablate", **options)
    torch.set_num_threads(2)
    try:
        threads = analyze.measure(tiny, "ablate", **options)
    finally:
        torch.set_num_threads(1)
    same = [name for name in part.data_vars if part[name].dtype.kind == "f"]
    for name in same:
        if "cluster" not in str(name):
            np.testing.assert_array_equal(part[name], whole[name].sel(step=part["step"].values), err_msg=str(name))
        np.testing.assert_array_equal(threads[name], whole[name], err_msg=str(name))
