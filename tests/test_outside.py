"""From outside the package: a family, a task and an analysis of one's own, each in a file or a folder of its own."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import SHORT

import interp
from interp import analyze
from interp.base import DoesNotApply, UserError
from interp.cli import train
from interp.models import FAMILIES
from interp.plugins import Registry
from interp.recipe import TrainConfig
from interp.store.verify import verify
from interp.tasks import TASKS

PACKAGE = Path(__file__).parent / "data/tiny_package"


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A package of somebody's: a task, an analysis, and a family in a folder. What it adds is taken out again."""
    shutil.copytree(PACKAGE / "tiny_package", tmp_path / "somebodys")
    monkeypatch.syspath_prepend(tmp_path)
    for registry in (TASKS, FAMILIES, analyze.ANALYSES):
        monkeypatch.setattr(registry, "_known", dict(registry._known))
    yield
    for name in [name for name in sys.modules if name.startswith("somebodys")]:
        del sys.modules[name]


def test_a_family_a_task_and_an_analysis_from_outside_do_all_that_those_inside_do(outside, tmp_path):
    offset = importlib.import_module("somebodys.offset")
    BagSpec = importlib.import_module("somebodys.bag.spec").BagSpec
    ParityTask = importlib.import_module("somebodys.parity").ParityTask
    TASKS.add(ParityTask)
    FAMILIES.add(BagSpec)
    analyze.add(offset)
    how = TrainConfig(steps=20, checkpoint_every=5, log_every=5, lr=1e-2)
    config = interp.RunConfig(name="parity", task=ParityTask(), model=BagSpec(), train=how)
    assert interp.RunConfig.model_validate_json(config.model_dump_json()) == config

    run = interp.train_run(config, tmp_path / "run")
    again = interp.open_run(tmp_path / "run")
    assert "parity of 5 bits" in repr(again) and "bag of tokens, width 8" in repr(again)
    tokens = torch.from_numpy(run.task.table().inputs)
    logits = again.final.model(tokens)
    assert logits.shape == (32, 2)
    cache = again.final.cache(["hook_sum"])
    torch.testing.assert_close(
        cache["hook_sum"] @ again.final.weights["answers"] + again.final.weights["offset"], logits
    )

    fitting = again.applies.fitting
    assert {"offset", "curves", "norms", "numerics", "phases"} <= set(fitting)
    assert "needs an MLP" in again.applies["fourier"]
    for name in fitting:
        found = again.measure(name, **SHORT.get(name, {}))
        analyze.draw(found)
        assert len(analyze.summarise(found))
    assert set(again.measure("norms")["group"].values) == {"words", "answers"}


def test_a_second_thing_of_one_name_is_refused(outside):
    ParityTask = importlib.import_module("somebodys.parity").ParityTask
    TASKS.add(ParityTask)
    assert TASKS.add(ParityTask) is ParityTask  # the same one again is no other
    twin = type("Twin", (ParityTask,), {"__annotations__": {}})
    with pytest.raises(UserError, match='there is another task "parity"'):
        TASKS.add(twin)


def test_a_class_that_was_not_added_is_refused_before_it_trains_as_something_else(outside):
    class Cubes(interp.ModularTask):
        def results(self, x, y):
            return (x**3 + y) % self.p

    with pytest.raises(
        UserError, match=r'Cubes has the kind "modular" of ModularTask, .* interp.tasks.TASKS.add\(Cubes\)'
    ):
        interp.RunConfig(task=Cubes(p=7))
    ParityTask = importlib.import_module("somebodys.parity").ParityTask
    with pytest.raises(
        UserError, match=r'task "parity" \(ParityTask\) is not known, so its run could not be opened; add it by'
    ):
        interp.RunConfig(task=ParityTask())
    BagSpec = importlib.import_module("somebodys.bag.spec").BagSpec
    with pytest.raises(
        UserError, match=r'model "bag" \(BagSpec\) is not known, .* interp.models.FAMILIES.add\(BagSpec\)'
    ):
        interp.RunConfig(model=BagSpec())
    with pytest.raises(UserError, match='task "parity"'):
        interp.record("nowhere", torch.nn.Linear(1, 1), task=ParityTask())


@pytest.mark.parametrize("gone", ["task", "model", "both"])
def test_a_run_opens_without_the_package_of_its_task_or_model(outside, gone, tmp_path, monkeypatch, capsys):
    task = importlib.import_module("somebodys.parity").ParityTask()
    model = importlib.import_module("somebodys.bag.spec").BagSpec()
    with monkeypatch.context() as here:
        for registry, thing in ((TASKS, task), (FAMILIES, model)):
            here.setattr(registry, "_known", {**registry._known, thing.kind: type(thing)})
        how = TrainConfig(steps=20, checkpoint_every=5, log_every=5, lr=1e-2, lr_parts=("words",), lr_scale=0.5)
        config = interp.RunConfig(name="parity", task=task, model=model, train=how)
        trained = interp.train_run(config, tmp_path / "run")
        norms, weights = trained.measure("norms"), trained.final.weights
    monkeypatch.setitem(TASKS._known, "parity", type(task)) if gone == "model" else None
    monkeypatch.setitem(FAMILIES._known, "bag", type(model)) if gone == "task" else None

    run = interp.open_run(tmp_path / "run")
    parts = ["task", "model"] if gone == "both" else [gone]
    names = {"task": 'task "parity"', "model": 'model "bag"'}
    assert all(f"{names[part]} is of a package that is not installed" in run.summary()["not known"] for part in parts)
    assert ("parity (bits 5, train_fraction 0.6)" in run.summary()["task"]) == ("task" in parts)
    assert run.config.train == how
    assert all(torch.equal(run.final.weights[name], weight) for name, weight in weights.items())
    np.testing.assert_array_equal(run.measure("norms")["l2"].sel(tensor=norms["tensor"]), norms["l2"])
    assert {"norms", "curves", "spectra", "trajectory"} <= set(run.applies.fitting)
    with pytest.raises(
        DoesNotApply, match=r"cannot tell its code: .* is of a package that is not installed; install that"
    ):
        _ = run.final.model
    if gone == "model":
        assert len(run.split.train) == 19
    else:
        with pytest.raises(DoesNotApply, match="cannot tell which prompts were trained on"):
            _ = run.split
    before = (tmp_path / "run/run.json").read_bytes()
    with pytest.raises(SystemExit):
        train.main(["--resume", str(tmp_path / "run")])
    assert "is of a package that is not installed: " in (said := capsys.readouterr().err) and "cannot go on" in said
    assert (tmp_path / "run/run.json").read_bytes() == before
    assert not [verdict for verdict in verify(tmp_path / "run") if verdict.fault]


def test_a_package_that_cannot_be_imported_is_one_sentence(outside, tmp_path):
    (tmp_path / "somebodys/broken.py").write_text("import nothing_of_that_name")
    installed(tmp_path, "[interp.tasks]\nbroken = somebodys.broken:Task\n")
    tasks: Registry = Registry("task", "interp.tasks", TASKS._named, ())
    with pytest.raises(
        UserError, match=r'task "broken" .* somebodys.broken:Task, cannot be imported \(No module named'
    ):
        tasks.find("broken")


def test_what_is_not_there_is_named_with_what_is():
    wrong: dict[str, Any] = {"task": {"kind": "modulr"}}
    with pytest.raises(UserError, match=r'task.kind is \'modulr\'; did you mean "modular"'):
        interp.RunConfig(**wrong)


def installed(path, points):
    """What pip leaves beside a package, with its entry points."""
    metadata = path / "somebodys-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: somebodys\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(points)


def test_an_installed_package_joins_by_its_entry_point(outside, tmp_path):
    installed(tmp_path, "[interp.tasks]\nparity = somebodys.parity:ParityTask\n")
    tasks: Registry = Registry("task", "interp.tasks", TASKS._named, tuple(TASKS._known.values()))
    assert "parity" in tasks and "parity" in list(tasks)
    assert "somebodys.parity" not in sys.modules  # it is imported when it is asked for
    assert tasks.read({"kind": "parity", "bits": 4}).n_prompts == 16


SCRIPT = """
import interp, interp.testing
from interp import analyze
task, model = {"kind": "parity"}, {"kind": "bag"}
how = interp.TrainConfig(steps=20, checkpoint_every=5, log_every=5, lr=1e-2)
run = interp.train_run(interp.RunConfig(name="parity", task=task, model=model, train=how), "run")
interp.testing.check_task(run.task)
interp.testing.check_family(run.config.model, run.task.shape)
interp.testing.check_analysis(analyze.find("offset"), run)
print(*run.applies.fitting)
print(*run.measure.offset()["distance"].values)
"""


def test_a_package_that_is_installed_is_found_trained_measured_and_checked_and_its_run_opens_without_it(tmp_path):
    """Nothing of it is added in Python: its entry points are all that names it."""
    source = shutil.copytree(PACKAGE, tmp_path / "source")  # where setuptools leaves its files
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target")
    pip = [sys.executable, "-m", "pip", "install", *options, str(tmp_path / "site"), str(source)]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    root = str(Path(interp.__file__).parents[1])
    with_it = {**os.environ, "PYTHONPATH": os.pathsep.join([root, str(tmp_path / "site")])}

    def python(*words):
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=with_it, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    fitting, distances = python("-c", SCRIPT).splitlines()[-2:]
    assert {"offset", "norms", "curves"} <= set(fitting.split())
    listed = python("-m", "interp")
    assert re.search("parity +Learn the parity of a few bits", listed) and re.search("offset +Offset: how far", listed)
    told = json.loads(python("-m", "interp.analyze", "offset", "run", "--json"))
    assert told["analyses"]["offset"]

    run = interp.open_run(tmp_path / "run")  # in this process the package is not installed
    assert 'task "parity" is of a package that is not installed' in run.summary()["not known"]
    norms = [float(run.at(step).weights["offset"].norm()) for step in run.steps]
    assert norms == pytest.approx(list(map(float, distances.split())), rel=1e-5)
    assert "offset" not in run.applies and "norms" in run.applies.fitting
    with pytest.raises(DoesNotApply, match='model "bag" is of a package that is not installed; install that package'):
        _ = run.final.model
