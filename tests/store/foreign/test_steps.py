"""After how many updates weights are: a counter inside the file, then a word in its name, else the user."""

import pytest
import torch
from helpers import origin
from store.foreign.test_nothing_dropped import notes, saved, weights

from interp.base import UserError
from interp.cli.convert import main
from interp.store import CheckpointError
from interp.store.foreign.convert import convert
from interp.store.foreign.steps import name_without_step, stated_by_name, stated_inside


@pytest.mark.parametrize(
    ("stem", "step"),
    [
        ("model_step900", 900), ("Step-900", 900), ("global_step900", 900), ("epoch_012", 12), ("modelEpoch12", 12),
        ("ckpt.7", 7), ("checkpoint-500", 500), ("iter 30", 30), ("iteration_3_seed5", 3), ("000900", 900),
        ("epoch=12-step=3400", 3400), ("step900_acc0.997", 900), ("model_init", 0), ("STEP=4", 4), ("it40", 40),
        ("grok_p53", None), ("model_900_acc0.997", None), ("seed42", None), ("model_900", None), ("0.3", None),
        ("step1.5", None), ("timestep9", None), ("step10k", None), ("final", None), ("initiative7", None), ("lr1e-3", None),
    ],
)  # fmt: skip
def test_a_number_in_a_name_is_a_step_only_by_its_word_or_alone(stem, step):
    found = stated_by_name(stem)
    assert (found.step if found else None) == step


@pytest.mark.parametrize(
    ("beside", "step"),
    [
        ({"step": 7, "epoch": 3}, 7),
        ({"global_step": torch.tensor(7)}, 7),
        ({"iteration": 7.0}, 7),
        ({"epoch": 3}, 3),
        ({"epoch": 3, "optimizer_state_dict": {"state": {0: {"step": torch.tensor(7.0)}, 1: {"step": 7}}}}, 7),
        ({"epoch": 3, "optimizer": {"state": {0: {"step": 7}, 1: {"step": 8}}}}, 3),
        ({"epochs": 50_000, "n_steps": 9, "step": True}, None),
        ({"step": -1, "epoch": 0.5}, None),
    ],
)
def test_updates_go_before_the_count_of_the_optimiser_and_that_before_epochs(beside, step):
    found = stated_inside(beside)
    assert (found.step if found else None) == step


def test_the_counter_inside_goes_before_the_name(tmp_path):
    path = saved(tmp_path, "step900.pt", {"model": weights(), "step": 1_000})
    assert convert(path, tmp_path / "x")[0].steps == (1_000,)


@pytest.mark.parametrize("name", ["grok_p53.pt", "model_900_acc0.997.pt", "model.pt"])
def test_a_step_that_nothing_states_stays_unknown_and_is_asked_for(tmp_path, name):
    path = saved(tmp_path, name, weights())
    (run,) = convert(path, tmp_path / "x")
    assert "step" in origin(run).unknown
    assert (
        f"{name} does not say after how many updates its weights are: step 0 stands for that; give --step N"
        in notes(run)
    )
    assert main([str(path), "--out", str(tmp_path / "y"), "--step", "53"]) == 0
    (run,) = convert(path, tmp_path / "z", step=53)
    assert run.steps == (53,)
    assert "step" not in origin(run).unknown


def test_a_step_that_contradicts_the_file_is_told(tmp_path):
    (run,) = convert(saved(tmp_path, "a.pt", {"model": weights(), "step": 7}), tmp_path / "x", step=8)
    assert run.steps == (8,)
    assert "step 8 is given, where a.pt says 7 (step)" in notes(run)


def test_a_folder_of_seeds_is_several_runs(tmp_path):
    for seed in (42, 43, 44):
        saved(tmp_path / "seeds", f"seed{seed}.pt", weights(seed))
    runs = convert(tmp_path / "seeds", tmp_path / "x")
    assert [run.path.name for run in runs] == ["seed42", "seed43", "seed44"]
    for run, seed in zip(runs, (42, 43, 44), strict=True):
        assert torch.equal(run.final.weights["embed.W_E"], weights(seed)["embed.W_E"])


def test_seeds_at_several_steps_are_a_run_each_with_its_steps(tmp_path):
    for seed in (1, 2):
        for step in (0, 50):
            saved(tmp_path / "grid", f"s{seed}_acc0.{step + 10}_step{step}.pt", weights(100 * seed + step))
    runs = convert(tmp_path / "grid", tmp_path / "x")
    assert [(run.path.name, run.steps) for run in runs] == [("s1", (0, 50)), ("s2", (0, 50))]


def test_numbers_that_may_be_steps_are_asked_for_and_told_by_a_pattern(tmp_path):
    for number in (200, 1000):
        saved(tmp_path / "run", f"model2_{number}.pt", weights(number))
    with pytest.raises(UserError, match=r"model2_200\.pt and model2_1000\.pt, which .* give --step model2_STEP\.pt"):
        convert(tmp_path / "run", tmp_path / "x")
    (run,) = convert(tmp_path / "run", tmp_path / "x", step="model2_STEP.pt")
    assert run.steps == (200, 1000)


def test_numbers_that_only_count_are_one_run_if_the_files_state_ascending_steps(tmp_path):
    for number in (1, 2, 3):
        saved(tmp_path / "run", f"model_{number}.pt", {"model": weights(number), "step": 100 * number})
    assert convert(tmp_path / "run", tmp_path / "x")[0].steps == (100, 200, 300)


def test_two_different_networks_of_one_step_are_refused_by_their_names(tmp_path):
    for name in ("model_step7.pt", "model_final.pt"):
        saved(tmp_path / "run", name, {"model": weights(ord(name[6])), "step": 7})
    with pytest.raises(CheckpointError, match=r"model_step7\.pt and model_final\.pt have different weights for step 7"):
        convert(tmp_path / "run", tmp_path / "x")


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("8", "--step 8 cannot be used: .*run has weights of steps 1, 2; leave it out"),
        ("x_STEP.pt", "--step x_STEP.pt cannot be used: .*run has no weights in a file of such a name"),
        ("soon", "give the number of updates, or the files' names with STEP for it"),
        ("-3", "give the number of updates"),
    ],
)
def test_a_step_that_cannot_be_used_is_refused(tmp_path, step, says):
    for number in (1, 2):
        saved(tmp_path / "run", f"{number}.pt", weights(number))
    with pytest.raises(UserError, match=says):
        convert(tmp_path / "run", tmp_path / "x", step=step)


def test_the_name_of_a_run_is_what_stands_beside_step_and_rating():
    assert name_without_step("seed1_step100_loss0.25", set()) == "seed1"
    assert name_without_step("model_final", set()) == "model"
    assert name_without_step("best", set()) == name_without_step("000900", set()) == ""
    assert name_without_step("model_900_acc0.997", {900}) == "model"
