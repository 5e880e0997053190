"""From outside the package: a family, a task and an analysis of one's own, each in a file or a folder of its own."""

import importlib
import sys
import textwrap
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

TASK = '''
"""Parity: how many of some bits are 1, modulo 2."""

from typing import Literal

import numpy as np

from interp.shape import Shape
from interp.tasks.split import Examples
from interp.tasks.table import FiniteTask


class ParityTask(FiniteTask):
    """Learn the parity of a few bits from part of all prompts."""

    kind: Literal["parity"] = "parity"
    bits: int = 5
    train_fraction: float = 0.6

    @property
    def about(self) -> str:
        return f"parity of {self.bits} bits"

    @property
    def shape(self) -> Shape:
        return Shape.of_tokens(self.bits, d_vocab=2, answers=2)

    @property
    def n_prompts(self) -> int:
        return 2**self.bits

    def table(self) -> Examples:
        inputs = np.arange(self.n_prompts)[:, None] >> np.arange(self.bits) & 1
        return Examples(inputs, inputs.sum(axis=1) % 2)
'''

SPEC = '''
"""A linear readout of the tokens' embeddings, added up."""

from typing import ClassVar, Literal

from interp.models.family import Cost, Family, TensorSpec


class BagSpec(Family):
    """W_U·Σ W_E[token]."""

    parts: ClassVar[tuple[str, ...]] = ("words", "answers")
    kind: Literal["bag"] = "bag"
    width: int = 8

    @property
    def about(self):
        return f"bag of tokens, width {self.width}"

    @property
    def unstarted(self):
        return self

    def fits(self, shape, train):
        self.needs_inputs("tokens", shape, "a bag is of tokens")

    def tensors(self, shape):
        return {
            "words": TensorSpec((shape.tokens.d_vocab, self.width), "words", std=0.3),
            "answers": TensorSpec((self.width, shape.outputs.n), "answers", std=0.3),
            "offset": TensorSpec((shape.outputs.n,), "answers", "bias"),
        }

    def cost(self, shape):
        return Cost(shape.tokens.n_ctx * self.width + 2 * shape.outputs.n, 0)
'''

FORWARD = '''
"""The network of a bag."""

from dataclasses import dataclass
from typing import Any

from interp.models.network import Forward, Matrix, Roles


@dataclass(frozen=True)
class BagForward(Forward):
    tokens: Any

    def __call__(self, weights, factors=None):
        if self.tokens.ndim == 2:
            return weights["words"][self.tokens].sum(dim=-2) @ weights["answers"] + weights["offset"]
        runs = zip(weights["words"], self.tokens, strict=True)
        summed = [words[tokens].sum(dim=-2) for words, tokens in runs]
        outputs = [s @ W + b for s, W, b in zip(summed, weights["answers"], weights["offset"], strict=True)]
        return __import__("torch").stack(outputs)


def over(spec, shape, inputs, precision="float32", apart=False):
    return BagForward(inputs)


def roles(spec):
    return Roles(embedding=Matrix(("words",), lambda weights: weights["words"], spec.width))
'''

HOOKED = '''
"""The module of a bag."""

import torch
from interp.models.lens import HookedRootModule, HookPoint


class HookedBag(HookedRootModule):
    def __init__(self, weights):
        super().__init__()
        for name, tensor in weights.items():
            self.register_parameter(name, torch.nn.Parameter(tensor.clone()))
        self.hook_sum = HookPoint()
        self.setup()

    def forward(self, tokens):
        return self.hook_sum(self.words[tokens].sum(dim=-2)) @ self.answers + self.offset


def load(spec, shape, weights):
    return HookedBag(weights)
'''

ANALYSIS = '''
"""Offset: how far does the bias of the answers move?"""

from interp import figures
from interp.measurement import AnalysisOptions, Var, by_step, dataset
from interp.views.view import Checkpoints
from interp.views.walk import over_checkpoints


class Options(AnalysisOptions):
    """There is nothing to choose."""


VARIABLES = {"distance": Var("step", "norm of the answers' bias")}


def measure(seen: Checkpoints, options: Options):
    """Norm of the bias."""
    found = over_checkpoints(seen.run, lambda weights: {"distance": weights["offset"].norm(dim=1)}, each=64)
    return dataset(seen.run, options, found, VARIABLES, definition="L2", source="here")


def draw(found):
    """The norm over steps."""
    figure = figures.panels(["norm"], heights=[4], title="Offset")
    figures.line(figure, found["distance"], "offset", figures.INK, row=1)
    return figure


def summarise(found):
    """The norm at each step."""
    return by_step(found).assign(distance=found["distance"].values)
'''


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A package of somebody's: a task, an analysis, and a family in a folder. What it adds is taken out again."""
    folder = tmp_path / "somebodys" / "bag"
    folder.mkdir(parents=True)
    files = {"../__init__": "", "__init__": "", "../parity": TASK, "../offset": ANALYSIS}
    files |= {"spec": SPEC, "forward": FORWARD, "hooked": HOOKED}
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text).lstrip())
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
