"""`examples` against the networks' own answers, and on answers that are planted."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from helpers import tiny_config

from interp import analyze
from interp.analyze.learning.examples import PAIRS, Each
from interp.base import DoesNotApply
from interp.models import ToySpec, TransformerSpec
from interp.recipe import TrainConfig
from interp.store.between import Curve
from interp.tasks import AdditionTask, Corruption, JointTask, ModularTask, SparseFeaturesTask
from interp.train.connect import connect
from interp.train.loop import train
from interp.views.examples import EachExample


def answers(run, inputs):
    """Largest output of the network with hooks, at every checkpoint: [step, n, …]."""
    with torch.inference_mode():
        return torch.stack([each.model(inputs)[:, -1].argmax(dim=-1) for each in run]).numpy()


def test_examples_are_learned_when_the_network_answers_them(tmp_path):
    """Also where labels were wrong: what is right is the right answer."""
    run = train(tiny_config(corruption=Corruption(labels=9), train=TrainConfig(steps=60, lr=0.01)), tmp_path / "x")
    found = analyze.measure(run, "examples", in_a_row=2)
    table, train_index = run.task.table(), run.split.train_index
    order = np.concatenate([train_index, np.setdiff1d(np.arange(len(table)), train_index)])
    right = (answers(run, table.inputs) == table.targets)[:, order]
    steps = np.array(run.steps)
    for example in range(len(table)):
        stays = [
            step for step, now, then in zip(steps, right[:-1, example], right[1:, example], strict=False) if now & then
        ]
        assert found["learned"].values[example] == (stays[0] if stays else pytest.approx(np.nan, nan_ok=True))
    assert found["trained"].values.sum() == len(train_index)
    np.testing.assert_array_equal(found["class_of_example"], table.targets[order])
    np.testing.assert_array_equal(found["first_of_example"], table.inputs[order, 0])
    np.testing.assert_array_equal(found["second_of_example"], table.inputs[order, 1])
    shares = found["share_learned"].sel(examples="train").values
    np.testing.assert_allclose(shares[-1], found["learned"].values[: len(train_index)].__le__(60).mean())


@pytest.fixture
def seen(tiny):
    """The tiny run, whose checkpoints are at 0, 1, 2, 5, 10, 20, 30 and 40."""
    return EachExample.of(tiny)


def planted(seen, at):
    """Each example right from a step of its own on."""
    return Each(seen, np.array(seen.run.steps)[:, None] >= np.asarray(at)[None], in_a_row=1)


def test_what_is_learned_class_by_class_is_told_by_the_class_alone(seen):
    steps = np.array(seen.run.steps)
    each = planted(seen, steps[seen.classes_of % 4 + 2])  # 2, 5, 10 and 20
    medians = each.of_groups["class_learned"][:, :, 1]
    np.testing.assert_array_equal(medians, [steps[np.arange(11) % 4 + 2]] * 2)
    told = each.of_groups["explained"]
    assert told[1, 0] == pytest.approx(1)
    chance = each.of_groups["explained_by_chance"]
    assert (told[1, 1:] < 4 * chance[1, 1:]).all()
    assert chance[1, 0] == pytest.approx(10 / (61 - 1))


def test_mirrored_pairs_that_are_learned_together_have_no_gap_where_chance_has_one(seen):
    steps, (x, y) = np.array(seen.run.steps), seen.values
    each = planted(seen, steps[(x + y + x * y) % 7])
    assert (each.of_pairs["pair_gap"] == 0).all()
    assert (each.of_pairs["pair_gap_by_chance"][:, 1] > 0).all()
    assert sum(each.counts) == 55
    for (one, other), trained in zip(each.pairs, (2, 1, 0), strict=True):
        np.testing.assert_array_equal((x[one], y[one]), (y[other], x[other]))
        assert (seen.trained[one].astype(int) + seen.trained[other] == trained).all()
    apart = planted(seen, np.where(x < y, 5, 20)).of_pairs
    np.testing.assert_array_equal(apart["pair_gap"], np.full((3, 3), 15))


def test_what_is_never_learned_counts_as_later_than_the_last_step(seen):
    each = planted(seen, np.where(seen.trained, 5, 99))
    np.testing.assert_array_equal(each.of_sets["set_learned"], [[5, 5, 5], [np.nan] * 3])
    assert each.of_sets["share_learned"][-1].tolist() == [1, 0]
    gaps = dict(zip(PAIRS, each.of_pairs["pair_gap"][:, 1], strict=True))
    assert gaps["both trained"] == 0
    assert np.isnan([gaps["one trained"], gaps["neither trained"]]).all()


def test_a_prompt_with_several_answers_is_right_when_all_are(tmp_path):
    model = TransformerSpec(n_heads=2, d_model=16, d_head=8, d_mlp=24)
    task = AdditionTask(digits=2, examples=200, test_examples=30)
    how = TrainConfig(steps=300, lr=0.01, batch_size="full")
    run = train(tiny_config(task=task, model=model, train=how), tmp_path / "x")
    found, seen = analyze.measure(run, "examples", in_a_row=1), EachExample.of(run)
    right = seen.right(run.final.weights).numpy()
    accuracy = run.history["train_accuracy"].iloc[-1]  # of single digits
    assert 0 < right[:200].mean() < accuracy
    assert set(found.data_vars).isdisjoint({"class_learned", "first_learned", "pair_gap"})
    np.testing.assert_array_equal(found["for_good"].notnull(), right)
    assert isinstance(analyze.draw(found), go.Figure)


def test_joint_operations_have_mirrored_pairs_and_no_table_of_two_numbers(tmp_path):
    task = JointTask(operations=("add", "subtract"), p=7, train_fraction=0.5)
    run = train(tiny_config(task=task, train=TrainConfig(steps=2)), tmp_path / "x")
    found = analyze.measure(run, "examples")
    assert int(found["pairs"].sum()) == 21  # x + y alone is symmetric
    assert "first_learned" not in found
    assert not analyze.draw(found).frames


def test_the_slider_fills_the_table(tiny):
    found = analyze.measure(tiny, "examples", in_a_row=1)
    figure = analyze.draw(found)
    frames: Any = figure.frames
    filled = [np.isfinite(np.asarray(frame.data[0].z, dtype=float)).sum() for frame in frames]
    assert filled == [int((found["learned"] <= step).sum()) for step in found["step"].values]
    square: Any = next(iter(figure.select_traces({"type": "heatmap"})))
    assert np.shape(square["z"]) == (11, 11)


def test_products_leave_gaps_in_the_table(tmp_path):
    task = ModularTask(p=7, operation="divide", train_fraction=0.5)
    found = analyze.measure(train(tiny_config(task=task, train=TrainConfig(steps=2)), tmp_path / "x"), "examples")
    assert found.sizes["example"] == 42
    assert "pair_gap" not in found
    assert isinstance(analyze.draw(found), go.Figure)


def test_what_has_no_answers_or_does_not_learn_is_declined_in_a_sentence(tiny, tmp_path):
    path = connect(f"{tiny.path}@10", tiny.path, tmp_path / "path", Curve(points=3))
    with pytest.raises(DoesNotApply, match=r"is a path between two networks; .* needs a run that learns"):
        analyze.measure(path, "examples")
    task = SparseFeaturesTask(n_features=4, examples=5, test_examples=9)
    toy = train(tiny_config(task=task, model=ToySpec(d_hidden=2), train=TrainConfig(steps=2)), tmp_path / "toy")
    with pytest.raises(DoesNotApply, match="has no right answers"):
        analyze.measure(toy, "examples")
