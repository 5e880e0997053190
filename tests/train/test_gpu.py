"""On a GPU the step is one captured graph: the same run as on the processor. Runs by `make test-gpu`, where there is one."""

import pytest
import torch
from helpers import StopAt, tiny_config

from interp.models import TransformerSpec
from interp.recipe import Seeds, TrainConfig
from interp.tasks import ModularTask
from interp.train.learner import Learner
from interp.train.loop import Interrupted, train, train_many

pytestmark = pytest.mark.gpu
SHORT = TrainConfig(steps=60, log_every=20, checkpoint_every=20)


def assert_alike(found, expected, tolerance=1e-4):
    """Weights of two runs at their last step, to float32's rounding over sixty steps."""
    for name, tensor in expected.final.weights.items():
        torch.testing.assert_close(
            found.final.weights[name], tensor, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("batch_size", ["full", 16])
def test_a_run_on_the_gpu_is_the_run_on_the_processor(optimizer, batch_size, tmp_path):
    how = SHORT.but(optimizer=optimizer, batch_size=batch_size, weight_decay=0.1)
    config = tiny_config(task=ModularTask(p=23), train=how)
    assert_alike(train(config, tmp_path / "gpu", device="cuda"), train(config, tmp_path / "cpu"))


def test_the_paper_s_model_takes_the_same_steps(tmp_path):
    config = tiny_config(task=ModularTask(), model=TransformerSpec(), train=SHORT.but(steps=20))
    assert_alike(train(config, tmp_path / "gpu", device="cuda"), train(config, tmp_path / "cpu"))


def test_runs_side_by_side_are_those_alone(tmp_path):
    configs = [
        tiny_config(
            task=ModularTask(p=23, train_fraction=share), train=SHORT.but(weight_decay=decay), seeds=Seeds(model=i)
        )
        for i, (share, decay) in enumerate([(0.3, 0.0), (0.5, 1.0), (0.6, 3.0)])
    ]
    together = train_many(configs, [tmp_path / f"together{i}" for i in range(3)], device="cuda")
    for i, config in enumerate(configs):
        assert_alike(together[i], train(config, tmp_path / f"alone{i}", device="cuda"))


@pytest.mark.parametrize(
    "chance",
    [*({"noise": kind, "noise_scale": 0.01} for kind in ("weights", "gradients", "updates")), {"dropout": 0.1}],
    ids=str,
)
def test_what_is_drawn_is_what_the_processor_draws(chance, tmp_path):
    config = tiny_config(task=ModularTask(p=23), train=SHORT.but(optimizer="sgd", lr=0.01, **chance))
    assert_alike(train(config, tmp_path / "gpu", device="cuda"), train(config, tmp_path / "cpu"))


def test_a_run_that_was_stopped_goes_on(tmp_path):
    config = tiny_config(train=SHORT)
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", device="cuda", watcher=StopAt(25))
    resumed = train(config, tmp_path / "run", device="cuda", resume=True)
    assert_alike(resumed, train(config, tmp_path / "whole", device="cuda"))


def test_nothing_waits_for_the_gpu_between_logged_steps():
    learner = Learner.make([tiny_config()], "cuda")
    learner.update(0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(1, 10):
            learner.update(step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
