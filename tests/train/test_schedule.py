"""interp/train/schedule.py: what happens at which step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.recipe import TrainConfig
from interp.train.presets import PRESETS
from interp.train.schedule import batch_rows, checkpoint_steps, is_logged, learning_rate


def test_the_rate_rises_linearly_from_zero_and_stays():
    config = TrainConfig(lr=2.0, warmup_steps=4)
    assert [learning_rate(step, config) for step in (0, 1, 2, 4, 100)] == [0, 0.5, 1, 2, 2]
    assert learning_rate(0, TrainConfig(lr=2.0, warmup_steps=0)) == 2


def test_a_cosine_falls_from_the_rate_to_its_end():
    config = TrainConfig(lr=2.0, warmup_steps=10, schedule="cosine", lr_end=0.5, steps=110)
    rates = [learning_rate(step, config) for step in (5, 10, 60, 110)]
    assert rates == pytest.approx([1, 2, 1.25, 0.5])
    assert learning_rate(35, config) == pytest.approx(0.5 + 1.5 * (1 + 0.5**0.5) / 2)


@given(steps=st.integers(0, 3000), every=st.integers(1, 500), density=st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_checkpoints_begin_at_0_end_at_the_end_and_never_lie_further_apart_than_asked(steps, every, density):
    config = TrainConfig(steps=steps, checkpoint_every=every, checkpoints_per_decade=density)
    found = checkpoint_steps(config)
    assert found[0] == 0
    assert found[-1] == steps
    assert found == sorted(set(found))
    assert (np.diff(found) <= every).all()


def test_checkpoints_are_logarithmic_then_linear():
    config = TrainConfig(steps=1000, checkpoint_every=100, checkpoints_per_decade=10)
    found = checkpoint_steps(config)
    assert found[:12] == [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20]
    assert found[-5:] == [600, 700, 800, 900, 1000]


def test_a_longer_run_has_the_checkpoints_of_a_shorter_one():
    short, long = (set(checkpoint_steps(TrainConfig(steps=steps))) for steps in (1000, 5000))
    assert short <= long


def test_every_checkpoint_has_a_row_in_the_history():
    for preset in PRESETS.values():
        steps = set(checkpoint_steps(preset.config.train))
        assert all(is_logged(step, preset.config.train, steps) for step in steps)


def test_every_so_many_steps_have_a_row():
    config = TrainConfig(steps=50, log_every=20)
    assert [step for step in range(51) if is_logged(step, config, {7})] == [0, 7, 20, 40]


@pytest.mark.parametrize(("n", "batch"), [(10, 3), (12, 4), (5, 8)])
def test_an_epoch_of_batches_is_every_row_once(n, batch):
    per_epoch = -(-n // batch)
    for epoch in range(3):
        rows = np.concatenate([batch_rows(epoch * per_epoch + i, n, batch, seed=1) for i in range(per_epoch)])
        assert sorted(rows) == list(range(n))


def test_batches_follow_seed_and_epoch_and_nothing_else():
    a = [batch_rows(step, 100, 10, seed=0) for step in range(30)]
    np.random.default_rng(5).random(7)
    b = [batch_rows(step, 100, 10, seed=0) for step in reversed(range(30))][::-1]
    assert all((x == y).all() for x, y in zip(a, b, strict=True))
    assert any((x != batch_rows(step, 100, 10, seed=1)).any() for step, x in enumerate(a))
    assert (a[0] != a[10]).any()
