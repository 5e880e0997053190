"""interp/train/loop.py: the same steps whether a run goes through, or stops and is resumed."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from helpers import StopAt, files, tiny_config

from interp.base import UserError
from interp.config import RunConfig
from interp.models import TransformerSpec
from interp.models.network import build
from interp.recipe import Seeds, TrainConfig
from interp.store import open_run
from interp.tasks import AdditionTask, ModularTask, RepeatedTask, SkipTrigramTask
from interp.train.learner import Learner
from interp.train.loop import Interrupted, train

SHORT = TrainConfig(steps=24, log_every=4, checkpoint_every=8)
HOW = {
    "full batch, adamw": SHORT,
    "mini-batch, adam": SHORT.but(optimizer="adam", batch_size=7, weight_decay=1e-3),
    "mini-batch, sgd with momentum": SHORT.but(optimizer="sgd", lr=0.1, batch_size=16, weight_decay=0.0),
    "full batch, adamw, noise on the weights": SHORT.but(noise="weights", noise_scale=0.01),
    "mini-batch, adam, noise on gradients": SHORT.but(optimizer="adam", batch_size=7, noise="gradients", noise_scale=1e-3),
    "mini-batch, sgd, noise on updates": SHORT.but(optimizer="sgd", lr=0.1, batch_size=16, noise="updates", noise_scale=0.1),
    "mini-batch, adamw, dropout": SHORT.but(batch_size=16, dropout=0.3),
    "grokfast by a window, in the middle of it": SHORT.but(grokfast="ma", grokfast_window=9),
    "grokfast by an average, sgd": SHORT.but(grokfast="ema", optimizer="sgd", lr=0.01, weight_decay=0.0),
    "decay to the initial weights, cosine": SHORT.but(decay_to="initial", schedule="cosine"),
    "float64, orthogonal gradients": SHORT.but(precision="float64", orthogonal_gradients=True),
    "clipped, sgd": SHORT.but(optimizer="sgd", lr=0.1, max_gradient_norm=0.05, weight_decay=0.0),
    "directions alone, sgd": SHORT.but(optimizer="sgd", lr=0.1, log_norms=True),
    "muon": SHORT.but(optimizer="muon", muon_lr=0.05),
    "muon in float64, a ceiling, mini-batch": SHORT.but(
        optimizer="muon", precision="float64", batch_size=16, constraint="ceiling", constraint_parts=("mlp",), schedule="cosine"),
    "clamped": SHORT.but(constraint="clamp", constraint_scale=0.8, weight_decay=0.0),
    "a ceiling for each tensor, mini-batch, at a temperature": SHORT.but(
        constraint="ceiling", constraint_over="tensor", batch_size=16, output_temperature=0.5),
    "an embedding with a rate of its own, an MLP that alone decays": SHORT.but(
        lr_parts=("embed",), lr_scale=0.1, decay_parts=("mlp",)),
    "norms logged, sgd": SHORT.but(log_norms=True, optimizer="sgd", lr=0.1),
    "sam, noise on the weights, l1": SHORT.but(sam=0.1, l1=1e-4, noise="weights", noise_scale=0.01),
}  # fmt: skip
MODELS = {
    "directions alone, sgd": {
        "model": TransformerSpec(n_heads=2, d_model=8, d_head=4, d_mlp=12, biases="frozen", directions=True)
    }
}
SEQUENCES = {
    "addition": AdditionTask(digits=2, examples=20, test_examples=20),
    "repeated": RepeatedTask(vocabulary=7, length=9, subsequence=3, examples=20, test_examples=20),
    "skip trigram": SkipTrigramTask(length=6, examples=20, test_examples=20),
}
CHANCE = {
    **{kind: {"noise": kind, "noise_scale": 0.01} for kind in ("weights", "gradients", "updates")},
    "dropout": {"dropout": 0.1},
    "both": {"noise": "weights", "noise_scale": 0.01, "dropout": 0.5},
}


@pytest.mark.parametrize("how", HOW)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(how, tmp_path):
    """At step 1, at a checkpoint, and between two; were one of the states wrong, so would be the end."""
    config, stops = tiny_config(train=HOW[how], **MODELS.get(how, {})), [1, 8, 13]
    whole = train(config, tmp_path / "whole")
    for stop in stops:
        with pytest.raises(Interrupted) as stopped:
            train(config, tmp_path / "stopped", resume=True, watcher=StopAt(stop))
        assert stopped.value.step == stop
    resumed = train(config, tmp_path / "stopped", resume=True)
    assert files(resumed) == files(whole)  # bit for bit: history, every checkpoint, the resume state
    assert [session.from_step for session in resumed.record.sessions] == [0, *stops]


def pairwise(first, second, third):
    """Triples in which every two values of different lists meet, with all pairs of the first two lists."""
    return [(a, b, third[(i + j) % len(third)]) for i, a in enumerate(first) for j, b in enumerate(second)]


@pytest.mark.parametrize("kind, examples, attn_only", pairwise(SEQUENCES, [20, "endless"], [False, True]))
def test_a_run_on_sequences_that_was_stopped_ends_as_one_that_was_not(kind, examples, attn_only, tmp_path):
    model = TransformerSpec(n_layers=2, n_heads=2, d_model=8, d_head=4, d_mlp=12, attn_only=attn_only)
    how = SHORT.but(batch_size=8, dropout=0.1)
    config = tiny_config(train=how, task=SEQUENCES[kind].but(examples=examples), model=model)
    whole = train(config, tmp_path / "whole")
    for stop in (5, 13):
        with pytest.raises(Interrupted):
            train(config, tmp_path / "stopped", resume=True, watcher=StopAt(stop))
    assert files(train(config, tmp_path / "stopped", resume=True)) == files(whole)


def test_an_endless_stream_is_trained_on_as_a_plain_loop_would(tmp_path):
    """Fresh sums at every step, HookedTransformer, loss over the answers in float64."""
    task = SEQUENCES["addition"].but(examples="endless")
    config = tiny_config(
        task=task, train=TrainConfig(steps=20, lr=1e-2, warmup_steps=0, batch_size=8), seeds=Seeds(order=3)
    )
    run = train(config, tmp_path / "run")
    model = build(config.model, task.shape, config.seeds.model)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-2, weight_decay=1.0, betas=(0.9, 0.98))
    for step in range(20):
        fresh = task.fresh(step, 8, seed=3)
        logits = model(torch.from_numpy(fresh.inputs))[:, task.shape.classes.positions]
        loss = torch.nn.functional.cross_entropy(
            logits.double().flatten(0, 1), torch.from_numpy(fresh.targets).flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, tensor in run.final.weights.items():  # float32 rounding in another order of work
        torch.testing.assert_close(tensor, model.state_dict()[name], rtol=0, atol=2e-4)


@pytest.mark.parametrize("chance, optimizer, batch_size", pairwise(CHANCE, ["adamw", "adam", "sgd"], ["full", 16]))
def test_what_chance_adds_does_not_depend_on_stops(chance, optimizer, batch_size, tmp_path):
    how = SHORT.but(steps=12, optimizer=optimizer, batch_size=batch_size, **CHANCE[chance])
    config = tiny_config(train=how, model=TransformerSpec(n_layers=2, n_heads=2, d_model=8, d_head=4, d_mlp=12))
    whole = train(config, tmp_path / "whole")
    for stop in (3, 7):
        with pytest.raises(Interrupted):
            train(config, tmp_path / "stopped", resume=True, watcher=StopAt(stop))
    assert files(train(config, tmp_path / "stopped", resume=True)) == files(whole)


def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path):
    """SIGKILL gives no chance to save: what was announced is enough."""
    config = tiny_config(train=TrainConfig(steps=200, log_every=4, checkpoint_every=8))
    script = (
        "import sys, torch; torch.set_num_threads(1); import interp.train.loop as loop; from interp.config import RunConfig; "
        "loop.RESUME_SECONDS = 0; loop.train(RunConfig.model_validate_json(sys.argv[1]), sys.argv[2])"
    )
    killed = subprocess.Popen([sys.executable, "-c", script, config.model_dump_json(), str(tmp_path / "killed")])
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed/steps/00000048.safetensors").exists():
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    resumed = train(config, tmp_path / "killed", resume=True)
    for file in list(resumed.path.rglob(".*.tmp")):
        file.unlink()
    assert files(resumed) == files(train(config, tmp_path / "whole"))


def test_the_same_command_gives_the_same_bytes(tmp_path):
    config = tiny_config(train=HOW["mini-batch, adam"])
    assert files(train(config, tmp_path / "a")) == files(train(config, tmp_path / "b"))


@pytest.mark.parametrize("which", ["split", "model", "order", "noise"])
def test_every_seed_decides_something_of_its_own(which, tmp_path):
    how = HOW["mini-batch, sgd, noise on updates"]
    base = train(tiny_config(train=how), tmp_path / "base")
    other = train(tiny_config(train=how, seeds=Seeds(**{which: 5})), tmp_path / "other")
    assert (base.split.train_index != other.split.train_index).any() == (which == "split")
    same_start = torch.equal(base.at(0).weights["embed.W_E"], other.at(0).weights["embed.W_E"])
    assert same_start == (which != "model")
    assert not torch.equal(base.final.weights["embed.W_E"], other.final.weights["embed.W_E"])


def test_training_equals_the_plain_transformer_lens_loop(tmp_path):
    """The loop of TransformerLens' grokking demo: a HookedTransformer, full batch, loss in float64."""
    config = tiny_config(
        train=TrainConfig(steps=20, lr=1e-2, warmup_steps=0, log_every=1),
        model=TransformerSpec(d_model=16, d_head=8, n_heads=2, d_mlp=24, biases="frozen"),
    )
    run = train(config, tmp_path / "run")
    model = build(config.model, config.task.shape, config.seeds.model)
    split = config.task.split(config.seeds.split)
    tokens, targets = torch.from_numpy(split.train.inputs), torch.from_numpy(split.train.targets)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-2, weight_decay=1.0, betas=(0.9, 0.98))
    losses = []
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(model(tokens)[:, -1].double(), targets)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # float32 rounding in another order of work; the loss falls by a factor of some hundred meanwhile
    assert run.history["train_loss"].to_numpy()[:20] == pytest.approx(losses, rel=2e-3)


def test_frozen_biases_stay_zero_and_trained_ones_move(tmp_path):
    def biases(kind):
        model = TransformerSpec(n_heads=2, d_model=16, d_head=8, d_mlp=24, biases=kind)
        weights = train(tiny_config(model=model, train=TrainConfig(steps=15)), tmp_path / kind).final.weights
        return {
            name
            for name, tensor in weights.items()
            if name.rsplit(".", 1)[-1].startswith("b_") and tensor.abs().max() > 0
        }

    assert biases("frozen") == set()
    assert biases("mlp") == {"blocks.0.mlp.b_in", "blocks.0.mlp.b_out"}
    # softmax is blind to a constant on all keys, so b_K learns nothing but rounding
    assert biases("trained") >= {"blocks.0.mlp.b_in", "blocks.0.attn.b_V", "blocks.0.attn.b_O", "unembed.b_U"}


def test_weight_decay_alone_shrinks_by_the_decoupled_law():
    """No gradient reaches a token that no prompt has; AdamW then multiplies it by 1 − lr·wd an update."""
    config = RunConfig(
        task=ModularTask(p=11, prompt="aob="),
        train=TrainConfig(steps=3, lr=0.1, weight_decay=0.5, warmup_steps=0),
        model=TransformerSpec(d_model=8, n_heads=1, d_head=8, d_mlp=8),
    )
    learner = Learner.make([config], "cpu")
    used = torch.unique(torch.from_numpy(learner.examples[0].inputs))
    untouched = (
        next(token for token in range(config.task.shape.tokens.d_vocab) if token not in used)
        if len(used) < config.task.shape.tokens.d_vocab
        else None
    )
    if untouched is None:  # every token occurs: take the one position embedding's gradient away instead
        learner.weights["embed.W_E"].register_hook(lambda gradient: gradient * 0)
        untouched = 0
    before = learner.parameters(0)["embed.W_E"][untouched].clone()
    for step in range(3):
        learner.update(step)
    torch.testing.assert_close(learner.parameters(0)["embed.W_E"][untouched], before * (1 - 0.05) ** 3)


def test_run_json_is_there_before_step_0(tmp_path, monkeypatch):
    def fail(*_):
        record = json.loads((tmp_path / "run/run.json").read_text())
        assert record["config"]["task"]["p"] == 11
        assert record["sessions"][0]["threads"] == torch.get_num_threads()
        assert record["sessions"][0]["versions"]["torch"].startswith("2.13.0")
        raise RuntimeError("step 0")

    monkeypatch.setattr(Learner, "rows", fail)
    with pytest.raises(RuntimeError, match="step 0"):
        train(tiny_config(), tmp_path / "run")


def test_a_run_of_no_steps_has_its_initial_weights(tmp_path):
    run = train(tiny_config(train=TrainConfig(steps=0)), tmp_path / "run")
    assert run.steps == (0,)
    assert open_run(run.path).final.metrics["train_accuracy"] <= 1


def test_a_finished_run_goes_on_to_more_steps_as_if_it_had_never_ended(tmp_path):
    train(tiny_config(train=SHORT), tmp_path / "run")
    longer = train(tiny_config(train=SHORT.but(steps=40)), tmp_path / "run", resume=True)
    at_once = train(tiny_config(train=SHORT.but(steps=40)), tmp_path / "at once")
    assert longer.config == at_once.config
    for step in at_once.steps:
        for name, tensor in at_once.at(step).weights.items():
            assert torch.equal(longer.at(step).weights[name], tensor)
    assert longer.history.loc[at_once.history.index].equals(at_once.history)


def test_a_run_does_not_go_on_to_fewer_steps(tmp_path):
    train(tiny_config(train=SHORT), tmp_path / "run")
    with pytest.raises(UserError, match=r"train\.steps is 24 there and 10 here"):
        train(tiny_config(train=SHORT.but(steps=10)), tmp_path / "run", resume=True)
