"""Runs side by side: each learns what it learns alone."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import StopAt, files, tiny_config

from interp.base import UserError
from interp.config import RunConfig
from interp.models import MlpSpec, TransformerSpec
from interp.recipe import Seeds, TrainConfig
from interp.store import open_run
from interp.tasks import AdditionTask, ImagesTask, ModularTask, RepeatedTask
from interp.tasks.corruption import Corruption
from interp.train import loop
from interp.train.capture import put_back
from interp.train.learner import Learner, beside, same_examples
from interp.train.loop import Interrupted, batches, train, train_many
from interp.train.schedule import batch_rows

SHORT = TrainConfig(steps=100, log_every=20, checkpoint_every=50)
MODEL = TransformerSpec(n_heads=2, d_model=16, d_head=8, d_mlp=24)
CLIPPED = SHORT.but(max_gradient_norm=1.0)
MLP = MlpSpec(biases=True, init="linear")
ON_IMAGES = tiny_config(
    train=SHORT.but(optimizer="adam", batch_size=16, warmup_steps=0),
    task=ImagesTask(examples=50, test_examples=30, scaling="standard"),
    model=MLP.but(inputs="vectors", act_fn="relu"),
)
SUMS = AdditionTask(digits=2, test_examples=30)
DIFFERENT = {
    "seeds": [tiny_config(train=SHORT, seeds=Seeds(split=i, model=i, order=i)) for i in range(3)],
    "weight decay, rate and optimiser": [
        tiny_config(train=SHORT.but(weight_decay=wd, lr=lr, optimizer=kind, warmup_steps=warm))
        for wd, lr, kind, warm in [(0.0, 1e-3, "adamw", 10), (3.0, 3e-3, "adam", 0), (1e-3, 1e-2, "sgd", 5)]
    ],
    "fraction, operation and initial scale": [
        tiny_config(
            train=SHORT, task=ModularTask(p=11).but(train_fraction=share, operation=kind), model=MODEL.but(init_scale=scale)
        )
        for share, kind, scale in [(0.3, "add", 1.0), (0.5, "subtract", 0.5), (0.8, "add", 2.0)]
    ],
    "mini-batches of unequal epochs": [
        tiny_config(train=SHORT.but(batch_size=16), task=ModularTask(p=11, train_fraction=share)) for share in (0.2, 0.5)
    ],
    "layers, LayerNorm, and a test set that runs out": [
        tiny_config(
            train=SHORT,
            task=ModularTask(p=11, train_fraction=share),
            model=MODEL.but(n_layers=2, normalization="LN", act_fn="gelu", biases="trained"),
        )
        for share in (0.3, 0.9)
    ],
    "noise on weights, of several sizes and seeds": [
        tiny_config(train=SHORT.but(noise="weights", noise_scale=size), seeds=Seeds(noise=i))
        for i, size in enumerate([1e-3, 1e-2])
    ],
    "noise on gradients, of one seed": [
        tiny_config(train=SHORT.but(noise="gradients", noise_scale=1e-4), seeds=Seeds(model=i)) for i in range(2)
    ],
    "noise on updates, by several optimisers": [
        tiny_config(train=SHORT.but(noise="updates", noise_scale=0.1, optimizer=kind, lr=lr, warmup_steps=warm))
        for kind, lr, warm in [("adamw", 1e-3, 10), ("sgd", 1e-2, 0)]
    ],
    "dropout at several rates, of unequal training sets": [
        tiny_config(
            train=SHORT.but(dropout=rate), task=ModularTask(p=11, train_fraction=share), model=MODEL.but(n_layers=2),
            seeds=Seeds(noise=i),
        )
        for i, (rate, share) in enumerate([(0.1, 0.3), (0.5, 0.6)])
    ],
    "dropout in mini-batches, with noise": [
        tiny_config(
            train=SHORT.but(dropout=rate, batch_size=16, noise="weights", noise_scale=1e-3),
            task=ModularTask(p=11, train_fraction=share),
        )
        for rate, share in [(0.1, 0.2), (0.2, 0.5)]
    ],
    **{
        f"widths of an MLP, {act_fn}": [
            tiny_config(train=SHORT.but(optimizer=kind, lr=lr, batch_size=16), model=MLP.but(widths=widths, act_fn=act_fn))
            for kind, lr, widths in [("adamw", 1e-2, (5, 8)), ("sgd", 1e-2, (8, 6)), ("adam", 1e-3, (7, 7))]
        ]
        for act_fn in ("relu", "gelu", "quadratic", "tanh")
    },
    **{
        f"widths of an MLP on images that {who}": [
            ON_IMAGES.but(model=ON_IMAGES.model.but(width=width), seeds=Seeds(split=split, model=width, order=order))
            for width, split, order in each
        ]
        for who, each in {
            "all share": [(5, 0, 0), (7, 0, 0), (8, 0, 0)],
            "neighbours share": [(5, 0, 0), (7, 0, 0), (6, 1, 0), (5, 1, 0), (8, 1, 0), (7, 1, 0)],
            "some share": [(5, 0, 0), (6, 1, 0), (7, 0, 0), (8, 0, 1)],
        }.items()
    },
    "a set of sequences and an endless stream, of another order": [
        tiny_config(train=SHORT.but(batch_size=16), task=SUMS.but(examples=examples), seeds=Seeds(order=order))
        for examples, order in [(20, 0), ("endless", 0), ("endless", 1)]
    ],
    "sequences with answers here and there, attention alone, dropout, unequal training sets": [
        tiny_config(
            train=SHORT.but(dropout=0.1),
            task=RepeatedTask(vocabulary=7, length=9, subsequence=3, examples=examples, test_examples=20),
            model=MODEL.but(n_layers=2, attn_only=True),
        )
        for examples in (12, 30)
    ],
}  # fmt: skip


@pytest.mark.parametrize("what", DIFFERENT)
def test_a_run_in_a_batch_is_the_run_alone(what, tmp_path, monkeypatch):
    configs = [config.but(train=config.train.but(steps=40, checkpoint_every=20)) for config in DIFFERENT[what]]
    monkeypatch.setattr("interp.objective.runs.CHUNK", 40)  # the test set in parts, some without a prompt of some run
    together = train_many(configs, [tmp_path / f"together{i}" for i in range(len(configs))], at_once=8)
    for i, config in enumerate(configs):
        alone = train(config, tmp_path / f"alone{i}")
        assert together[i].steps == alone.steps
        assert together[i].config == config
        for step in alone.steps:
            found, expected = together[i].at(step).weights, alone.at(step).weights
            for name, tensor in expected.items():
                if name.endswith(
                    "b_K"
                ):  # only rounding moves it, since softmax is blind to it; Adam makes much of that
                    continue
                torch.testing.assert_close(
                    found[name], tensor, rtol=1e-5, atol=1e-5, msg=lambda m, n=name, s=step: f"{n}, {s}: {m}"
                )
        torch.testing.assert_close(
            torch.from_numpy(together[i].history.to_numpy()),
            torch.from_numpy(alone.history.to_numpy()),
            rtol=1e-4,
            atol=1e-5,
        )


def test_the_whole_batch_is_one_computation(tmp_path, monkeypatch):
    updates = []
    update = Learner.update
    monkeypatch.setattr(Learner, "update", lambda self, step: (updates.append(len(self.configs)), update(self, step)))
    train_many(DIFFERENT["seeds"], [tmp_path / str(i) for i in range(3)], at_once=2)
    assert updates == [2] * 100 + [1] * 100


def test_runs_of_another_shape_or_length_are_batches_of_their_own(tmp_path):
    def writers(configs) -> list[Any]:
        return [SimpleNamespace(config=config) for config in configs]

    plain, size = tiny_config(), tiny_config().train
    others = [tiny_config(model=MODEL.but(**change)) for change in ({"d_mlp": 8}, {"attention_rate": 0.5})]
    hows = [{"batch_size": 8}, {"dropout": 0.1}]
    hows += [{"noise": kind, "noise_scale": 0.1} for kind in ("weights", "gradients", "updates")]
    odd = [plain, *others, *(tiny_config(train=size.but(**how)) for how in hows), plain]
    found = list(batches(writers(odd), "cpu", 8))
    assert sorted(len(batch) for _, batch in found) == [1] * 7 + [2]
    assert next([writer.config for writer in batch] for _, batch in found if len(batch) == 2) == [plain, plain]
    assert sorted(" " in label for label, _ in found) == [True] * 8
    assert [label for label, _ in batches(writers([plain] * 3), "cpu", 2)] == ["runs 1–2 of 3", "run 3 of 3"]
    assert [label for label, _ in batches(writers([plain]), "cpu", 2)] == [""]


def test_the_largest_runs_are_trained_one_by_one_and_small_ones_together():
    assert loop.runs_at_once([RunConfig(task=ModularTask(p=401))], "cpu") == 1
    assert loop.runs_at_once([RunConfig()], "cpu") == 17
    assert loop.runs_at_once([tiny_config()], "cpu") == loop.MOST_AT_ONCE


@pytest.mark.parametrize("widths, n_batches", [((5, 8, 6), 1), ((8, 9, 16), 2), ((1, 2, 3, 4, 1000), 4)])
def test_widths_are_filled_up_to_twice_at_most(widths, n_batches):
    writers: list[Any] = [SimpleNamespace(config=tiny_config(model=MLP.but(width=width))) for width in widths]
    assert len(list(batches(writers, "cpu", 8))) == n_batches
    normed = [SimpleNamespace(config=tiny_config(model=MLP.but(width=w, normalization="LNPre"))) for w in (5, 8)]
    clipped = [SimpleNamespace(config=tiny_config(model=MLP.but(width=w), train=CLIPPED)) for w in (5, 8)]
    for apart in (normed, clipped):  # a LayerNorm counts zeros, and a method might
        assert len(list(batches(apart, "cpu", 8))) == 2  # pyright: ignore[reportArgumentType]


def test_images_that_runs_share_are_held_and_drawn_once():
    configs = DIFFERENT["widths of an MLP on images that neighbours share"]
    learner = Learner.make(configs, "cpu")
    for examples in (learner.batch(3), *learner.train, *learner.test):
        assert examples.forward.inputs.shape[0] == 3  # pyright: ignore[reportAttributeAccessIssue]
        assert examples.targets.shape[0] == len(configs) == 6
    seen = learner.batch(3).forward.cache(learner.weights, "embed.hook_embed".__eq__)["embed.hook_embed"]
    for run, config in enumerate(configs):
        rows = batch_rows(3, 50, 16, config.seeds.order)
        assert torch.equal(seen[run], torch.from_numpy(config.split().train.inputs[rows]))


def test_runs_that_share_images_become_neighbours_and_others_keep_their_order():
    grid = [ON_IMAGES.but(seeds=Seeds(split=seed, model=i)) for i in range(3) for seed in (12, 2)]
    found = beside(grid, lambda config: config)
    assert found == grid[::2] + grid[1::2]
    writers: list[Any] = [SimpleNamespace(config=config) for config in grid]
    assert [[writer.config for writer in batch] for _, batch in batches(writers, "cpu", 3)] == [grid[::2], grid[1::2]]
    for other in ({"labels": 1}, {"order": 1}):
        assert same_examples(grid[0]) != same_examples(grid[0].but(seeds=Seeds(split=12, **other)))
    assert same_examples(grid[0]) != same_examples(grid[0].but(corruption=Corruption(share=0.2)))


def test_what_a_narrow_network_is_filled_up_with_stays_zero():
    learner = Learner.make(DIFFERENT["widths of an MLP, gelu"], "cpu")
    for step in range(30):
        learner.update(step)
    for name, stack in learner.weights.items():
        for run, sizes in enumerate(learner.sizes):
            beyond = stack.detach()[run].clone()
            beyond[tuple(slice(n) for n in sizes[name])] = 0
            assert not beyond.any(), name
    shapes = {key: tensor.shape for key, tensor in learner.state(0).items()}
    assert shapes["model/layers.0.W"] == shapes["optimizer/exp_avg/layers.0.W"] == (3, 12, 5)


@pytest.mark.parametrize("what", ["widths of an MLP, relu", "widths of an MLP on images that neighbours share"])
def test_a_batch_of_widths_that_was_stopped_ends_as_one_that_was_not(what, tmp_path):
    configs = DIFFERENT[what]
    whole = train_many(configs, [tmp_path / f"whole{i}" for i in range(len(configs))], at_once=8)
    outs = [tmp_path / f"stopped{i}" for i in range(len(configs))]
    with pytest.raises(Interrupted):
        train_many(configs, outs, at_once=8, watcher=StopAt(33))
    for resumed, expected in zip(train_many(configs, outs, at_once=8, resume=True), whole, strict=True):
        assert files(resumed) == files(expected)


@pytest.mark.parametrize("stop", [8, 33])
def test_a_batch_that_was_stopped_ends_as_one_that_was_not(stop, tmp_path):
    configs = DIFFERENT["seeds"]
    whole = train_many(configs, [tmp_path / f"whole{i}" for i in range(3)], at_once=3)
    outs = [tmp_path / f"stopped{i}" for i in range(3)]
    with pytest.raises(Interrupted) as stopped:
        train_many(configs, outs, at_once=3, watcher=StopAt(stop))
    assert (stopped.value.step, stopped.value.paths) == (stop, outs)
    for resumed, expected in zip(train_many(configs, outs, at_once=3, resume=True), whole, strict=True):
        assert files(resumed) == files(expected)


def test_runs_that_were_stopped_apart_catch_up_and_go_on_together(tmp_path, monkeypatch):
    """As after a kill between the saves of two runs; one more is new, one finished."""
    configs = [tiny_config(train=SHORT, seeds=Seeds(model=i)) for i in range(4)]
    outs = [tmp_path / str(i) for i in range(4)]
    for i, stop in [(0, 40), (1, 12)]:
        with pytest.raises(Interrupted):
            train(configs[i], outs[i], watcher=StopAt(stop))
    train(configs[3], outs[3])
    updates = []
    update = Learner.update
    monkeypatch.setattr(Learner, "update", lambda self, step: (updates.append(len(self.configs)), update(self, step)))
    found = train_many(configs, outs, at_once=4, resume=True)
    assert updates == [1] * 12 + [2] * 28 + [3] * 60
    for i, run in enumerate(found):
        alone = train(configs[i], tmp_path / f"alone{i}")
        for name, tensor in alone.final.weights.items():
            torch.testing.assert_close(run.final.weights[name], tensor, rtol=1e-5, atol=1e-5)
        assert list(run.history.index) == list(alone.history.index)


def test_a_run_that_diverges_leaves_the_others_alone(tmp_path):
    configs = [tiny_config(train=SHORT.but(lr=lr, optimizer="sgd", warmup_steps=0)) for lr in (1e30, 1e-2)]
    outs = [tmp_path / "bad", tmp_path / "good"]
    with pytest.raises(UserError, match=r"training diverged: .* What came before is in .*bad$"):
        train_many(configs, outs, at_once=2)
    good = open_run(outs[1])
    assert good.steps[-1] == 100
    for name, tensor in train(configs[1], tmp_path / "alone").final.weights.items():
        torch.testing.assert_close(good.final.weights[name], tensor, rtol=1e-5, atol=1e-5)
    assert open_run(outs[0]).steps[-1] < 100


def test_nothing_is_trained_when_one_directory_is_taken(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"taken exists and is no run"):
        train_many(DIFFERENT["seeds"][:2], [tmp_path / "free", tmp_path / "taken"])
    assert not (tmp_path / "free").exists()


def test_nothing_is_overwritten_when_one_directory_is_taken(tmp_path):
    outs = [tmp_path / "mine", tmp_path / "taken"]
    before = files(train(DIFFERENT["seeds"][0], outs[0]))
    outs[1].mkdir()
    (outs[1] / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"taken exists and is no run"):
        train_many(DIFFERENT["seeds"][:2], outs, overwrite=True)
    assert files(open_run(outs[0])) == before


@pytest.mark.parametrize(
    "how, sentence",
    [
        ({"at_once": 0}, "at_once is 0; it should be at least 1"),
        ({"device": "gpu"}, 'device is "gpu", and torch finds no such GPU here'),
    ],
)
def test_nonsense_is_refused_in_one_sentence(how, sentence, tmp_path):
    with pytest.raises(UserError) as refused:
        train_many([tiny_config()], [tmp_path / "run"], **how)
    assert sentence in str(refused.value)


def test_one_directory_does_not_hold_two_runs(tmp_path):
    with pytest.raises(UserError, match=r"run is to hold two runs"):
        train_many(DIFFERENT["seeds"][:2], [tmp_path / "run", tmp_path / "run"])


def test_many_runs_may_open_many_files(monkeypatch):
    limits = []
    monkeypatch.setattr(loop.resource, "getrlimit", lambda kind: (64, 4096))
    monkeypatch.setattr(loop.resource, "setrlimit", lambda kind, limit: limits.append(limit))
    loop.raise_file_limit(60)
    loop.raise_file_limit(1000)
    assert limits == [(1000, 4096)]
    with pytest.raises(UserError, match=r"need 5,000 open files, and the system allows 4,096"):
        loop.raise_file_limit(5000)


def test_a_captured_step_puts_back_what_was_and_clears_what_was_not():
    there, new = torch.tensor([1.0, 2.0]), torch.tensor([5.0])
    before = [(there, there.clone())]
    there += 7
    put_back([there, new], before)
    assert there.tolist() == [1.0, 2.0]
    assert new.tolist() == [0.0]


def test_a_learner_whose_step_is_put_back_repeats_it():
    """What capturing a graph rests on: the listed tensors are all that an update changes."""
    learner = Learner.make(DIFFERENT["seeds"], "cpu")
    before = [(tensor, tensor.clone()) for tensor in learner.moving()]
    learner.update(50)
    once = [tensor.clone() for tensor in learner.moving()]
    put_back(learner.moving(), before)
    learner.update(50)
    for again, first in zip(learner.moving(), once, strict=True):
        assert torch.equal(again, first)
