"""What every task and every analysis keeps, found and tried without being listed."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import xarray as xr
from helpers import SHORT, tiny_config

from interp import analyze, testing
from interp.base import DoesNotApply, UserError
from interp.kept import file
from interp.kept.source import source
from interp.models import ToySpec, TransformerSpec
from interp.recipe import TrainConfig
from interp.report import files as _export
from interp.store import Run
from interp.store.between import Curve
from interp.tasks import (
    GROUP_OPERATIONS,
    OPERATIONS,
    AdditionTask,
    Corruption,
    GroupTask,
    JointTask,
    ModularTask,
    RepeatedTask,
    SkipTrigramTask,
    SparseFeaturesTask,
)
from interp.train.connect import connect
from interp.train.loop import train

UNDEFINED = {
    "l2_ratio",  # of a bias that starts at 0
    "total_l2_ratio",
    "begins",  # of phases and halves of ways that a run of forty steps does not reach
    "ends",
    "ends_low",
    "ends_high",
    "ends_within",
    "half_way",
    "half_way_within",
    "lead",
    "lead_ratio",
    "share",  # of a neuron that never varies
    "linear_share",
    "quadratic_share",
    "input_phase",
    "output_phase",
    "ipr_neuron",  # of a matrix whose columns are no neurons
    "ratio_phase_free",  # of features that are no waves
    "learned",  # of what a run of forty steps does not learn
    "for_good",
    "set_learned",
    "class_learned",
    "first_learned",
    "second_learned",
    "explained",  # of examples of which none is learned
    "explained_by_chance",
    "pair_gap",
    "pair_gap_by_chance",
    "overlap_movement",  # at the first checkpoint, and where nothing moved
    "overlap_before",
    "llc_error",  # of chains that diverged or do not agree, as of a few draws
    "r_hat",
    "effective",
    "sweep",
    "sweep_error",
    "sweep_r_hat",
    "jump",  # of an accuracy that does not jump
    "jump_sharpness",
    "jump_low",
    "jump_high",
    "jump_residual",
    "relative_gap",
    "p_value",  # of stages that a run of forty steps does not have
    "height",
    "height_error",
    "second_minimum",
    "second_minimum_error",
    "average",
    "average_error",
    "singular_value",  # past the shorter side of a matrix
    "length_ratio",  # of the first checkpoint, where nothing has moved
    "kernel_change",  # of the first checkpoint from the one before
    "kernel_change_error",
}
"""Variables that may be NaN."""

OF_TOYS = {"regimes", "geometry"}
"""Analyses of toy models alone."""

OF_CURVES = {"stages"}
"""Analyses of more logged steps than a run of two updates has."""

OF_NOISE = {"neurons_for_noise"}
"""Analyses of wrong labels alone."""

OF_PATHS = {"path"}
"""Analyses of paths alone."""

OF_SETTINGS = {"double_descent", "variance", "neurons_for_noise"}
"""Analyses whose table over runs has a row for each setting, and no steps that some runs reach."""

UNDEFINED_IN_TOYS = UNDEFINED | {"train_accuracy", "test_accuracy", "feature_gap", "example_gap"}
"""Of their runs, which have no accuracy, and of features that are not represented."""


@pytest.fixture(scope="session")
def corrupted(tmp_path_factory) -> Run:
    """The tiny run with wrong labels."""
    return train(tiny_config(corruption=Corruption(labels=9)), tmp_path_factory.mktemp("runs") / "corrupted")


SEQUENCES = {
    "addition": AdditionTask(digits=2, examples=30, test_examples=30),
    "endless addition": AdditionTask(digits=2, examples="endless", test_examples=30),
    "repeated": RepeatedTask(vocabulary=7, length=9, subsequence=3, examples=30, test_examples=30),
    "skip trigram": SkipTrigramTask(length=6, examples=30, test_examples=30),
    "a table": ModularTask(p=11, train_fraction=0.5),
}


def measure(run: Run, name: str) -> xr.Dataset:
    return analyze.measure(run, name, **SHORT.get(name, {}))


@pytest.fixture(scope="session", params=list(analyze.analyses()))
def analysis(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def subject(analysis, tiny, corrupted, tmp_path_factory) -> Run:
    """The tiny run, or one that has what the analysis is about."""
    if analysis == "positions":
        return train(tiny_config(task=SEQUENCES["addition"]), tmp_path_factory.mktemp("runs") / "sums")
    if analysis in OF_PATHS:
        return connect(f"{tiny.path}@10", tiny.path, tmp_path_factory.mktemp("runs") / "path", Curve(points=5))
    if analysis in OF_TOYS:
        task, model = SparseFeaturesTask(n_features=12, sparsity=0.7, examples=5, test_examples=9), ToySpec(d_hidden=2)
        return train(tiny_config(task=task, model=model), tmp_path_factory.mktemp("runs") / "toy")
    return corrupted if analysis in {"breakdown", "double_descent"} | OF_NOISE else tiny


@pytest.fixture(scope="session")
def measured(analysis, subject) -> xr.Dataset:
    return measure(subject, analysis)


@pytest.fixture(scope="session")
def drawn(measured) -> go.Figure:
    return analyze.draw(measured)


def test_an_analysis_has_a_question_options_and_three_functions(measured):
    testing.has_words(measured.attrs["analysis"])


def test_step_is_the_first_dimension_of_every_variable_that_has_it(measured, subject):
    testing.has_step_first(measured, subject)


def test_values_are_finite_where_they_are_defined(measured):
    testing.is_finite(measured, UNDEFINED_IN_TOYS if measured.attrs["analysis"] in OF_TOYS else UNDEFINED)


def test_a_measurement_says_where_it_comes_from(measured, subject):
    testing.says_where_it_comes_from(measured, subject)


def test_a_saved_measurement_reopens_equal(measured, tmp_path):
    testing.reopens_equal(measured, tmp_path / "found.nc")


def test_the_table_has_every_number(measured):
    table = _export.long_form(measured)
    assert len(table) == sum(variable.size for variable in measured.data_vars.values())
    name = str(next(iter(measured.data_vars)))
    assert np.array_equal(
        table.loc[table.variable == name, "value"].to_numpy(float), measured[name].values.ravel().astype(float)
    )


def test_measuring_twice_gives_the_same(measured, subject):
    testing.is_found_again(measured, subject, **SHORT.get(measured.attrs["analysis"], {}))


def test_a_measurement_is_kept_as_it_is(measured, subject, tmp_path):
    name = measured.attrs["analysis"]
    made_from = source(subject, name, analyze.find(name).Options(**SHORT.get(name, {})))
    assert made_from is not None
    file.write(tmp_path / "kept", made_from, measured)
    again, found = file.read(tmp_path / "kept")
    assert again == made_from
    xr.testing.assert_identical(found, measured)


def test_fewer_checkpoints_give_the_same_numbers_at_those(tiny):
    part = tiny.select(every=2)
    for name in ("fourier", "norms", "superposition"):
        whole, fewer = analyze.measure(tiny, name), analyze.measure(part, name)
        for variable in set(fewer.data_vars):
            np.testing.assert_allclose(fewer[variable], whole[variable].sel(step=list(part.steps)), rtol=1e-12)


def test_a_figure_carries_the_command_that_made_it(measured, subject, drawn):
    command = f"python -m interp.analyze {measured.attrs['analysis']} {subject.path}"
    assert any(annotation.text.startswith(command) for annotation in drawn.layout.annotations)


def test_the_command_names_the_choice_of_checkpoints_and_of_options(tiny):
    found = analyze.measure(tiny.select(every=2).select(last=2), "curves", threshold=0.5)
    assert found.attrs["command"].endswith("--every 2 --last 2 --threshold 0.5")


def test_the_transition_is_marked_where_it_was_reached(measured, subject):
    marked = measured.assign_attrs(memorised=5.0, generalised=float("nan"))
    figure = analyze.draw(marked)
    over_steps = measured.attrs["analysis"] not in ("tsne", "geometry", "plane")
    assert any(shape.x0 == 5.0 for shape in figure.layout.shapes) == over_steps
    assert not any(shape.x0 != shape.x0 for shape in figure.layout.shapes)


def test_drawing_gives_a_figure_and_a_table_by_step(measured):
    testing.is_drawn(measured)


def without_a_title(figure: go.Figure) -> list[str]:
    """Axes that show their ticks and have no title, nor share their numbers with one that has."""
    axes = [*figure.select_xaxes(), *figure.select_yaxes()]
    named = {axis.plotly_name.replace("axis", "") for axis in axes if axis.title.text}
    shared = {axis.matches for axis in axes if axis.plotly_name.replace("axis", "") in named}
    shown = [axis for axis in axes if axis.showticklabels is not False and axis.visible is not False]
    return [
        axis.plotly_name
        for axis in shown
        if not {axis.plotly_name.replace("axis", ""), axis.matches} & (named | shared - {None})
    ]


def test_every_axis_that_shows_numbers_says_what_they_are(drawn):
    assert without_a_title(drawn) == []


def test_axes_of_a_plane_say_what_they_are_though_they_show_no_numbers(drawn, measured):
    if measured.attrs["analysis"] in {"tsne", "geometry"}:
        assert all(axis.title.text for axis in (*drawn.select_xaxes(), *drawn.select_yaxes()))


def test_steps_in_the_table_are_whole_numbers(measured):
    assert pd.api.types.is_integer_dtype(_export.long_form(measured)["step"])


def test_a_comparison_of_runs_counts_those_that_arrive_and_those_that_do_not(measured):
    if not hasattr(analyze.find(measured.attrs["analysis"]), "compare"):
        with pytest.raises(UserError, match="compares nothing over runs; those that do are curves, "):
            analyze.compare([measured, measured])
        return
    assert analyze.find(measured.attrs["analysis"]).compare.__doc__
    table, alone = analyze.compare([measured, measured]), analyze.compare([measured])
    if (
        measured.attrs["analysis"] in OF_TOYS | OF_PATHS | OF_SETTINGS
    ):  # there is no step that some runs reach and others do not
        assert len(table)
        return
    columns = ["reached", "collapsed", "censored", "median", "lowest", "highest"]
    assert [*table.columns][:6] == columns  # phases has the spacing too
    assert len(table)
    for count in ("reached", "collapsed", "censored"):
        assert table[count].tolist() == [2 * number for number in alone[count]]
    for step in ("median", "lowest", "highest"):
        np.testing.assert_array_equal(table[step], alone[step])


def test_json_has_no_value_that_json_does_not_know(measured):
    testing.is_json(measured)


TOKENS = [{"operands": "separate"}, {"answers": "tokens"}, {"operands": "separate", "answers": "tokens"}]


@pytest.fixture(scope="session")
def with_other_tokens(tmp_path_factory) -> list[Run]:
    """Tiny runs with wrong labels whose embedding or unembedding has more rows than there are residues."""
    tasks = [ModularTask(p=11, train_fraction=0.5).but(**which) for which in TOKENS]
    place = tmp_path_factory.mktemp("tokens")
    configs = [tiny_config(task=task, corruption=Corruption(labels=9)) for task in tasks]
    return [train(config, place / str(number)) for number, config in enumerate(configs)]


@pytest.mark.parametrize(
    "analysis",
    sorted(set(analyze.analyses()) - {"positions", "variance", "parallelograms"} - OF_TOYS - OF_PATHS),
    indirect=True,
)
def test_every_analysis_measures_as_many_residues_whatever_the_tokens(analysis, measured, with_other_tokens):
    """But `variance`, which keeps every output, also that of a token that answers nothing; and but `parallelograms`, which is of
    operands that share their tokens."""
    for run in with_other_tokens:
        found = measure(run, analysis)
        assert found.sizes == measured.sizes
        for variable in set(found.data_vars) - UNDEFINED:
            assert np.isfinite(found[variable].values.astype(float)).all(), (run.task, variable)
        assert isinstance(analyze.draw(found), go.Figure)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_trains_and_is_measured(operation, tmp_path):
    task = ModularTask(p=7, operation=operation, train_fraction=0.5)
    run = train(tiny_config(task=task, train=TrainConfig(steps=2)), tmp_path / operation)
    for name in ("fourier", "superposition"):
        found = measure(run, name)
        for variable in set(found.data_vars) - UNDEFINED:
            assert np.isfinite(found[variable].values.astype(float)).all(), (name, variable)


def applicable(run: Run) -> list[str]:
    """Analyses that measure the run, with finite numbers, a figure and a table; the others decline in a sentence."""
    measured = []
    for name in analyze.analyses():
        try:
            found = measure(run, name)
        except DoesNotApply as declined:
            assert str(run.path) in str(declined)
            continue
        measured.append(name)
        for variable in set(found.data_vars) - UNDEFINED:
            assert np.isfinite(found[variable].values.astype(float)).all(), (name, variable)
        assert isinstance(analyze.draw(found), go.Figure)
        assert len(analyze.summarise(found))
    return measured


@pytest.mark.parametrize(
    "operation",
    [pytest.param(each, marks=[] if each == "compose" else pytest.mark.slow) for each in GROUP_OPERATIONS],
)
def test_every_operation_on_a_group_trains_and_is_measured_as_far_as_it_can_be(operation, tmp_path):
    task = GroupTask(group="S3", operation=operation)
    run = train(tiny_config(task=task, train=TrainConfig(steps=2)), tmp_path / operation)
    measured = applicable(run)
    assert {"curves", "norms"} <= set(measured)
    assert ("groups" in measured) == (operation == "compose")


@pytest.mark.parametrize(
    "task",
    [
        JointTask(operations=("add", "multiply"), p=7, train_fraction=0.5),
        pytest.param(JointTask(operations=("compose", "aba"), group="S3", train_fraction=0.5), marks=pytest.mark.slow),
    ],
    ids=lambda task: task.about,
)
def test_operations_learned_jointly_are_measured_as_far_as_they_can_be(task, tmp_path):
    run = train(tiny_config(task=task, train=TrainConfig(steps=2)), tmp_path / "joint")
    assert applicable(run) == sorted(ANYWHERE | {"breakdown", "examples", "numerics", "readout", "variance"})


@pytest.mark.parametrize("operation", ["subtract", pytest.param("multiply", marks=pytest.mark.slow)])
def test_labels_may_be_wrong_that_are_no_residue_of_the_order(operation, tmp_path):
    task = ModularTask(p=11, operation=operation, train_fraction=0.5)
    config = tiny_config(task=task, train=TrainConfig(steps=2), corruption=Corruption(share=0.9))
    split = config.split()
    assert 0 in split.train.targets[split.true_targets != 0]
    without = {"positions"} | ({"parallelograms"} if operation == "subtract" else set())  # which depends on the order
    found = applicable(train(config, tmp_path / operation))
    assert {*found} == {*analyze.analyses()} - without - OF_TOYS - OF_PATHS - OF_CURVES


ANYWHERE = {
    "complexity",
    "curvature",
    "curves",
    "double_descent",
    "gap",
    "lazy",
    "llc",
    "norms",
    "phases",
    "plane",
    "sharpness",
    "spectra",
    "trajectory",
}
"""Analyses of every run whose loss is known."""

APPLIES = {
    "sequence": ANYWHERE | {"examples", "numerics", "readout"},
    "table": ANYWHERE
    | {
        "attention",
        "breakdown",
        "clock_pizza",
        "examples",
        "numerics",
        "parallelograms",
        "readout",
        "tsne",
        "variance",
    },
}
"""Analyses that need neither a table nor a sum; and those that need no MLP."""


@pytest.mark.parametrize(
    "attn_only", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["with MLP", "attention alone"]
)
@pytest.mark.parametrize("task", SEQUENCES)
def test_sequences_and_attention_alone_are_measured_as_far_as_they_can_be(task, attn_only, tmp_path):
    model = TransformerSpec(n_layers=2, n_heads=2, d_model=16, d_head=8, d_mlp=24, attn_only=attn_only)
    how = TrainConfig(steps=2, batch_size=8)
    run = train(tiny_config(task=SEQUENCES[task], model=model, train=how), tmp_path / "run")
    measured = set(applicable(run))
    if task == "a table":
        of_others = {"positions"} | OF_TOYS | OF_PATHS | OF_NOISE | OF_CURVES
        assert measured == (APPLIES["table"] if attn_only else set(analyze.analyses()) - of_others)
    else:
        several = len(SEQUENCES[task].shape.classes.positions) > 1
        assert measured == APPLIES["sequence"] | ({"positions"} if several else {"variance"})
