"""interp/testing.py: every task and family of interp passes the checks, and what breaks a contract is named in a sentence."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import interp
from interp import testing
from interp.models import ConvnetSpec, MlpSpec, ToySpec, TransformerSpec
from interp.shape import Shape, Vectors
from interp.tasks import (
    TASKS,
    AdditionTask,
    Examples,
    GroupTask,
    ImagesTask,
    JointTask,
    ModularTask,
    RepeatedTask,
    SkipTrigramTask,
    SparseFeaturesTask,
    TeacherTask,
)

TASKS_TRIED = [
    ModularTask(p=7, train_fraction=0.5),
    ModularTask(p=7, operation="divide", operands="separate", answers="tokens", prompt="aob="),
    GroupTask(group="S3", train_fraction=0.5),
    JointTask(operations=("add", "multiply"), p=5, train_fraction=0.5),
    AdditionTask(digits=2, examples=30, test_examples=20),
    AdditionTask(digits=2, examples="endless", test_examples=20),
    RepeatedTask(vocabulary=5, length=9, subsequence=2, examples=30, test_examples=20),
    SkipTrigramTask(keys=3, fillers=4, length=5, examples=30, test_examples=20),
    SparseFeaturesTask(n_features=12, sparsity=0.7, examples=5, test_examples=9),
    SparseFeaturesTask(n_features=12, sparsity=0.7, examples="endless", test_examples=9),
    TeacherTask(teacher_width=6, examples=20, test_examples=10),
    ImagesTask(images="digits", examples=50, pixel_noise=0.5),
]

TOKENS = Shape.of_tokens(3, d_vocab=8, answers=7)
SEQUENCE = Shape.of_tokens(5, d_vocab=6, answers=6, positions=(2, 3, 4))
IMAGE = Shape(inputs=Vectors(width=64, sides=(8, 8, 1)), outputs=TOKENS.outputs)
FAMILIES_TRIED = [
    (TransformerSpec(n_layers=2, n_heads=2, d_model=12, d_head=4, d_mlp=8), TOKENS),
    (TransformerSpec(n_layers=2, n_heads=2, d_model=12, d_head=4, d_mlp=8, normalization="LN"), SEQUENCE),
    (MlpSpec(widths=(6, 5)), TOKENS),
    (MlpSpec(widths=(6,), inputs="vectors"), IMAGE),
    (ToySpec(d_hidden=2), Shape.of_vectors(6)),
    (ConvnetSpec(), IMAGE),
]


@pytest.mark.parametrize("task", TASKS_TRIED, ids=lambda task: f"{task.kind} {task.endless}")
def test_every_task_keeps_its_contract(task):
    testing.check_task(task)


def test_every_kind_of_task_is_tried():
    assert {*TASKS} - {"unknown", "absent"} == {task.kind for task in TASKS_TRIED}


@pytest.mark.parametrize(("spec", "shape"), FAMILIES_TRIED, ids=lambda each: getattr(each, "kind", ""))
def test_every_family_keeps_its_contract(spec, shape):
    testing.check_family(spec, shape)


def broken(task: Any, **changes: Any) -> Any:
    """A task of a class of its own, some of whose members are others."""
    kind = type("Broken", (type(task),), {"__annotations__": {}, **changes})
    return kind(**task.model_dump())


TASK = ModularTask(p=7, train_fraction=0.5)


def unseeded(task, seed):
    return TASK.split(int(np.random.default_rng().integers(1000)))


def by_the_global_state(task, seed):
    np.random.rand()  # noqa: NPY002  the fault that is planted
    return TASK.split(seed)


def beyond_the_answers(task, seed):
    split = TASK.split(seed)
    return replace(split, train=Examples(split.train.inputs, split.train.targets + 7))


def with_a_row_twice(task, seed):
    split = TASK.split(seed)
    return replace(split, test=Examples(split.test.inputs[::-1], split.test.targets[::-1]))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"split": unseeded}, r"modular: split\(0\) is another the second time"),
        ({"split": by_the_global_state}, "modular: split draws from numpy's global state"),
        ({"split": beyond_the_answers}, "the train examples of modular have answers outside 0 … 6"),
        ({"split": with_a_row_twice}, "modular: what is tested is not the rest of the table"),
        ({"n_train": property(lambda task: 3)}, "modular: n_train is 3, and split has 24"),
        ({"mirrored": lambda task: np.arange(49) // 2}, "modular: mirrored does not lead back"),
        ({"about": property(lambda task: "")}, "modular: about is empty"),
    ],
)
def test_what_breaks_the_contract_of_a_task_is_named(changes, sentence, monkeypatch):
    task = broken(TASK, **changes)
    with pytest.raises(AssertionError, match="modular does not come back from its JSON: task Broken has the kind"):
        testing.check_task(task)
    monkeypatch.setitem(TASKS._known, "modular", type(task))
    with pytest.raises(AssertionError, match=sentence):
        testing.check_task(task)


def test_a_family_whose_module_computes_something_else_is_named(monkeypatch):
    spec = MlpSpec(widths=(6,))
    testing.check_family(spec, TOKENS)
    monkeypatch.setattr(testing, "over", lambda spec, shape, inputs, precision: lambda weights: inputs.double() * 0)
    with pytest.raises(AssertionError, match=r"mlp: outputs are \(9, 3\), the module's \(9, 7\)"):
        testing.check_family(spec, TOKENS)
    with pytest.raises(AssertionError, match=r"mlp does not fit a task of this shape: model.kind"):
        testing.check_family(spec, IMAGE)


def test_an_analysis_that_breaks_its_contract_is_named(tiny, monkeypatch):
    norms = interp.analyze.find("norms")
    testing.check_analysis(norms, tiny, may_be_nan=("l2_ratio", "total_l2_ratio"))
    with pytest.raises(AssertionError, match="norms: l2_ratio has values that are not finite"):
        testing.check_analysis(norms, tiny)
    monkeypatch.setattr(norms.draw, "__doc__", "")
    with pytest.raises(AssertionError, match="norms: draw has no docstring"):
        testing.check_analysis(norms, tiny)
    geometry = interp.analyze.find("geometry")
    with pytest.raises(AssertionError, match=r"geometry does not measure .*: .* needs a toy model of sparse features"):
        testing.check_analysis(geometry, tiny)
