"""Tiny runs, and their weights in the layouts of others."""

import pytest
import torch
from helpers import tiny_config

from interp.models import TransformerSpec
from interp.recipe import TrainConfig
from interp.store import Run
from interp.tasks import ModularTask
from interp.train.loop import train


def turned(weights):
    """Our weights in the layout of Nanda et al.: every matrix turned, no attention or unembedding bias, a mask."""
    found = {}
    for name, tensor in weights.items():
        last = name.rsplit(".", 1)[-1]
        if last in ("W_E", "W_Q", "W_K", "W_V", "W_in", "W_out"):
            found[name] = tensor.mT.contiguous()
        elif last == "W_O":
            found[name] = tensor.flatten(0, 1).T.contiguous()
            found[name.replace("W_O", "mask")] = torch.ones(3, 3).tril()
        elif not last.startswith("b_") or ".mlp." in name:
            found[name] = tensor.clone()
    return found


@pytest.fixture(scope="session")
def learned(tmp_path_factory) -> Run:
    """x + y mod 7, learned: accuracy 1 on the whole table, every token may be answered, as in Nanda et al."""
    config = tiny_config(
        task=ModularTask(p=7, train_fraction=0.9, answers="tokens"),
        model=TransformerSpec(n_heads=4, d_model=32, d_head=8, d_mlp=64),
        train=TrainConfig(steps=1_000, lr=1e-2, weight_decay=1.0, checkpoint_every=200, checkpoints_per_decade=1),
    )
    run = train(config, tmp_path_factory.mktemp("learned") / "run")
    assert run.final.metrics["test_accuracy"] == 1
    return run
