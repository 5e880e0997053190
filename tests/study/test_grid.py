"""Many configurations from one."""

import pytest
from helpers import tiny_config

from interp.base import UserError
from interp.recipe import Seeds
from interp.study.grid import grid, parse_axis


def test_a_grid_is_every_combination_by_name():
    found = grid(tiny_config(), seeds=2, vary={"train.weight_decay": ["0.3", "1"], "task.operation": ["add"]})
    assert list(found) == [f"weight_decay={wd}+operation=add+seed={seed}" for wd in ("0.3", "1") for seed in (0, 1)]
    last = found["weight_decay=1+operation=add+seed=1"]
    assert (last.train.weight_decay, last.seeds) == (1.0, Seeds(split=1, model=1, order=1, noise=1, labels=1))
    assert last.name == "tiny+weight_decay=1+operation=add+seed=1"
    assert last.train.lr == tiny_config().train.lr


def test_seeds_are_fields_that_can_be_crossed():
    found = grid(tiny_config(), vary={"seeds.split": ["0", "1"], "seeds.model": [0, 1, 2]})
    assert list(found) == [f"split={split}+model={model}" for split in (0, 1) for model in (0, 1, 2)]
    assert {(config.seeds.split, config.seeds.model) for config in found.values()} == {
        (split, model) for split in (0, 1) for model in (0, 1, 2)
    }
    assert {config.seeds.order for config in found.values()} == {0}


def test_names_of_a_grid_are_plain_and_tell_the_seed():
    base = tiny_config(seeds=Seeds(model=5))
    assert list(grid(base, seeds=2)) == ["seed=5", "seed=6"]
    (name,) = grid(base, vary={"train.betas": [(0.9, 0.98)]})
    assert name == "betas=0.9_0.98"


def test_a_grid_refuses_in_one_sentence():
    for vary, words in [
        ({"train.weigth_decay": ["1"]}, 'no field "train.weigth_decay" to vary; did you mean "train.weight_decay"?'),
        ({"train.lr": ["fast"]}, "lr is 'fast'; it should be a number"),
        ({"train.lr": ["1e-3", "0.001"]}, "lr=0.001+seed=0 is the same run as lr=1e-3+seed=0; give each value once"),
        ({"train.lr": []}, "train.lr has no values to vary; give at least one"),
        (
            {f"train.{name}": ["0.125"] for name in ("lr", "weight_decay", "eps", "momentum")}
            | {"task.train_fraction": ["0.5"], "model.init_scale": ["0.5"], "train.warmup_steps": ["3"]},
            "has more than 100 characters; vary fewer fields",
        ),
    ]:
        with pytest.raises(UserError) as refused:
            grid(tiny_config(), seeds=2, vary=vary)
        assert words in str(refused.value)
    with pytest.raises(UserError, match="number of seeds is 0"):
        grid(tiny_config(), seeds=0)
    for words in ("train.lr", "train.lr=", "train.lr=1,,2"):
        with pytest.raises(UserError, match="write a field and its values"):
            parse_axis(words)
    assert parse_axis("train.weight-decay=0.3,1") == ("train.weight_decay", ["0.3", "1"])


def test_an_axis_takes_whole_numbers_with_an_exponent():
    field, values = parse_axis("train.steps=1e3,2000")
    found = grid(tiny_config(), vary={field: values})
    assert [config.train.steps for config in found.values()] == [1_000, 2_000]
    large = grid(tiny_config(), vary={"train.lr": ["1e30"]})["lr=1e30"]  # a rate is no whole number
    assert large.train.lr == 1e30
