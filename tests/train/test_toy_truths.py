"""What is known in advance of trained toy models."""

import numpy as np
import pytest
import torch

from interp.config import RunConfig
from interp.models import ToySpec
from interp.recipe import TrainConfig
from interp.tasks import SparseFeaturesTask
from interp.train.loop import train


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_tied_model_finds_the_principal_axes_of_its_examples(tmp_path, bias):
    # With b the best is that of the centred examples, without it that of the examples as they are.
    config = RunConfig(
        task=SparseFeaturesTask(n_features=6, sparsity=0.5, sets="together", set_size=3, examples=30, test_examples=1),
        model=ToySpec(d_hidden=2, output="none", bias=bias),
        train=TrainConfig(
            steps=2000,
            lr=0.02,
            schedule="cosine",
            weight_decay=0,
            betas=(0.9, 0.999),
            precision="float64",
            log_every=2000,
            checkpoint_every=2000,
        ),
    )
    run = train(config, tmp_path / "run")
    X = run.split.train.inputs.astype(np.float64)
    X -= X.mean(axis=0) * bias
    _, sizes, axes = np.linalg.svd(X, full_matrices=False)
    W = run.final.weights["W"].double().numpy()
    assert sizes[1] > 1.05 * sizes[2]  # otherwise the plane is hardly defined
    np.testing.assert_allclose(W.T @ W, axes[:2].T @ axes[:2], atol=1e-5)  # checkpoints are float32
    assert run.final.metrics["train_loss"] == pytest.approx((sizes[2:] ** 2).sum() / len(X), rel=1e-6)
    if bias:
        left_out = np.eye(6) - axes[:2].T @ axes[:2]
        mean = run.split.train.inputs.astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(run.final.weights["b"], left_out @ mean, atol=1e-5)
    assert torch.equal(run.final.weights["b"], torch.zeros(6)) != bias
