"""Files that other people published, converted without being told anything: what they hold, and what stays unknown."""

import shutil

import pytest
import torch
from helpers import SHORT, needs_published, origin, published

from interp import analyze
from interp.base import DoesNotApply
from interp.maths.losses import cross_entropy
from interp.store import CheckpointError
from interp.store.foreign.convert import convert
from interp.store.verify import verify

pytestmark = needs_published

FILES = (
    "clock-pizza",
    "progress-measures/wd_10-1_mod_addition_loss_curve.pth",
    "progress-measures/mod_addition_frac_train_sweep.pth",
    "progress-measures/5_digit_addition_infinite.pth",
    "progress-measures/5_digit_addition_finite.pth",
    "progress-measures/skip_trigram_finite.pth",
    "progress-measures/skip_trigram_infinite.pth",
)


@pytest.fixture(scope="module")
def main_run(tmp_path_factory):
    return convert(published(FILES[1]), tmp_path_factory.mktemp("main") / "run")[0]


@pytest.mark.parametrize(
    "name", [FILES[3], *(pytest.param(each, marks=pytest.mark.slow) for each in FILES if each != FILES[3])]
)
def test_every_file_becomes_a_run_that_is_whole_and_whose_every_analysis_fits_or_says_why_not(name, tmp_path):
    runs = convert(published(name), tmp_path / "x")
    for run in runs:
        assert [verdict.fault for verdict in verify(run.path) if verdict.fault] == []
    for run in {run.path: run for run in (runs[0], runs[-1])}.values():  # the others of a file are of its kind
        for analysis in analyze.analyses():
            try:
                analyze.draw(analyze.measure(run, analysis, **SHORT.get(analysis, {})))
            except DoesNotApply as error:
                assert str(run.path) in str(error)


def test_the_main_run_is_told_whole(main_run):
    """Its config has no activation and another weight decay than its optimizer; its training set is in neither."""
    assert main_run.steps == (107_791,)
    assert main_run.task.about == "x + y mod 113, 30% of 12,769 prompts"
    assert main_run.config.model.act_fn == "relu"
    assert main_run.config.train.weight_decay == 0.1
    assert origin(main_run).unknown == ("seeds",)
    assert any("config says weight_decay 1, its optimizer 0.1" in note for note in origin(main_run).notes)


def test_the_training_set_found_for_the_main_run_has_the_loss_that_its_file_logged(main_run):
    """9.2025e-9, of the weights one update before: on any other set of 3,830 prompts it is forty times as large."""
    logged, weights = main_run.history.loc[107_790], main_run.final.weights
    from interp.models.transformer.shared import SharedForward

    for part, loss in ((main_run.split.train, logged["train_loss"]), (main_run.split.test, logged["test_loss"])):
        forward = SharedForward(main_run.known_model, torch.from_numpy(part.inputs))
        found = float(cross_entropy(forward(weights), torch.from_numpy(part.targets)))
        assert found == pytest.approx(loss, rel=1e-3)
    assert len(main_run.split.train) == 3_830


def test_the_curves_cross_their_thresholds_where_the_paper_s_do(main_run, tmp_path):
    """First epochs below 0.01: Nanda et al. (2023), computed from the released files by others."""
    found = analyze.measure(main_run, "curves")
    assert (found.attrs["train_loss_below"], found.attrs["test_loss_below"]) == (174, 98_730)
    expected = {
        0.95: (244, 279), 0.9: (296, 387), 0.8: (323, 439), 0.7: (155, 343), 0.6: (202, 556),
        0.5: (272, 1_109), 0.4: (268, 3_324), 0.3: (274, 8_258), 0.28: (272, 15_612), 0.25: (265, 22_177),
    }  # fmt: skip
    runs = convert(published(FILES[2]), tmp_path / "sweep", task={"p": 113, "operation": "add"})
    for run in runs:
        found = analyze.measure(run, "curves")
        below = (found.attrs["train_loss_below"], found.attrs["test_loss_below"])
        assert below == expected[run.config.model_dump()["task"]["train_fraction"]]


def test_what_is_not_known_of_the_addition_is_said(tmp_path):
    (run,) = convert(published(FILES[3]), tmp_path / "x")
    shape = run.task.shape
    assert (shape.tokens.n_ctx, shape.tokens.d_vocab, shape.outputs.n) == (18, 12, 10)
    assert {"task", "model.act_fn"} <= set(origin(run).unknown)
    with pytest.raises(DoesNotApply, match="act_fn"):
        _ = run.final.model


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
@pytest.mark.parametrize("name", [FILES[1], FILES[2], FILES[3], "clock-pizza/model_p99zdpze5l.pt"])
def test_a_truncated_file_is_refused_by_its_name(name, share, tmp_path):
    source = published(name)
    content = source.read_bytes()
    (tmp_path / source.name).write_bytes(content[: int(share * len(content))])
    if source.suffix == ".pt":
        config = source.name.replace("model_", "config_").replace(".pt", ".json")
        shutil.copy(source.with_name(config), tmp_path)
    with pytest.raises(CheckpointError, match=source.name):
        convert(tmp_path / source.name, tmp_path / "x")
    assert not (tmp_path / "x").exists()
