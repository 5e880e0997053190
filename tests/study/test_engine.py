"""Many runs in several processes: nothing that befalls one costs another, and nothing is done twice."""

import os
import signal

import pytest
from helpers import files, tiny_config, when

import interp.train.__main__ as command
from interp.models import TransformerSpec
from interp.recipe import Seeds, TrainConfig
from interp.store import open_run
from interp.store.layout import checkpoint_steps
from interp.study.engine import Stopped, run_all
from interp.study.grid import grid
from interp.study.process import Process
from interp.tasks import ModularTask
from interp.train.loop import train

TINY = tiny_config(
    task=ModularTask(p=5, train_fraction=0.6),
    model=TransformerSpec(n_heads=1, d_model=8, d_head=8, d_mlp=8),
    train=TrainConfig(steps=60, lr=1e-3, log_every=20, checkpoint_every=20),
)
LONG = TINY.but(train=TINY.train.but(steps=2000, log_every=200, checkpoint_every=500))

SMALL = [
    "--task.p", "5", "--model.d-model", "8", "--model.n-heads", "1", "--model.d-head", "8", "--model.d-mlp", "8",
    "--train.steps", "30", "--train.warmup-steps", "0",
]  # fmt: skip


@pytest.fixture(autouse=True)
def a_short_look_at_the_clock(monkeypatch):
    monkeypatch.setattr("interp.study.timing.SECONDS_A_KIND", 0.03)


def times(out):
    return {file: file.stat().st_mtime_ns for file in out.rglob("*")}


def test_finished_runs_are_kept_as_they_are_and_only_new_ones_are_trained(tmp_path, capfd):
    first = run_all(grid(TINY, seeds=2), tmp_path)
    assert (list(first.runs), first.failures) == (["seed=0", "seed=1"], {})
    assert all(run.record.sessions[0].threads == first.plan.threads for run in first.runs.values())
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith("2 runs (2 to train) in ")
    assert said.err.count("120 of 120 steps  2 of 2 runs finished  after") == 1
    before = times(tmp_path)
    again = run_all(grid(TINY, seeds=3), tmp_path)
    assert list(again.runs) == ["seed=0", "seed=1", "seed=2"]
    assert {file: time for file, time in times(tmp_path).items() if file in before and file != tmp_path} == {
        file: time for file, time in before.items() if file != tmp_path
    }
    assert "nothing is left to train" in str(run_all(grid(TINY, seeds=3), tmp_path).plan)


def test_a_run_that_diverges_and_one_that_is_damaged_leave_the_others_alone(tmp_path, capfd):
    words = ["quick", *SMALL, "--vary", "train.lr=1e-3,1e30,2e-3", "--n-seeds", "2", "--out", str(tmp_path)]
    assert command.main(words) == 1
    said = capfd.readouterr()
    assert "2 of 6 runs failed; the same again tries them once more:\n  lr=1e30+seed=0: training diverged: " in said.err
    assert "4 runs in " in said.out
    (tmp_path / "lr=1e-3+seed=0" / "run.json").write_text("{}")
    before = times(tmp_path / "lr=1e-3+seed=1")
    assert command.main([*words, "--processes", "1"]) == 1
    said = capfd.readouterr()
    assert "3 of 6 runs failed" in said.err
    assert "  lr=1e-3+seed=0: " in said.err
    assert "run.json has format_version None" in said.err
    assert times(tmp_path / "lr=1e-3+seed=1") == before


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Four runs in two processes."""
    return run_all(grid(LONG, seeds=4), tmp_path_factory.mktemp("undisturbed"), processes=2).runs


def test_a_killed_worker_goes_on_once_and_is_named_when_it_is_killed_again(undisturbed, tmp_path, monkeypatch, capfd):
    kills, killed = {"seed=0": 1, "seed=2": 2}, {"seed=0": 0, "seed=2": 0}

    class Deadly(Process):
        def __init__(self, errand, threads):
            super().__init__(errand, threads)
            name = errand.name.split()[0]
            if killed[name] < kills[name]:
                killed[name] += 1
                begun = lambda: killed[name] == 2 or checkpoint_steps(tmp_path / name)[2:]  # noqa: E731
                when(lambda: begun() or self.over, self.kill)

    monkeypatch.setattr("interp.study.here.Process", Deadly)
    outcome = run_all(grid(LONG, seeds=4), tmp_path, processes=2)
    assert killed == kills
    assert list(outcome.runs) == ["seed=0", "seed=1"]
    assert outcome.failures["seed=3"].startswith(
        "its process was killed by SIGKILL, twice, and got no further; if memory"
    )
    assert "its process was killed by SIGKILL; seed=0 seed=1: going on from what was saved" in capfd.readouterr().err
    monkeypatch.undo()
    whole = run_all(grid(LONG, seeds=4), tmp_path, processes=2)
    assert whole.failures == {}
    for name, run in undisturbed.items():
        assert files(whole.runs[name]) == files(run)


def test_a_study_that_was_stopped_ends_as_one_that_was_not(undisturbed, tmp_path):
    configs = grid(LONG, seeds=4)
    when(lambda: checkpoint_steps(tmp_path / "seed=3")[2:], lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Stopped, match=r"stopped, everything is saved; . of 4 runs are left: go on with the same again"):
        run_all(configs, tmp_path, processes=2)
    assert open_run(tmp_path / "seed=3").steps[-1] < LONG.train.steps
    found = run_all(configs, tmp_path, processes=2)
    assert "seed=3" in found.plan.stopped
    for name, run in undisturbed.items():
        assert files(found.runs[name]) == files(run)


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(tmp_path, capsys):
    assert run_all(grid(TINY, seeds=2), tmp_path / "x", dry_run=True).runs == {}
    words = ["quick", *SMALL, "--out", str(tmp_path / "x"), "--dry-run"]
    assert command.main([*words, "--n-seeds", "3"]) == 0
    assert command.main(words) == 0
    said = capsys.readouterr().out.splitlines()
    runs = [line.split(" in ")[0] for line in said]
    assert runs == ["2 runs (2 to train)", "3 runs (3 to train)", "1 run (1 to train)"]
    assert not list(tmp_path.iterdir())


def test_all_runs_are_begun_anew_when_asked(tmp_path):
    train(TINY, tmp_path / "0")
    found = run_all({"0": TINY.but(seeds=Seeds(split=5))}, tmp_path, overwrite=True)
    assert found.runs["0"].config.seeds.split == 5
    assert len(found.runs["0"].record.sessions) == 1
