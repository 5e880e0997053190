"""What a study says that it will do, against what it then does."""

import os
import shutil

import pytest
from helpers import StopAt, tiny_config

from interp.base import UserError
from interp.models import ConvnetSpec, TransformerSpec
from interp.recipe import Seeds
from interp.store.writer import saved_step
from interp.study.grid import grid
from interp.study.plan import Cost, Job, Left, job, lasting, makespan, plan, share_out
from interp.study.timing import Timed, between, halving, timings, work
from interp.tasks import ImagesTask, ModularTask
from interp.train import loop
from interp.train.loop import Interrupted, train, train_many
from interp.train.memory import training_bytes


@pytest.fixture(autouse=True)
def a_short_look_at_the_clock(monkeypatch):
    monkeypatch.setattr("interp.study.timing.SECONDS_A_KIND", 0.03)


def new(count):
    return dict.fromkeys(map(str, range(count)))


def numbered(count, **parts):
    return {str(i): tiny_config(seeds=Seeds(model=i), **parts) for i in range(count)}


TRANSFORMER = {"model": TransformerSpec(n_heads=2, d_model=32, d_head=16, d_mlp=50)}
ON_ONE_PIXEL = {
    "task": ImagesTask(examples=20, test_examples=10),
    "model": ConvnetSpec(architecture="resnet18", width=1),
}
"""A batch normalisation of 1 × 1 maps, which has no variance of one image."""


@pytest.mark.parametrize(
    ("optimizer", "parts"), [("adamw", TRANSFORMER), ("sgd", TRANSFORMER), ("adamw", ON_ONE_PIXEL)]
)
def test_the_disk_that_is_planned_is_the_disk_that_is_taken(optimizer, parts, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "RESUME_SECONDS", 0)  # as in a run of more than a few seconds: two states are there
    train_config = tiny_config().train.but(optimizer=optimizer, warmup_steps=0, lr=1e-3)
    configs = numbered(2, train=train_config, **parts)
    planned = plan(configs, tmp_path).bytes
    train_many(list(configs.values()), [tmp_path / name for name in configs])
    sizes = [file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()]
    block = os.statvfs(tmp_path).f_frsize
    assert planned == sum(-(-size // block) * block for size in sizes)


def test_finished_stopped_and_new_runs_are_told_apart_and_nothing_is_touched(tmp_path):
    configs = numbered(3)
    train(configs["0"], tmp_path / "0")
    with pytest.raises(Interrupted):
        train(configs["1"], tmp_path / "1", watcher=StopAt(15))
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    assert [saved_step(tmp_path / name, config) for name, config in configs.items()] == [40, 15, None]
    found = plan(configs, tmp_path, processes=2)
    assert (found.finished, found.stopped) == (("0",), ("1",))
    assert str(found).startswith(f"3 runs (1 finished, 2 to train, 1 of them from where they stopped) in {tmp_path}: ")
    assert "in 2 processes on cpu, by steps timed on this machine now" in str(found)
    assert sorted(name for each in found.jobs for name in each.names) == ["1", "2"]
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before
    further = {"0": configs["0"].but(train=configs["0"].train.but(steps=50))}
    assert plan(further, tmp_path).jobs[0].begin == 40


def test_every_process_gets_work():
    cut = share_out(numbered(8), new(8), 2, "cpu", None)
    assert [len(names) for names in cut] == [4, 4]
    assert len(share_out(numbered(3), new(3), 16, "cpu", None)) == 3
    assert [len(names) for names in share_out(numbered(8), new(8), 2, "cpu", 8)] == [8]  # as asked for
    last_four: Left = {str(i): None for i in range(4, 8)}  # the others are finished
    assert [len(names) for names in share_out(numbered(8), last_four, 2, "cpu", None)] == [2, 2]


def test_where_a_process_would_be_idle_new_runs_part_from_those_that_go_on():
    left: Left = new(4) | {"0": 20, "1": 20}
    assert share_out(numbered(4), left, 1, "cpu", None) == [("0", "1", "2", "3")]
    assert share_out(numbered(4), {"2": 0, "3": None}, 2, "cpu", None) == [("2",), ("3",)]
    assert share_out(numbered(4), {"2": 0, "3": 0}, 2, "cpu", None) == [("2", "3")]


def test_runs_of_two_kinds_do_not_learn_together():
    small = numbered(2)
    large = {f"{name}'": config.but(task=ModularTask(p=13)) for name, config in small.items()}
    assert sorted(share_out(small | large, dict.fromkeys(small | large), 1, "cpu", None)) == [("0", "1"), ("0'", "1'")]


def test_a_study_that_was_stopped_keeps_its_batches():
    left: Left = {str(i): 20 for i in range(4, 8)}  # the others are finished
    assert share_out(numbered(8), left, 2, "cpu", None) == [("4", "5", "6", "7")]


def test_more_runs_than_fit_into_a_batch_make_as_many_for_every_process(monkeypatch):
    monkeypatch.setattr("interp.study.plan.runs_at_once", lambda configs, device: 4)
    assert [len(names) for names in share_out(numbered(10), new(10), 2, "cpu", None)] == [2, 3, 2, 3]


def test_the_time_is_that_of_the_process_that_ends_last():
    assert makespan([3.0, 2.0, 2.0], 2) == 4.0
    assert makespan([3.0, 2.0, 2.0], 1) == 7.0
    assert makespan([], 1) == 0.0


def test_a_job_takes_its_updates_its_rows_and_its_checkpoints():
    """40 steps: rows at 0, 5, …, 40 and at checkpoints 0, 1, 2, 5, 10, …, 40, of which 20, 30 and 40 are still to come."""
    configs = numbered(2)
    start = job(("0",), configs, new(2), Cost(0, 0, 0)).seconds
    assert job(("0",), configs, new(2), Cost(1, 0, 0)) == Job(("0",), 0, 40, start + 40)
    begun: Left = {"0": 30, "1": 15}
    assert job(("0", "1"), configs, begun, Cost(1, 0, 0)) == Job(("0", "1"), 15, 40, start + 25)
    assert job(("1",), configs, begun, Cost(0, 1, 0)).seconds == start + len([20, 25, 30, 35, 40])
    assert job(("1",), configs, begun, Cost(0, 0, 1)).seconds == start + len([20, 30, 40])


def test_kinds_beyond_the_time_for_timing_are_scaled_and_the_plan_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("interp.study.timing.SECONDS_TO_TIME", 0.0)
    found = plan(grid(tiny_config(), vary={"task.p": [7, 11, 13]}), tmp_path / "x", processes=1)
    assert (found.timed, found.kinds) == (1, 3)
    assert "(1 of 3 kinds of runs; the others by their work)" in str(found)
    assert [each.names for each in found.jobs] == [("p=13",), ("p=11",), ("p=7",)]  # those that take longest first


def test_the_ends_are_timed_first_and_then_the_middle_of_a_gap():
    assert halving(1) == [0] and halving(2) == [0, 1]
    assert halving(9) == [0, 8, 4, 2, 6, 1, 3, 5, 7]
    assert all(sorted(halving(n)) == list(range(n)) for n in range(1, 40))


def test_work_between_timed_batches_costs_what_lies_between_and_beyond_them_its_share():
    """A power law of the work comes back at every point; one timed batch is scaled in proportion."""
    known = [Timed((), work, Cost(1e-6 * work**0.5, 2e-6 * work**0.5, 0.0)) for work in (100, 10_000)]
    assert between(known, 2_500).update == pytest.approx(5e-5)
    assert between(known, 2_500).rows == pytest.approx(1e-4)
    assert between(known, 10_000).update == pytest.approx(1e-4)
    assert between(known, 40_000).update == pytest.approx(4e-4)
    assert between(known[:1], 50).update == pytest.approx(5e-6)


def test_wider_networks_are_more_work_and_twice_the_runs_twice_the_work():
    one, wide = tiny_config(), tiny_config(model=TransformerSpec(n_heads=2, d_model=16, d_head=8, d_mlp=96))
    assert work([wide]) > work([one])
    assert work([one, one]) == 2 * work([one])


def test_an_architecture_that_was_not_timed_is_scaled_from_another(monkeypatch):
    monkeypatch.setattr("interp.study.timing.SECONDS_TO_TIME", 0.0)
    image = ImagesTask(examples=20, test_examples=10)
    batches = [[tiny_config()], [tiny_config(task=image, model=ConvnetSpec(architecture="resnet18", width=1))]]
    costs, known, kinds = timings(batches, "cpu")
    assert (known, kinds) == (1, 2)
    assert costs[0].update / work(batches[0]) == pytest.approx(costs[1].update / work(batches[1]))


def test_a_disk_without_the_room_is_refused(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("interp.study.plan.shutil.disk_usage", lambda place: usage._replace(free=1 << 20))
    with pytest.raises(UserError, match=r"the runs need .* MiB more in .*, and its disk has 1\.0 MiB free; save fewer"):
        plan(numbered(40), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_durations_read_as_people_say_them():
    assert [lasting(seconds) for seconds in (0, 1, 40, 89, 90, 840, 9000)] == [
        "1 second", "1 second", "40 seconds", "89 seconds", "2 minutes", "14 minutes", "2.5 hours",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "configs, how, sentence",
    [
        (numbered(1), {"processes": 0}, "processes is 0; it should be at least 1"),
        (numbered(1), {"threads": 0}, "threads is 0; it should be at least 1"),
        (numbered(1), {"at_once": 0}, "at_once is 0; it should be at least 1"),
        (numbered(1), {"device": "gpu"}, 'device is "gpu", and torch finds no such GPU here'),
        ({}, {}, "there are no runs to train; give at least one configuration"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(configs, how, sentence, tmp_path):
    with pytest.raises(UserError) as refused:
        plan(configs, tmp_path / "x", **how)
    assert sentence in str(refused.value)
    assert not (tmp_path / "x").exists()


def test_a_directory_that_holds_another_run_is_refused(tmp_path):
    train(tiny_config(), tmp_path / "0")
    with pytest.raises(UserError, match=r"0 holds another run: seeds.model is 0 there and 7 here"):
        plan({"0": tiny_config(seeds=Seeds(model=7))}, tmp_path)
    assert plan({"0": tiny_config(seeds=Seeds(model=7))}, tmp_path, overwrite=True).finished == ()


def test_the_memory_of_large_runs_is_told_before_their_steps_are_timed(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("interp.study.here.MUCH_MEMORY", 0)
    monkeypatch.setattr(
        "interp.study.here.timings", lambda batches, device: told.append("timed") or ([Cost(1, 1, 1)], 1, 1)
    )
    plan(numbered(1), tmp_path, processes=1, told=told.append)
    assert told[0].startswith("about 51") and told[0].endswith("MiB of memory in 1 process; timing a few steps")
    assert told[1] == "timed"


def test_more_memory_than_there_is_is_refused_before_anything_is_timed(tmp_path, monkeypatch):
    monkeypatch.setattr("interp.train.memory.ram", lambda: 1 << 30)
    with pytest.raises(
        UserError, match=r"training in 3 processes needs about 1\.6 GiB of memory, and this machine has 1\.0 GiB"
    ):
        plan(numbered(3), tmp_path, processes=3)


def test_an_evaluation_in_parts_takes_the_memory_of_a_part_however_large_the_training_set():
    """Of 144,720 prompts in mini-batches, of which 32,768 are evaluated at a time."""
    task, how = ModularTask(p=401, train_fraction=0.9), tiny_config().train.but(batch_size=128)
    config = tiny_config(task=task, train=how, **TRANSFORMER)
    cost, n = config.model.cost(task.shape), task.n_train
    process = training_bytes([])
    assert training_bytes([config]) - process == cost.bytes(n, 32_768) < cost.bytes(n) / 2
    whole = config.but(train=how.but(batch_size="full"))
    assert training_bytes([whole]) - process > 2 * cost.bytes(n)
