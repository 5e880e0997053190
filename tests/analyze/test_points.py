"""Which runs have values that are points, and where those lie in the matrices."""

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


def test_a_plane_of_elements_has_no_frequency(fresh):
    found = analyze.measure(fresh(GroupTask(group="Q8", operation="aba")), "tsne", iterations=300)
    assert found["tsne"].dims == ("step", "matrix", "element", "axis")
    assert "circle" not in found
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
