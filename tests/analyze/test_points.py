"""Which runs have values that are points, and where those lie in the matrices."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp import analyze
from interp.base import DoesNotApply
from interp.models.network import initial_weights
from interp.store import RunWriter, open_run
from interp.tasks import GroupTask, JointTask, ModularTask
from interp.views.points import Points


@pytest.fixture
def fresh(tmp_path):
    """An untrained run of a task."""

    def fresh(task):
        config = tiny_config(task=task)
        with RunWriter(tmp_path / "run", config) as writer:
            writer.checkpoint(0, initial_weights(config.model, task.shape, seed=0))
        return open_run(tmp_path / "run")

    return fresh


@pytest.mark.parametrize("operation", ["compose", "conjugate", "aba"])
def test_elements_of_a_group_are_points_whatever_the_operation(fresh, operation):
    seen = Points.of(fresh(GroupTask(group="C4", operation=operation, operands="separate", answers="tokens")))
    weights = seen.run.final.weights
    assert (seen.point, seen.values.tolist()) == ("element", [0, 1, 2, 3])
    torch.testing.assert_close(seen.clouds(weights)["W_E"], weights["embed.W_E"][:4], rtol=0, atol=0)
    torch.testing.assert_close(seen.clouds(weights)["W_U"], weights["unembed.W_U"][:, :4].T, rtol=0, atol=0)


def test_residues_are_points_in_their_order(fresh):
    seen = Points.of(fresh(ModularTask(p=7, operation="multiply", train_fraction=0.5)))
    weights = seen.run.final.weights
    assert (seen.point, seen.values.tolist()) == ("residue", [1, 3, 2, 6, 4, 5])  # powers of 3
    torch.testing.assert_close(seen.clouds(weights)["W_E"][3], weights["embed.W_E"][6], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("operation", "naming", "place"),
    [
        ("add", "sum", lambda x: 4 * x % 13),
        ("x2_y2", "sum", lambda x: 4 * x % 13),
        ("multiply", "product", lambda x: 5 * log(x) % 12),
    ],
)
def test_a_ring_is_found_under_the_naming_by_which_it_was_laid(fresh, operation, naming, place):
    run = fresh(ModularTask(p=13, operation=operation, train_fraction=0.5))
    values = Points.of(run).values.tolist()
    period = 12 if naming == "product" else 13
    embedding = run.final.weights["embed.W_E"].clone()
    for x in values:
        angle = 2 * np.pi * place(x) / period
        embedding[x] = torch.tensor([np.cos(angle), np.sin(angle)] + [0.0] * (embedding.shape[1] - 2))
    with RunWriter(run.path.with_name("laid"), run.config) as writer:
        writer.checkpoint(0, {**run.final.weights, "embed.W_E": embedding})
    found = analyze.measure(open_run(run.path.with_name("laid")), "tsne", iterations=300).isel(step=0)
    ring = found.sel(matrix="W_E", space="all")
    stride = pow({"sum": 4, "product": 5}[naming], -1, period)
    here = ring.sel(naming=naming)
    assert here["ring"].item() == 1
    assert here["ring_stride"].item() == min(stride, period - stride)
    assert here["ring_p"].item() < 0.01 < ring["ring_p"].drop_sel(naming=naming).item()


def log(x):
    """Discrete logarithm to 2 modulo 13."""
    return next(exponent for exponent in range(12) if pow(2, exponent, 13) == x)


@pytest.mark.parametrize(("group", "words"), [("S3", {"sign +1": 3, "sign −1": 3}), ("A4", 4), ("C6", None)])
def test_elements_are_coloured_by_sign_or_class_and_by_a_hue_where_they_stand_in_a_ring(fresh, group, words):
    figure: Any = analyze.draw(analyze.measure(fresh(GroupTask(group=group)), "tsne", iterations=300))
    colours, legend = (
        figure.data[0].marker.color,
        [trace.name for trace in figure.data if trace.showlegend is not False],
    )
    if words is None:
        np.testing.assert_array_equal(colours, np.arange(6))
        assert legend == []
    elif group == "S3":  # in lexicographic order: 0 1 2, 0 2 1, 1 0 2, 1 2 0, 2 0 1, 2 1 0
        even, odd = colours[0], colours[1]
        assert list(colours) == [even, odd, odd, even, even, odd]
        assert legend == [f"{word} ({count})" for word, count in words.items()]
    else:
        assert len(set(colours)) == len(legend) == words


def test_a_plane_of_elements_has_no_frequency(fresh):
    found = analyze.measure(fresh(GroupTask(group="Q8", operation="aba")), "tsne", iterations=300)
    assert found["tsne"].dims == ("step", "matrix", "element", "axis")
    assert not {"circle", "ring"} & set(found)
    np.testing.assert_array_equal(found["element"], np.arange(8))


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (JointTask(p=11), "needs a table of residues or of a group"),
        (ModularTask(p=3, train_fraction=0.5), "has 3 residues in its order"),
    ],
    ids=str,
)
def test_what_is_neither_or_too_small_is_refused(fresh, task, why):
    with pytest.raises(DoesNotApply, match=why):
        analyze.measure(fresh(task), "tsne")
