"""Denormals are 0 in a region, in every thread of torch's pool alike, and are what they were after it."""

import pytest
import torch

from interp import denormals
from interp.config import RunConfig
from interp.denormals import are_zero, flushed
from interp.models import TransformerSpec
from interp.recipe import TrainConfig
from interp.tasks import ModularTask
from interp.train.learner import Learner
from interp.train.loop import train

TINY = torch.full((1 << 20,), 1e-39)  # made here, where it is no 0


def halves():
    """Whether halves of a tiny number are 0 in each of eight parts of a tensor that torch's threads divide."""
    product = TINY * 0.5
    return [
        bool((part == 0).all()) for part in product.view(torch.int32).chunk(8)
    ]  # floats would be compared by the same rule


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    halves()  # the pool is there
    yield
    torch.set_num_threads(before)


def test_the_whole_pool_takes_them_for_0_within_and_not_after(two_threads):
    assert denormals.openmp() is not None, "torch's OpenMP is not GNU's; only one thread is set"
    assert halves() == [False] * 8 and not are_zero()
    with flushed():
        assert halves() == [True] * 8 and are_zero()
        with flushed():
            assert halves() == [True] * 8
        assert halves() == [True] * 8 and are_zero()
    assert halves() == [False] * 8 and not are_zero()


def test_they_come_back_after_an_error(two_threads):
    with pytest.raises(KeyError), flushed():
        raise KeyError
    assert halves() == [False] * 8 and not are_zero()


def test_who_has_set_it_keeps_it():
    torch.set_flush_denormal(True)
    try:
        with flushed():
            pass
        assert are_zero()
    finally:
        torch.set_flush_denormal(False)


def test_training_leaves_a_caller_s_numbers_as_they_are(tmp_path, two_threads, monkeypatch):
    seen, update = [], Learner.update

    def watched(learner, step):
        seen.append(halves())
        update(learner, step)

    monkeypatch.setattr(Learner, "update", watched)
    config = RunConfig(task=ModularTask(p=5), model=TransformerSpec(d_model=8, n_heads=1, d_head=8, d_mlp=8))
    train(config.but(train=TrainConfig(steps=1)), tmp_path / "run")
    assert seen == [[True] * 8]
    assert halves() == [False] * 8


def test_gradients_of_a_certain_network_are_the_same():
    """What falls away is smaller than the last digit of anything that it is added to."""
    x, target = torch.linspace(0, 60, 60)[:, None] * torch.tensor([[1.0, -1.0]]), torch.zeros(60, dtype=torch.int64)
    gradients = []
    for region in (flushed, lambda: torch.enable_grad()):
        with region():
            w = torch.eye(2, requires_grad=True)
            loss = torch.nn.functional.cross_entropy((x @ w).double(), target, reduction="mean")
            (gradient,) = torch.autograd.grad(loss, w)
        gradients.append(gradient)
    assert torch.equal(*gradients)
