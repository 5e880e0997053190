"""What several tests make."""

from interp.config import RunConfig, TrainConfig
from interp.models import TransformerSpec
from interp.tasks import ModularTask


def tiny_config(**parts) -> RunConfig:
    """p = 11, d_model 16: trains in a second."""
    whole = {
        "name": "tiny",
        "task": ModularTask(p=11, train_fraction=0.5),
        "model": TransformerSpec(n_heads=2, d_model=16, d_head=8, d_mlp=24),
        "train": TrainConfig(steps=40, lr=3e-3, checkpoint_every=10, checkpoints_per_decade=3, log_every=5),
    }
    return RunConfig(**(whole | parts))
