"""interp/train/schedule.py: what happens at which step."""

import numpy as np
import pytest
from helpers import StopAt, files, tiny_config
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.base import UserError
from interp.recipe import TrainConfig
from interp.store import open_record
from interp.train.loop import Interrupted, train
from interp.train.presets import PRESETS
from interp.train.schedule import batch_rows, checkpoint_steps, is_logged, learning_rate


def test_the_rate_rises_linearly_from_zero_and_stays():
    config = TrainConfig(lr=2.0, warmup_steps=4)
    assert [learning_rate(step, config) for step in (0, 1, 2, 4, 100)] == [0, 0.5, 1, 2, 2]
    assert learning_rate(0, TrainConfig(lr=2.0, warmup_steps=0)) == 2


def test_an_inverse_root_falls_by_steps():
    config = TrainConfig(lr=0.1, warmup_steps=0, schedule="inverse_root", schedule_period=512)
    rates = {step: learning_rate(step, config) for step in (0, 511, 512, 1023, 1024, 3 * 512, 8 * 512)}
    assert rates == {
        0: 0.1,
        511: 0.1,
        512: 0.1 / 2**0.5,
        1023: 0.1 / 2**0.5,
        1024: 0.1 / 3**0.5,
        1536: 0.05,
        4096: 0.1 / 3,
    }
    with pytest.raises(UserError, match="it is for inverse_root"):
        TrainConfig(schedule_period=100)


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


@given(listed=st.sets(st.integers(0, 3000), min_size=1), more=st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_a_list_of_checkpoints_is_what_is_saved_with_the_first_and_the_last(listed, more):
    config = TrainConfig(steps=max(listed) + more, checkpoint_every=1, checkpoint_steps=tuple(listed))
    assert checkpoint_steps(config) == sorted({0, *listed, max(listed) + more})


@pytest.mark.parametrize("listed", [(50,), (-1,)])
def test_a_checkpoint_outside_of_the_run_is_refused(listed):
    with pytest.raises(
        UserError, match=rf"train.checkpoint_steps has {listed[0]}; take steps from 0 to train.steps, which is 40"
    ):
        tiny_config(train=TrainConfig(steps=40, checkpoint_steps=listed))
    examples = TrainConfig(examples=40 * 60, checkpoint_steps=(40,))  # 60 of 121 prompts a step
    assert tiny_config(train=examples).train.steps == 40
    with pytest.raises(UserError, match="which is 40"):
        tiny_config(train=examples.but(checkpoint_steps=(41,)))


def test_a_list_of_checkpoints_is_kept_and_may_go_further_when_the_run_does(tmp_path):
    listed = TrainConfig(steps=12, checkpoint_steps=(9, 3, 9), log_every=4)
    config = tiny_config(train=listed)
    whole = train(config, tmp_path / "whole")
    assert open_record(whole.path).config.train.checkpoint_steps == (3, 9)
    assert whole.steps == (0, 3, 9, 12)
    assert list(whole.history.index) == [0, 3, 4, 8, 9, 12]
    with pytest.raises(Interrupted):
        train(config, tmp_path / "stopped", watcher=StopAt(5))
    assert files(train(config, tmp_path / "stopped", resume=True)) == files(whole)
    longer = config.but(train=listed.but(steps=20, checkpoint_steps=(3, 9, 17)))
    assert train(longer, tmp_path / "whole", resume=True).steps == (0, 3, 9, 12, 17, 20)
    with pytest.raises(UserError, match=r"train\.checkpoint_steps is"):  # those that are past cannot be had any more
        train(config.but(train=listed.but(steps=30, checkpoint_steps=(3, 9, 15, 25))), tmp_path / "whole", resume=True)
