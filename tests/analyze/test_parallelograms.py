"""Parallelograms of planted embeddings, and of which runs they are asked."""

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp import analyze
from interp.base import DoesNotApply
from interp.models import MlpSpec
from interp.models.network import initial_weights
from interp.store import RunWriter, open_run
from interp.tasks import GroupTask, ModularTask

SUMS = "; ".join(" ".join(str(x + y) if y >= x else "-" for y in range(10)) for x in range(10))
"""Sums of ten symbols, unordered pairs."""
TOY = {
    "task": ModularTask(operation=SUMS, p=19, prompt="ab", train_fraction=0.82),
    "model": MlpSpec(inputs="summed", d_model=1, width=8, act_fn="tanh", biases=True),
}


@pytest.fixture
def written(tmp_path):
    """A run whose embedding is planted at every checkpoint."""

    def written(codes, **parts):
        config = tiny_config(**(TOY | parts))
        weights = initial_weights(config.model, config.task.shape, seed=0)
        with RunWriter(tmp_path / "run", config) as writer:
            for step, code in enumerate(codes):
                writer.checkpoint(step, weights | {"embed.W_E": code})
        return open_run(tmp_path / "run")

    return written


def test_a_line_of_ten_among_nineteen_tokens_is_found_and_its_shuffles_are_not(written):
    numbers = torch.randn(19, 1, generator=torch.Generator().manual_seed(1))
    line = numbers.clone()
    line[:10, 0] = 3 - 0.2 * torch.arange(10)
    found = analyze.measure(written([numbers, line]), "parallelograms")
    assert found["rqi"].values[1] == 1.0
    assert found["rqi"].values[0] < 0.3
    assert (found["rqi_null"].values < 0.3).all()
    assert found["effective_loss"].values[1] < 1e-9 < found["effective_loss"].values[0]
    assert int(found["possible"]) == 70
    assert int(found["free"]) == 2


def test_a_ring_of_residues_holds_nearly_none(written):
    """On a circle E_i + E_j has the length 2·cos(w(i − j)/2): equal answers have sums of one direction and other lengths."""
    angles = 2 * np.pi * torch.arange(11) / 11
    ring = torch.stack([angles.cos(), angles.sin()], dim=1).float()
    codes = torch.cat([ring, torch.zeros(1, 2)])  # the sign "="
    task = ModularTask(p=11, train_fraction=0.5)
    found = analyze.measure(
        written([codes], task=task, model=MlpSpec(inputs="summed", d_model=2, width=8)), "parallelograms"
    )
    assert found["rqi"].item() == 0.0


@pytest.mark.parametrize(
    "task, sentence",
    [
        (ModularTask(p=11, operation="subtract", train_fraction=0.5), "x ∘ y and y ∘ x have different answers"),
        (GroupTask(group="S3", train_fraction=0.5), "x ∘ y and y ∘ x have different answers"),
        (ModularTask(p=11, operands="separate", train_fraction=0.5), "operands share their tokens"),
    ],
)
def test_what_is_no_table_of_unordered_pairs_is_told_in_a_sentence(task, sentence, tmp_path):
    config = tiny_config(task=task)
    with RunWriter(tmp_path / "run", config) as writer:
        writer.checkpoint(0, initial_weights(config.model, config.task.shape, seed=0))
    with pytest.raises(DoesNotApply, match=sentence):
        analyze.measure(open_run(tmp_path / "run"), "parallelograms")
