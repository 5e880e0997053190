"""Which tasks are a sum in some order of their residues, and how their prompts then stand."""

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp.base import DoesNotApply
from interp.maths.losses import cross_entropy
from interp.models.network import initial_weights
from interp.store import RunWriter, open_run
from interp.tasks import OPERATIONS, ModularTask
from interp.views.square import NeuronSquare, NeuronTable, Square

SUMS = ("add", "subtract", "multiply", "divide", "add_mod_p_minus_1")


@pytest.fixture
def fresh(tmp_path):
    """An untrained run of a task."""

    def fresh(**task):
        config = tiny_config(task=ModularTask(**({"p": 11, "train_fraction": 0.5} | task)))
        with RunWriter(tmp_path / "run", config) as writer:
            writer.checkpoint(0, initial_weights(config.model, config.task.shape, seed=0))
        return open_run(tmp_path / "run")

    return fresh


@pytest.mark.parametrize("operation", SUMS)
@pytest.mark.parametrize("operands", ["shared", "separate"])
def test_place_i_and_place_j_are_answered_by_place_i_plus_j(fresh, operation, operands):
    run = fresh(operation=operation, operands=operands)
    grid, table = Square.of(run), run.task.table()
    assert grid.n == (11 if operation in ("add", "subtract") else 10)
    for i in range(grid.n):
        for j in range(grid.n):
            row = grid.rows[i * grid.n + j]
            assert table.targets[row] == grid.values[(i + j) % grid.n]
            assert grid.answers[i * grid.n + j] == (i + j) % grid.n
            assert table.inputs[row][0] == grid.values[i]
    assert len(set(grid.rows.tolist())) == grid.n**2


@pytest.mark.parametrize("operation", sorted({*OPERATIONS} - {*SUMS}))
def test_what_is_no_sum_is_refused(fresh, operation):
    with pytest.raises(DoesNotApply, match="is a sum in no order of its residues"):
        Square.of(fresh(operation=operation))


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_any_table_without_gaps_is_a_square_and_adds_where_it_is_a_sum(fresh, operation):
    run = fresh(operation=operation)
    grid, table = NeuronTable.of(run), run.task.table()
    assert grid.adds == (operation in SUMS)
    i, j = torch.arange(grid.n)[:, None], torch.arange(grid.n)
    assert torch.equal(grid.answers, ((i + j) % grid.n).flatten()) == grid.adds
    b = grid.values[torch.from_numpy(grid.columns)]
    pairs = torch.stack([grid.values.repeat_interleave(grid.n), b.repeat(grid.n)], dim=1)
    assert torch.equal(torch.from_numpy(table.inputs)[grid.rows][:, :2], pairs)


def test_losses_are_those_of_the_network_on_each_split(fresh):
    run = fresh()
    grid, split = Square.of(run), run.split
    logits = grid.logits(run.final.weights)
    model = run.final.model
    for found, part in zip(grid.losses(logits), [split.train, split.test, run.task.table()], strict=True):
        with torch.inference_mode():
            expected = cross_entropy(model(torch.from_numpy(part.inputs))[:, -1], torch.from_numpy(part.targets))
        assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_activations_stand_in_the_order_of_the_square(fresh):
    run = fresh(operation="divide")
    grid = NeuronSquare.of(run)
    logits, post = grid.cache(run.final.weights, "logits", grid.neurons.name)
    cache = run.final.cache(["blocks.0.mlp.hook_post"])
    np.testing.assert_allclose(post, cache["blocks.0.mlp.hook_post"][grid.rows, -1], atol=1e-5)
    with torch.inference_mode():
        every = run.final.model(torch.from_numpy(run.task.table().inputs))[:, -1]
    np.testing.assert_allclose(logits, every[grid.rows][:, grid.values], atol=1e-5)
