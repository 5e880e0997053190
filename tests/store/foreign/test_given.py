"""Options that tell what files do not: used, told where they contradict, or refused by name."""

import pytest
from store.foreign.test_nothing_dropped import CURVES, notes, saved, weights

from interp.base import UserError
from interp.cli.convert import main
from interp.store.foreign.convert import convert


@pytest.mark.parametrize(
    ("content", "given", "says"),
    [
        ("weights", {"task": {"operation": "addd"}}, "task.operation is 'addd'; did you mean \"add\"?"),
        ("weights", {"task": {"operatoin": "add"}}, 'did you mean "operation"?'),
        ("weights", {"tsak": {}}, 'did you mean "task"?'),
        ("weights", {"train": {"steps": 3}}, "train.steps is no field that can be given"),
        ("weights", {"task": {"prompt": "ab"}}, "--task.prompt ab cannot be used: .* no modular task has"),
        (
            "weights",
            {"task": {"train_fraction": 0.3}},
            "--task.train-fraction 0.3 cannot be used: .*several modular tasks",
        ),
        ("weights", {"task": {"p": 7, "operation": "add"}}, "is not task.p 7 with any prompt"),
        (
            "weights",
            {"model": {"normalization": "LN"}},
            "--model.normalization LN cannot be used: .*no tensors for that",
        ),
        ("weights", {"model": {"act_fn": "tanh"}}, "model.act_fn is 'tanh'"),
        ("curves", {"model": {"act_fn": "relu"}}, "--model.act-fn relu cannot be used: .*no weights"),
        ("curves", {"task": {"operation": "add"}}, "--task.operation add cannot be used: .*give both"),
        ("curves", {"task": {"operation": "addd"}}, "did you mean"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_name(tmp_path, content, given, says):
    path = saved(tmp_path, "a.pth", {"model": weights()} if content == "weights" else CURVES)
    with pytest.raises(UserError, match=says.replace("?", r"\?")):
        convert(path, tmp_path / "x", **given)
    assert not (tmp_path / "x").exists()


def test_layernorm_that_shows_in_the_weights_is_not_talked_away(tmp_path):
    from interp.models import TransformerSpec
    from interp.models.network import initial_weights
    from interp.tasks import ModularTask

    spec = TransformerSpec(n_heads=1, d_model=6, d_head=3, d_mlp=5, normalization="LN")
    path = saved(tmp_path, "a.pth", dict(initial_weights(spec, ModularTask(p=5).shape, 0)))
    with pytest.raises(UserError, match=r"--model\.normalization none contradicts the weights, which have LN"):
        convert(path, tmp_path / "x", model={"normalization": "none"})


def test_what_is_given_and_used_is_in_the_run(tmp_path):
    path = saved(tmp_path, "a.pth", {"model": weights(), "step": 3})
    (run,) = convert(path, tmp_path / "x", task={"operation": "add"}, model={"act_fn": "gelu"}, train={"lr": 0.5})
    assert run.task.about.startswith("x + y mod 5")
    assert run.config.train.lr == 0.5
    assert "step 3 of a.pth is taken from its step" in notes(run)


@pytest.mark.parametrize("words", [["--task.p", "7"], ["--train.lr", "1"], ["--overwrite"], ["--step", "3"]])
def test_an_export_refuses_what_is_for_conversion(tiny, tmp_path, capsys, words):
    with pytest.raises(SystemExit):
        main([str(tiny.path), "--to", "bridge", "--out", str(tmp_path / "x"), *words])
    assert f"{words[0]} cannot be used with --to bridge" in capsys.readouterr().err
