"""Studies in a cluster: the bytes are those of one machine, and whatever dies there costs no run."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from clusters import kill, started, training
from helpers import files, tiny_config, when

import interp.study.cluster as cluster
from interp.base import UserError
from interp.models import TransformerSpec
from interp.recipe import TrainConfig
from interp.store import open_run
from interp.store.layout import checkpoint_steps
from interp.study.engine import Stopped, run_all
from interp.study.grid import grid
from interp.study.process import LOST, Ended, Errand
from interp.tasks import ModularTask

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

TINY = tiny_config(
    task=ModularTask(p=5, train_fraction=0.6),
    model=TransformerSpec(n_heads=1, d_model=8, d_head=8, d_mlp=8),
    train=TrainConfig(steps=1200, lr=1e-3, log_every=200, checkpoint_every=300),
)
ALONE: dict[str, Any] = {"at_once": 1, "threads": 1}
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def a_short_look_at_the_clock(monkeypatch):
    monkeypatch.setattr("interp.study.timing.SECONDS_A_KIND", 0.03)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Two runs, trained on this machine."""
    return run_all(grid(TINY, seeds=2), tmp_path_factory.mktemp("here"), processes=2, **ALONE).runs


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A scheduler with two workers, which stay."""
    with started(tmp_path_factory.mktemp("dask"), workers=2) as found:
        yield found


def the_same(runs, others):
    assert list(runs) == list(others)
    for name, run in runs.items():
        assert files(run) == files(others[name])


def test_a_cluster_in_this_process_gives_the_bytes_of_this_machine(here, tmp_path):
    found = run_all(grid(TINY, seeds=2), tmp_path, on="local:2", **ALONE)
    assert found.failures == {}
    assert "in 2 processes on cpu, by steps timed on " in str(found.plan)
    the_same(found.runs, here)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(cluster.TOKEN)] == []
    assert "nothing is left to train" in str(run_all(grid(TINY, seeds=2), tmp_path, on="local:2", **ALONE).plan)


def test_a_worker_that_is_killed_costs_nothing(here, tmp_path, capfd):
    with started(tmp_path / "dask", workers=1) as dask:
        out = tmp_path / "out"

        def instead():
            kill(dask.workers[0])
            dask.worker()

        when(lambda: checkpoint_steps(out / "seed=0")[2:], instead)
        found = run_all(grid(TINY, seeds=2), out, on=dask.address, **ALONE)
    assert found.failures == {}
    the_same(found.runs, here)
    assert "its worker was lost; seed=0: going on from what was saved" in capfd.readouterr().err
    begun = [session.from_step for session in found.runs["seed=0"].record.sessions]
    assert len(begun) == 2
    assert begun == sorted(begun)


@pytest.mark.slow
def test_a_study_in_a_cluster_that_was_stopped_ends_as_one_that_was_not(two, here, tmp_path):
    when(lambda: checkpoint_steps(tmp_path / "seed=1")[2:], lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Stopped, match=r"stopped, everything is saved; . of 2 runs are left"):
        run_all(grid(TINY, seeds=2), tmp_path, on=two.address, **ALONE)
    the_same(run_all(grid(TINY, seeds=2), tmp_path, on=two.address, **ALONE).runs, here)


def command(out, *words):
    """Words of a command that trains the two runs in a cluster, in a process of its own."""
    code = (
        "import sys; from pathlib import Path; sys.path[:0] = ['tests', 'tests/study']\n"
        "import test_cluster as t\n"
        f"t.run_all(t.grid(t.TINY, seeds=2), {str(out)!r}, **t.ALONE, {', '.join(words)})"
    )
    return [sys.executable, "-c", code]


@pytest.mark.slow
def test_processes_whose_client_is_killed_save_and_end(two, here, tmp_path, monkeypatch):
    long = "[setattr(t.cluster, 'SECONDS_UNHEARD', 3), setattr(t, 'TINY', t.TINY.but(train=t.TINY.train.but(steps=60_000)))]"
    words = command(tmp_path / "out", f"on=({long}, {two.address!r})[1]")
    client = subprocess.Popen(words, cwd=ROOT, start_new_session=True)
    until = time.monotonic() + 60
    while not checkpoint_steps(tmp_path / "out/seed=0")[2:]:
        assert time.monotonic() < until
        time.sleep(0.05)
    kill(client)
    client.wait()
    while training(two.home):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert open_run(tmp_path / "out/seed=0").steps[-1] < 60_000


@pytest.mark.slow
def test_what_was_left_to_the_cluster_goes_on_and_is_found_again(two, here, tmp_path):
    words = command(tmp_path / "out", f"on={two.address!r}", "leave=True")
    client = subprocess.Popen(words, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not checkpoint_steps(tmp_path / "out/seed=0")[1:]:
        assert time.monotonic() < until
        time.sleep(0.05)
    client.send_signal(signal.SIGINT)
    assert "what runs in the cluster goes on; 2 of 2 runs are left" in client.communicate()[1]
    the_same(run_all(grid(TINY, seeds=2), tmp_path / "out", on=two.address, **ALONE).runs, here)
    assert [len(open_run(tmp_path / f"out/seed={seed}").record.sessions) for seed in (0, 1)] == [1, 1]


@pytest.mark.slow
def test_a_scheduler_that_is_gone_is_told_in_a_sentence_and_its_processes_end(here, tmp_path):
    out = tmp_path / "out"
    with started(tmp_path / "dask", workers=2) as dask:
        when(lambda: checkpoint_steps(out / "seed=0")[2:], lambda: kill(dask.scheduler))
        with pytest.raises(
            UserError,
            match=r"the scheduler of tcp://.* is gone, .*: start it again, and give the same",
        ):
            run_all(grid(TINY, seeds=2), out, on=dask.address, **ALONE)
    the_same(run_all(grid(TINY, seeds=2), out, processes=2, **ALONE).runs, here)


@pytest.mark.slow
def test_a_worker_with_another_interp_is_left_aside_and_alone_refused(tmp_path):
    shutil.copytree(ROOT / "interp", tmp_path / "other/interp", symlinks=False)
    with (tmp_path / "other/interp/base.py").open("a") as file:
        file.write("\n# changed\n")
    sentence = (
        r"has interp 0\.1\.0 \(\w{8}\), torch .*, and here is interp 0\.1\.0 \(\w{8}\), .*; install the same there"
    )
    with started(tmp_path / "dask", workers=0) as dask:
        dask.worker(env={"PYTHONPATH": str(tmp_path / "other")})
        with pytest.raises(UserError, match=sentence):
            run_all(grid(TINY, seeds=2), tmp_path / "out", on=dask.address, **ALONE)
    assert not list((tmp_path / "out").glob("seed*"))


def test_a_worker_that_does_not_see_the_directory_says_so(two, tmp_path):
    from distributed import Client

    found: Any = {}
    with Client(two.address, set_as_default=False) as client:
        for _ in range(2):  # also when it is asked again
            found = client.run(cluster.attending(), "x", cluster.fingerprint(), str(tmp_path / "a/b"), 1, 0.3)
    assert {re.sub(r"^\S+", "", each) for each in found.values()} == {
        f" does not see {tmp_path / 'a'}; give --out a directory that all machines share"
    }


def test_an_errand_is_begun_again_as_long_as_it_gets_further(monkeypatch):
    from interp.study.ongoing import TRIES, TRIES_WHERE_LOST, do_all

    class Deadly:
        slots, threads, about = 1, 1, "nowhere"

        def __init__(self, code):
            self.code, self.begun = code, 0

        def begin(self, errand, tell):
            self.begun += 1
            tell(errand, Ended(self.code, "", {}))

        def look(self):
            return []

    def tried(code):
        ended, place = [], Deadly(code)
        nowhere: Any = place
        do_all(
            [Errand("a", ())], nowhere, print, lambda _, how: ended.append(how.word),
            lambda _: min(place.begun, 5), lambda _: None,
        )  # fmt: skip
        assert "and got no further" in ended[0]
        return place.begun

    assert tried(-9) == 5 + TRIES - 1
    assert tried(LOST) == 5 + TRIES_WHERE_LOST - 1


def test_what_dask_raises_is_told_as_the_reason(tmp_path):
    """Exceptions whose constructors take more than their text cannot be sent: none is raised on the way."""
    with cluster.Cluster("local:1", tmp_path, None, 1) as place:
        ended = []
        place.begin(Errand("a", ("-c", "raise SystemExit('broken')")), lambda _, what: ended.append(what))
        place.begin(Errand("b", ("-c", "import os; os.kill(os.getpid(), 9)")), lambda _, what: ended.append(what))
        until = time.monotonic() + 30
        while len([each for each in ended if isinstance(each, Ended)]) < 2:
            assert time.monotonic() < until
            time.sleep(0.01)
    assert sorted((each.code, each.word) for each in ended if isinstance(each, Ended)) == [
        (-9, "its process ended without a word"),
        (1, "broken"),
    ]


@pytest.mark.parametrize(
    ("on", "sentence"),
    [
        ("local:x", "--on is local:x; write local:4 for four workers"),
        ("local", "--on is local; write local:4"),
        ("nowhere", "--on is nowhere, which is no file; give the address of a scheduler"),
        ("tcp://127.0.0.1:1", "no dask scheduler answers at tcp://127.0.0.1:1; start one"),
        ("tcp://127.0.0.1:x", "no dask scheduler answers at tcp://127.0.0.1:x; start one"),
        ("empty.yaml", "empty.yaml is no configuration of dask-jobqueue; it should have jobqueue:"),
        ("two.yaml", "two.yaml is no configuration of dask-jobqueue"),
        ("bare.yaml", "bare.yaml is no configuration of dask-jobqueue"),
        ("slurm.yaml", "nothing says how many processes to ask the queue for; give --processes"),
    ],
)
def test_what_names_no_cluster_is_told_in_a_sentence(on, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("interp.study.connection.SECONDS_TO_ANSWER", 1)
    Path("empty.yaml").write_text("")
    Path("two.yaml").write_text("jobqueue:\n  slurm: {}\n  pbs: {}\n")
    Path("slurm.yaml").write_text("jobqueue:\n  slurm:\n    cores: 1\n    memory: 1GB\n")
    Path("bare.yaml").write_text("jobqueue:\n  slurm:\n")
    processes = None if on == "slurm.yaml" else 2
    with pytest.raises(UserError, match=re.escape(sentence)):
        run_all(grid(TINY, seeds=2), tmp_path / "out", processes, on=on)
    assert not (tmp_path / "out").exists()


def test_leaving_needs_a_cluster_that_stays(tmp_path):
    with pytest.raises(UserError, match="--leave is for a cluster, and --on is not given"):
        run_all(grid(TINY, seeds=2), tmp_path, leave=True)
    with pytest.raises(UserError, match="--leave needs the address of a scheduler that stays, and --on is local:2"):
        run_all(grid(TINY, seeds=2), tmp_path, on="local:2", leave=True)


def test_runs_are_measured_in_a_cluster_as_they_are_here(tiny, tmp_path, capsys):
    from interp.cli.analyze import main

    for where in ("here", "there"):
        for name in ("a", "b"):
            shutil.copytree(tiny.path, tmp_path / where / name, ignore=shutil.ignore_patterns("analysis"))
    assert main(["norms", str(tmp_path / "here"), "--every", "2"]) == 0
    assert main(["norms", str(tmp_path / "there"), "--every", "2", "--on", "local:2"]) == 0
    said = capsys.readouterr()
    assert "2 runs are measured in 2 processes of local:2" in said.err
    assert "measured  2 of 2 runs" in said.err
    found = [{file.relative_to(home): file.read_bytes() for file in home.rglob("*.csv")} for home in places(tmp_path)]
    assert found[0] == found[1]
    assert len(found[0]) > 2
    (tmp_path / "there/a/run.json").write_text("{}")
    assert main(["norms", str(tmp_path / "there"), "--on", "local:2"]) == 2
    assert f"error: {tmp_path / 'there/a'}: " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["norms", str(tmp_path / "there"), "--on", "local:2", "--json"])
    assert "--on has files written, and --json prints" in capsys.readouterr().err


def places(home):
    return home / "here", home / "there"


QUEUE = """jobqueue:
  slurm:
    cores: 1
    memory: 1GB
    interface: lo
    log-directory: logs
    python: {python}
"""


def programs(monkeypatch, place, **scripts):
    """Programs of a queue in a folder that comes first in PATH, and a file that asks it for jobs."""
    for name, script in scripts.items():
        (place / name).write_text(f"#!/bin/bash\n{script}\n")
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    monkeypatch.chdir(place)
    (place / "slurm.yaml").write_text(QUEUE.format(python=sys.executable))
    return str(place / "slurm.yaml")


def test_what_a_queue_answers_is_told(tmp_path, monkeypatch):
    on = programs(monkeypatch, tmp_path, sbatch="echo 'sbatch: error: invalid partition' >&2; exit 1", scancel="exit 0")
    words = ["quick", "--task.p", "5", "--n-seeds", "2", "--out", "out", "--on", on, "--processes", "2"]
    done = subprocess.run([sys.executable, "-m", "interp.train", *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"error: {on}: the queue answers: sbatch: error: invalid partition\n"
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_jobs_of_a_queue_train_as_this_machine_does(here, tmp_path, monkeypatch):
    on = programs(
        monkeypatch, tmp_path,
        sbatch='setsid bash "$1" >/dev/null 2>&1 & echo "Submitted batch job $!"', scancel='kill -- "-$1"',
    )  # fmt: skip
    found = run_all(grid(TINY, seeds=2), tmp_path / "out", 2, on=on, **ALONE)
    the_same(found.runs, here)
