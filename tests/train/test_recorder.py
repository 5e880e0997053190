"""interp/train/recorder.py: any module and any loop, one line in; what was announced is on the disk."""

import os
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import interp
from interp.base import UserError
from interp.store.verify import verify
from interp.tasks import ModularTask
from interp.train.schedule import checkpoint_steps

SOON = interp.schedule(at=[0, 3, 6])


class Tied(nn.Module):
    """An autoencoder whose decoder is its encoder's transpose, under two names."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(6, 6, bias=False)
        self.decoder = nn.Linear(6, 6)
        self.decoder.weight = self.encoder.weight

    def forward(self, x):
        return self.decoder(self.encoder(x))


class Attentive(nn.Module):
    """One nn.MultiheadAttention between an embedding and a head, with LayerNorm."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Embedding(6, 8), nn.LayerNorm(8)
        self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 5)

    def forward(self, tokens):
        x = self.norm(self.embed(tokens))
        return self.head(x + self.attention(x, x, x)[0])[:, -1]


def convnet():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


MODULES = {
    "convnet": (convnet, lambda: torch.randn(5, 1, 4, 4)),
    "tied": (Tied, lambda: torch.randn(5, 6)),
    "attention": (Attentive, lambda: torch.randint(6, (5, 3))),
    "float64": (lambda: nn.Linear(3, 2).double(), lambda: torch.randn(5, 3).double()),
}


def loop(run, net, optimizer, examples, until):
    """Somebody's own loop, in which `step` counts updates."""
    for step in range(run.resume(), until + 1):
        loss = net(examples).square().mean()
        if step > 0:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        run.step(step, train_loss=loss)


def sgd(net):
    return torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_is_opened_and_measured(tmp_path, name):
    torch.manual_seed(0)
    make, examples = MODULES[name]
    net = make()
    with interp.record(tmp_path / "x", net, schedule=SOON) as run:
        loop(run, net, sgd(net), examples(), 6)
    found = interp.open_run(tmp_path / "x")
    assert found.steps == (0, 3, 6)
    saved = found.at(6).weights
    for key, tensor in {**dict(net.named_parameters()), **dict(net.named_buffers())}.items():
        assert torch.equal(saved[key], tensor.detach().float())
    assert len({id(p) for p in net.parameters()}) == sum(each.role != "buffer" for each in found.tensors.values())
    assert [each.fault for each in verify(tmp_path / "x") if each.fault] == []
    norm = sum(p.detach().double().square().sum() for p in net.parameters())
    assert found.measure("norms")["total_sum_of_squares"].values[-1] == pytest.approx(float(norm), rel=1e-6)
    assert {"norms", "curves", "phases", "spectra", "trajectory"} <= set(found.applies.fitting)
    assert len(found.measure("curves")["train_loss"]) == 7
    assert "checkpoint" in found.measure("phases").coords
    assert "whose code is not known" in repr(found)


def test_a_plain_loop_on_modular_addition_has_its_task_and_split(tmp_path):
    task = ModularTask(p=23)
    split = task.split(seed=3)
    net = nn.Sequential(nn.Embedding(24, 8), nn.Flatten(), nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 23))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    inputs, targets = torch.from_numpy(split.train.inputs), torch.from_numpy(split.train.targets)
    with interp.record(tmp_path / "x", net, task=task, split=split, schedule=interp.schedule(log=4, at=[30])) as run:
        for step in range(31):
            logits = net(inputs)
            loss = nn.functional.cross_entropy(logits, targets)
            run.step(step, train_loss=loss, train_accuracy=(logits.argmax(-1) == targets).float().mean())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    found = interp.open_run(tmp_path / "x")
    assert found.split.train_index.tolist() == sorted(split.train_index.tolist())
    assert found.history["train_loss"].iloc[-1] < found.history["train_loss"].iloc[0]
    assert found.tensors["2.weight"].rows == (0,)
    with pytest.raises(UserError, match="the weights are known and the code is not; give the module beside"):
        _ = found.at(30).model


def compiled(net: nn.Module) -> nn.Module:
    found = torch.compile(net)
    assert isinstance(found, nn.Module)
    return found


@pytest.mark.parametrize("wrap", [compiled, nn.DataParallel, lambda net: nn.DataParallel(compiled(net))])
def test_wrappers_leave_no_trace_in_names(tmp_path, wrap):
    with interp.record(tmp_path / "x", wrap(nn.Sequential(nn.Linear(2, 2))), schedule=SOON) as run:
        run.step(0)
    assert set(interp.open_run(tmp_path / "x").tensors) == {"0.weight", "0.bias"}


def test_a_compiled_part_leaves_no_trace_in_names(tmp_path):
    with interp.record(tmp_path / "x", nn.Sequential(compiled(nn.Linear(2, 2))), schedule=SOON) as run:
        run.step(0)
    assert set(interp.open_run(tmp_path / "x").tensors) == {"0.weight", "0.bias"}


def test_parallel_modules_are_recorded_as_what_they_wrap(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        net = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(2, 2)))
        with interp.record(tmp_path / "x", net, schedule=SOON) as run:
            loop(run, net, sgd(net), torch.randn(5, 2), 3)
    finally:
        torch.distributed.destroy_process_group()
    assert torch.equal(interp.open_run(tmp_path / "x").at(3).weights["0.weight"], net.module[0].weight)


def test_a_mask_may_be_infinite_and_is_no_weight(tmp_path):
    net = nn.Linear(2, 2)
    net.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1))
    with interp.record(tmp_path / "x", net, schedule=SOON) as run:
        run.step(0)
        with torch.no_grad():
            net.weight[0, 0] = torch.nan
        run.step(3)
    found = interp.open_run(tmp_path / "x")
    assert found.at(0).weights["mask"][0, 1] == -torch.inf
    assert "mask" not in interp.measure(found.select(steps=[0]), "norms")["tensor"].values
    with pytest.raises(UserError, match="weight with numbers that are not finite: training had diverged"):
        _ = found.at(3).weights


def test_columns_are_any_numbers_and_begin_at_any_step(tmp_path):
    with interp.record(tmp_path / "x", nn.Linear(2, 2), schedule=SOON) as run:
        run.step(0, train_loss=torch.tensor([0.1]), lr=np.float32(0.5))
        run.step(1)  # no columns, nothing saved: no row
        run.step(3, train_loss=float("inf"), late=torch.tensor(2, dtype=torch.int64))
        run.step(4, train_loss=float("nan"), **{"val/acc": True})
    history = interp.open_run(tmp_path / "x").history
    assert list(history.index) == [0, 3, 4]
    assert list(history.columns[4:]) == ["lr", "late", "val/acc"]
    assert history.loc[0, "train_loss"] == float(torch.tensor(0.1))
    assert history.loc[3, "train_loss"] == float("inf")
    assert history["late"].tolist()[1] == 2
    assert history.isna().loc[4].tolist() == [True, True, True, True, True, True, False]
    assert [each.fault for each in verify(tmp_path / "x") if each.fault] == []


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda run: run.step(2), r"step 2 comes after step 2; give each step once"),
        (lambda run: run.step(1), r"step 1 comes after step 2; give each step once"),
        (lambda run: run.step(-1), r"step is -1; take a whole number from 0"),
        (lambda run: run.step(2.5), r"step is 2\.5; take a whole number"),
        (lambda run: run.step(5, x=torch.zeros(2)), r"x is tensor\(\[0\., 0\.\]\); take one number"),
        (lambda run: run.step(5, x="low"), r"x is 'low'; take one number"),
        (lambda run: run.step(5, **{"a,b": 1}), r"'a,b' is no name of a column"),
        (lambda run: run.step(5, check=1), r"'check' is no name of a column"),
    ],
)
def test_what_cannot_be_recorded_is_refused_and_nothing_is_lost(tmp_path, call, sentence):
    with interp.record(tmp_path / "x", nn.Linear(2, 2), schedule=SOON) as run:
        run.step(0, train_loss=1)
        run.step(2, train_loss=2)
        with pytest.raises(UserError, match=sentence):
            call(run)
        run.step(6, train_loss=3)
    found = interp.open_run(tmp_path / "x")
    assert (list(found.history.index), found.steps) == ([0, 2, 6], (0, 6))


def test_a_module_that_changed_is_refused_at_writing(tmp_path):
    net = nn.Linear(2, 2)
    with interp.record(tmp_path / "x", net, schedule=SOON) as run:
        run.step(0)
        net.register_parameter("more", nn.Parameter(torch.zeros(3)))
        with pytest.raises(UserError, match="the module has an extra tensor more 3, unlike when recording began"):
            run.step(3)
    assert interp.open_run(tmp_path / "x").steps == (0,)


@pytest.mark.parametrize(
    ("module", "how", "sentence"),
    [
        (nn.ReLU(), {}, "ReLU has no parameters"),
        (nn.LazyLinear(2), {}, "weight of the module has no size yet; send a batch through it"),
        (nn.Linear(2, 2, dtype=torch.complex64), {}, "weight of the module is complex"),
        (nn.Linear(2, 2), {"split": [0]}, "split is given without a task"),
        (nn.Linear(2, 2), {"task": ModularTask(p=5), "split": [25]}, "the task's table rows 0 to 24"),
        (nn.Linear(2, 2), {"state": [3]}, "state has a int; take what has a state_dict"),
    ],
)
def test_what_no_recorder_takes_leaves_no_directory(tmp_path, module, how, sentence):
    with pytest.raises(UserError, match=sentence):
        interp.record(tmp_path / "x", module, **how)
    assert not (tmp_path / "x").exists()


def test_an_exception_in_the_loop_passes_and_loses_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), interp.record(tmp_path / "x", nn.Linear(2, 2), schedule=SOON) as run:
        for step in range(9):
            run.step(step, train_loss=1 / (4 - step))
    found = interp.open_run(tmp_path / "x")
    assert (list(found.history.index), found.steps) == ([0, 1, 2, 3], (0, 3))
    with pytest.raises(UserError, match="is not open; call it inside its with, or open another"):
        run.step(9)


def test_a_run_of_other_loops_is_not_trained_on(tmp_path, capsys):
    from interp.cli.train import main

    with interp.record(tmp_path / "x", nn.Linear(2, 2), schedule=SOON) as run:
        run.step(0, train_loss=1)
    with pytest.raises(SystemExit) as stopped:
        main(["--resume", str(tmp_path / "x")])
    assert stopped.value.code == 2
    assert "so there is nothing that training could go on from; go on with it in that loop" in capsys.readouterr().err
    with pytest.raises(UserError, match="whose code is not known here; train it in its own loop"):
        interp.train_run(interp.open_run(tmp_path / "x").config, tmp_path / "y")
    assert len(interp.open_run(tmp_path / "x").history) == 1


KILLED = """
    import os, sys, torch, interp
    net = torch.nn.Linear(3, 3)
    torch.nn.init.constant_(net.weight, 0.0)
    with interp.record(sys.argv[1], net, schedule=interp.schedule(every=5)) as run:
        for step in range(100):
            run.step(step, train_loss=step / 7, **({"late": 1} if step > 6 else {}))
            print(step, flush=True)
            with torch.no_grad():
                net.weight += 1
            if step == 13:
                os._exit(9)
"""


def test_a_killed_loop_loses_nothing_that_was_announced(tmp_path):
    script = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "x")]
    done = subprocess.run(script, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 9, done.stderr
    announced = [int(word) for word in done.stdout.split()]
    found = interp.open_run(tmp_path / "x")
    assert list(found.history.index) == announced == list(range(14))
    assert found.history["train_loss"].tolist() == [step / 7 for step in announced]
    assert found.steps == (0, 5, 10)
    assert [float(found.at(step).weights["weight"][0, 0]) for step in found.steps] == [0, 5, 10]
    assert [each.fault for each in verify(tmp_path / "x") if each.fault] == []


@pytest.mark.parametrize("log", [1, 3, 10, 50])
@pytest.mark.parametrize("every", [1, 7, 100])
def test_a_schedule_is_that_of_training(log, every):
    config = interp.TrainConfig(steps=3001, checkpoints_per_decade=log, checkpoint_every=every)
    ours = interp.schedule(log=log, every=every, at=[3001])
    assert checkpoint_steps(config) == [step for step in range(3002) if step in ours]


def test_schedules_are_spaced_by_the_logarithm_evenly_or_listed():
    assert interp.schedule(log=3).up_to(500) == [0, 1, 2, 5, 10, 22, 46, 100, 215, 464]
    assert interp.schedule(every=7).up_to(22) == [0, 7, 14, 21]
    assert interp.schedule(at=[9, 2]).up_to(22) == [2, 9]
    wrongs: list[dict[str, Any]] = [{}, {"log": -1}, {"every": 2.5}, {"at": [True]}]
    for wrong in wrongs:
        with pytest.raises(UserError, match=r"take whole numbers from 0 up|the schedule has no step"):
            interp.schedule(**wrong)


def noisy(path, until, stop=None, **how):
    """A loop with all that has a state: BatchNorm, AdamW, a falling rate, a generator of torch and one of numpy."""
    torch.manual_seed(0)
    net = convnet().double()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    rates = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    order, noise = np.random.default_rng(1), torch.Generator().manual_seed(2)
    state = [optimizer, rates, order, noise]
    with interp.record(path, net, schedule=interp.schedule(every=4), state=state, **how) as run:
        for step in range(run.resume(), until + 1):
            examples = torch.randn(8, 1, 4, 4, generator=noise, dtype=torch.float64)[order.permutation(8)[:6]]
            loss = net(examples).square().mean()
            if step > 0:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rates.step()
            run.step(step, train_loss=loss, **({"late": rates.get_last_lr()[0]} if step > 9 else {}))
            if step == stop:
                raise KeyboardInterrupt
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize("stop", [4, 10])
def test_a_loop_that_was_stopped_ends_as_one_that_never_was(tmp_path, stop):
    whole = noisy(tmp_path / "whole", 16)
    with pytest.raises(KeyboardInterrupt):
        noisy(tmp_path / "stopped", 16, stop)
    assert [each.fault for each in verify(tmp_path / "stopped") if each.fault] == []
    resumed = noisy(tmp_path / "stopped", 16)
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    assert (tmp_path / "whole" / "history.csv").read_bytes() == (tmp_path / "stopped" / "history.csv").read_bytes()
    assert interp.open_run(tmp_path / "stopped").steps == (0, 4, 8, 12, 16)
    sessions = interp.open_run(tmp_path / "stopped").record.sessions
    assert [session.from_step for session in sessions] == [0, 5 if stop == 4 else 9]


def test_the_same_script_again_only_goes_on(tmp_path):
    first = noisy(tmp_path / "x", 8)
    before = {file: file.read_bytes() for file in (tmp_path / "x").rglob("*.safetensors")}
    assert all(torch.equal(tensor, first[name]) for name, tensor in noisy(tmp_path / "x", 8).items())
    assert {file: file.read_bytes() for file in (tmp_path / "x").rglob("*.safetensors")} == before


def test_a_run_that_is_there_is_neither_begun_again_nor_cut(tmp_path):
    net = nn.Linear(2, 2)
    with interp.record(tmp_path / "x", net, schedule=SOON) as run:
        for step in range(5):
            run.step(step, train_loss=step)
    with (
        interp.record(tmp_path / "x", net, schedule=SOON) as run,
        pytest.raises(UserError, match=r"holds a run already; go on with it by run\.resume\(\)"),
    ):
        run.step(5)
    assert list(interp.open_run(tmp_path / "x").history.index) == [0, 1, 2, 3, 4]
    with interp.record(tmp_path / "x", net, schedule=SOON, overwrite=True) as run:
        assert run.resume() == 0
        run.step(0)
    assert interp.open_run(tmp_path / "x").steps == (0,)


def test_another_module_state_or_run_is_not_gone_on_with(tmp_path):
    net = nn.Linear(2, 2)
    with interp.record(tmp_path / "x", net, schedule=SOON, state=[sgd(net)]) as run:
        run.step(0)
    wrongs: list[tuple[nn.Module, list[Any], str]] = [
        (nn.Linear(2, 3), [sgd(net)], r"holds another run: model\.entries is"),
        (net, [], "has the states of 1 objects, and state has 0"),
        (net, [torch.Generator()], "has the state of something else in the place of a Generator"),
    ]
    for module, state, sentence in wrongs:
        with (
            interp.record(tmp_path / "x", module, schedule=SOON, state=state) as run,
            pytest.raises(UserError, match=sentence),
        ):
            run.resume()
    from helpers import tiny_config

    from interp.store import RunWriter

    with RunWriter(tmp_path / "trained", tiny_config()):
        pass
    sentence = "holds a run that was not recorded; record into another directory"
    with interp.record(tmp_path / "trained", net) as run, pytest.raises(UserError, match=sentence):
        run.resume()


def test_a_damaged_state_gives_way_to_the_one_before_it(tmp_path, capsys):
    whole = noisy(tmp_path / "whole", 16)
    noisy(tmp_path / "x", 12)
    newest = tmp_path / "x" / "resume" / "00000012.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    resumed = noisy(tmp_path / "x", 16)
    assert "Going on from the state before it, of step 8" in capsys.readouterr().err
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())


def test_rows_that_are_gone_are_noticed_and_so_are_checkpoints(tmp_path):
    noisy(tmp_path / "x", 12)
    history = tmp_path / "x" / "history.csv"
    history.write_text("".join(history.read_text().splitlines(keepends=True)[:-2]))
    (tmp_path / "x" / "steps" / "00000004.safetensors").unlink()
    faults = " ".join(each.fault for each in verify(tmp_path / "x"))
    assert "it ends after 11 rows, and 13 were written" in faults
    assert "has 3 checkpoints, and 4 were written" in faults


def test_a_failure_to_write_closes_the_recorder_and_the_next_goes_on(tmp_path):
    net = nn.Linear(2, 2)
    with interp.record(tmp_path / "x", net, schedule=SOON) as run:
        run.step(0, train_loss=1)
        (tmp_path / "x" / "steps").rename(tmp_path / "away")
        with pytest.raises(UserError, match="cannot write"):
            run.step(3, train_loss=2)
        with pytest.raises(UserError, match="is not open"):
            run.step(4, train_loss=2)
    (tmp_path / "away").rename(tmp_path / "x" / "steps")
    with interp.record(tmp_path / "x", net, schedule=SOON) as run:
        assert run.resume() == 1
        run.step(3, train_loss=3)
    found = interp.open_run(tmp_path / "x")
    assert (found.history["train_loss"].tolist(), found.steps) == ([1, 3], (0, 3))


def test_only_one_recorder_writes_a_run(tmp_path):
    with interp.record(tmp_path / "x", nn.Linear(2, 2)), pytest.raises(UserError, match="is writing to"):
        interp.record(tmp_path / "x", nn.Linear(2, 2))
