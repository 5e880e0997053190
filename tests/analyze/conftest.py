"""Runs of planted weights, and neurons that belong to frequencies."""

from typing import Any

import pytest
import torch
from helpers import tiny_config
from hooked_ablations import CLUSTERS

from interp.analyze.mechanism import ablate
from interp.models import TransformerSpec
from interp.models.network import initial_weights
from interp.store import RunWriter, open_run
from interp.tasks import ModularTask


@pytest.fixture
def of_weights(tmp_path):
    """A run whose checkpoint at step i is the initial weights, changed by the i-th function."""

    def of_weights(*changes, task=None, **model):
        fields: dict[str, Any] = {"n_heads": 2, "d_model": 16, "d_head": 8, "d_mlp": 24} | model
        spec = TransformerSpec(**fields)
        config = tiny_config(task=task or ModularTask(p=11, train_fraction=0.5), model=spec)
        with RunWriter(tmp_path / "run", config) as writer:
            for step, change in enumerate(changes):
                weights = initial_weights(spec, config.task.shape, seed=step)
                change(weights)
                writer.checkpoint(step, weights)
        return open_run(tmp_path / "run")

    return of_weights


@pytest.fixture
def clusters(monkeypatch):
    """Neurons that belong to frequencies, whatever they do."""

    def shares(seen, post):
        planted = torch.zeros(seen.neurons.width, seen.n // 2)
        for k, neurons in CLUSTERS.items():
            planted[neurons, k - 1] = 1
        return planted

    monkeypatch.setattr(ablate, "neuron_shares", shares)
