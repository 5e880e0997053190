"""interp/cli/train.py: what the words on the command line do."""

import pexpect
import pytest
import torch

import interp.cli.train as command
from interp.models import TransformerSpec
from interp.store import open_run
from interp.tasks import GroupTask, ModularTask

TINY = [
    "--task.p", "11", "--model.d-model", "8", "--model.n-heads", "1", "--model.d-head", "8", "--model.d-mlp", "8",
    "--train.steps", "20",
]  # fmt: skip


def test_overwriting_replaces_a_run(tmp_path):
    out = ["--out", str(tmp_path / "x")]
    assert command.main(["quick", *TINY, *out]) == 0
    assert command.main(["quick", *TINY, "--seeds.model", "1", *out, "--overwrite"]) == 0
    run = open_run(tmp_path / "x")
    assert run.config.seeds.model == 1
    assert len(run.record.sessions) == 1


def test_threads_are_used_recorded_and_kept_by_resume(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: asked[-1])
    assert command.main(["quick", *TINY, "--threads", "3", "--out", str(tmp_path / "x")]) == 0
    assert asked == [3]
    assert open_run(tmp_path / "x").record.sessions[0].threads == 3
    assert command.parse(["--resume", str(tmp_path / "x")]).machine.threads == 3
    assert command.parse(["--resume", str(tmp_path / "x"), "--threads", "2"]).machine.threads == 2


def test_every_override_reaches_the_configuration(tmp_path):
    words = [
        "quick",
        "--train.weight-decay",
        "0.5",
        "--seeds.split",
        "4",
        "--task.prompt",
        "aob=",
        "--model.act-fn",
        "solu_ln",
    ]
    config = command.parse(words).config
    assert isinstance(config.task, ModularTask)
    assert isinstance(config.model, TransformerSpec)
    assert config.train.weight_decay == 0.5
    assert config.seeds.split == 4
    assert config.task.prompt == "aob="
    assert config.model.act_fn == "solu_ln"
    assert config.train.lr == 3e-3  # the preset's


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "from a spreadsheet"])
@pytest.mark.parametrize("joined", [False, True], ids=["apart", "with ="])
def test_a_groups_table_is_read_from_a_file_and_kept_in_the_configuration(tmp_path, mark, joined):
    file = tmp_path / "group.csv"
    file.write_text(mark + "1,2,0\n2,0,1\n0,1,2\n", encoding="utf-8")
    words = [f"--task.group={file}"] if joined else ["--task.group", str(file)]
    task = command.parse(["s5", *words]).config.task
    assert isinstance(task, GroupTask)
    assert task.group == "1 2 0; 2 0 1; 0 1 2"


def test_the_joint_preset_takes_any_operations():
    words = [
        "joint",
        "--task.operations",
        "compose",
        "conjugate",
        "aba",
        "--task.group",
        "S3",
        "--corruption.labels",
        "3",
    ]
    config = command.parse(words).config
    assert config.task.about == "x · y, x · y · x⁻¹ and x · y · x on S3, 30% of 108 prompts"
    assert config.corruption.labels == 3


def test_seeds_and_values_are_runs_in_directories_of_their_own(tmp_path, capsys):
    words = ["quick", *TINY, "--n-seeds", "2", "--vary", "train.weight-decay=0,1", "--out", str(tmp_path / "grid")]
    assert command.main(words) == 0
    names = [f"weight_decay={decay}+seed={seed}" for decay in "01" for seed in "01"]
    assert sorted(path.name for path in (tmp_path / "grid").iterdir()) == names
    for name, decay, seed in zip(names, (0, 0, 1, 1), (0, 1, 0, 1), strict=True):
        config = open_run(tmp_path / "grid" / name).config
        assert (config.train.weight_decay, config.seeds.model, config.seeds.split) == (decay, seed, seed)
        assert config.name == f"quick+{name}"
    said = capsys.readouterr()
    assert all(name in said.out for name in names)
    assert f"python -m interp.analyze all {tmp_path / 'grid'}" in said.out
    assert "runs 1–4 of 4, median" not in said.out  # progress is for stderr
    assert command.main([*words, "--resume"]) == 0  # finished runs are returned as they are


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--vary", "train.weight-decay"], "--vary is 'train.weight-decay'; write a field and its values"),
        (["--vary", "train.speed=1,2"], 'no field "train.speed" to vary'),
        (["--vary", "train.lr=1,2", "--vary", "train.lr=3"], "--vary names a field twice"),
        (["--vary", "train.lr=fast"], "train.lr is 'fast'; it should be a number"),
        (["--n-seeds", "0"], "--n-seeds is 0; it should be at least 1"),
        (["--at-once", "0"], "--at-once is 0; it should be at least 1"),
    ],
)
def test_a_grid_that_makes_no_sense_is_one_sentence(words, sentence, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["quick", *TINY, "--out", str(tmp_path / "grid"), *words])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert sentence in said
    assert not (tmp_path / "grid").exists()


def test_several_runs_do_not_go_into_the_directory_of_one(tmp_path, capsys):
    assert command.main(["quick", *TINY, "--out", str(tmp_path / "x")]) == 0
    with pytest.raises(SystemExit):
        command.main(["quick", *TINY, "--out", str(tmp_path / "x"), "--n-seeds", "2"])
    assert "is a run itself; choose another --out for several runs" in capsys.readouterr().err


@pytest.mark.parametrize("width", [80, 120])
def test_the_bar_shows_step_time_left_losses_and_accuracies(tmp_path, width):
    import sys

    words = ["-m", "interp.train", "quick", *TINY[:-1], "2000", "--threads", "1", "--out", str(tmp_path / "x")]
    child = pexpect.spawn(sys.executable, words, encoding="utf-8", timeout=120, dimensions=(24, width))
    colour = r"(?:\x1b\[[\d;]*m)*"
    child.expect(rf"step {colour} *\d+/2000{colour} [^\r]*\d:\d\d:\d\d{colour} left  loss \de")
    child.expect(r"^[-+]\d\d/\de[-+]\d\d acc \d+%/\d+% train/test")
    child.sendintr()
    child.expect(r"stopped at step [\d,]+, everything is saved; go on with: python -m interp.train --resume")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


@pytest.mark.parametrize("joined", [False, True], ids=["apart", "with ="])
def test_a_table_of_answers_is_read_from_a_file_and_the_run_needs_the_file_no_more(tmp_path, joined):
    file = tmp_path / "answers.csv"
    pairs = [(x, y) for x in range(11) for y in range(11) if x != y]
    file.write_text(
        "\ufeffx, y, answer\n" + "".join(f"{x},{y},{(x * x + y) % 11}\n" for x, y in pairs), encoding="utf-8"
    )
    words = [f"--task.operation={file}"] if joined else ["--task.operation", str(file)]
    assert command.main(["quick", *TINY, *words, "--out", str(tmp_path / "table")]) == 0
    file.unlink()
    run = open_run(tmp_path / "table")
    assert run.task.table().inputs[:, :2].tolist() == [list(pair) for pair in pairs]
    assert command.main(["--resume", str(tmp_path / "table")]) == 0
    same = command.main(
        ["quick", *TINY, "--task.operation", "0*(1/(x-y)) + x**2 + y", "--out", str(tmp_path / "formula")]
    )
    assert same == 0
    ours, theirs = run.final.weights, open_run(tmp_path / "formula").final.weights
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_file_without_answers_is_one_sentence(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    for file, sentence in (
        ("a.csv", "a.csv should have the columns x, y and answer"),
        ("b.csv", "b.csv cannot be opened"),
    ):
        with pytest.raises(SystemExit) as stopped:
            command.main(["quick", "--task.operation", str(tmp_path / file)])
        assert stopped.value.code == 2
        assert sentence in capsys.readouterr().err


def test_a_run_begins_from_another_and_its_record_says_so(tmp_path, capsys):
    first, second = str(tmp_path / "a"), str(tmp_path / "b")
    assert command.main(["quick", *TINY, "--train.checkpoint-steps", "3", "7", "--out", first]) == 0
    assert open_run(first).steps == (0, 3, 7, 20)
    other = ["--task.operation", "x*y + 1", "--train.weight-decay", "0.1"]
    assert command.main(["quick", *TINY, *other, "--from", f"{first}@7", "--out", second]) == 0
    run = open_run(second)
    assert (run.config.start.path, run.config.start.step) == (first, 7)
    assert torch.equal(run.first.weights["embed.W_E"], open_run(first).at(7).weights["embed.W_E"])
    grid = ["--n-seeds", "2", "--from", first, "--out", str(tmp_path / "grid")]
    assert command.main(["quick", *TINY, *grid]) == 0
    for seed in (0, 1):
        begun = open_run(tmp_path / f"grid/seed={seed}")
        assert torch.equal(begun.first.weights["embed.W_E"], open_run(first).final.weights["embed.W_E"])
    capsys.readouterr()
    with pytest.raises(SystemExit):
        command.main(["quick", *TINY[2:], "--from", f"{first}@7", "--out", str(tmp_path / "c")])
    assert (
        "does not fit the run that is to begin from it: its embed.W_E is 12 × 8, and 54 × 8 is needed"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "c").exists()


def test_resume_says_that_a_run_is_finished_and_never_begins_it_again(tmp_path, capsys):
    import shutil

    from helpers import files

    out = tmp_path / "x"
    assert command.main(["quick", *TINY, "--out", str(out)]) == 0
    shutil.rmtree(out / "resume")
    before = files(open_run(out))
    capsys.readouterr()
    assert command.main(["--resume", str(out)]) == 0
    assert f"{out} is finished: it has all of its 20 steps" in capsys.readouterr().err
    for longer in (["quick", *TINY[:-1], "30", "--out", str(out), "--resume"],):
        with pytest.raises(SystemExit) as stopped:
            command.main(longer)
        assert stopped.value.code == 2
        said = capsys.readouterr().err
        assert f"{out} has no resume state, so training cannot go on after its step 20" in said
        assert f"--from {out}@20" in said
    assert files(open_run(out)) == before
    assert command.main(["quick", *TINY[:-1], "30", "--from", f"{out}@20", "--out", str(tmp_path / "y")]) == 0


def test_a_run_is_lengthened_by_its_directory_alone(tmp_path, capsys):
    out = str(tmp_path / "x")
    assert command.main(["quick", *TINY, "--train.weight-decay", "0.5", "--out", out]) == 0
    said = capsys.readouterr().out
    assert "not generalised yet: test accuracy " in said
    assert f"; go on with: python -m interp.train --resume {out} --train.steps 40\n" in said
    assert command.main(["--train.steps", "40", "--resume", out]) == 0
    run = open_run(out)
    assert (run.steps[-1], run.config.train.weight_decay) == (40, 0.5)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        command.main(["--resume", out, "--train.steps", "50", "--train.lr", "1"])
    assert stopped.value.code == 2
    assert "train.lr is 0.003 there and 1.0 here" in capsys.readouterr().err


def test_training_ends_with_the_steps_at_which_it_learned(tmp_path, monkeypatch, capsys):
    import pandas as pd

    from interp.store import Run

    steps = range(0, 100, 10)
    shares = {"train_accuracy": [step >= 20 for step in steps], "test_accuracy": [step >= 50 for step in steps]}
    history = pd.DataFrame({name: pd.Series(values, index=steps, dtype=float) for name, values in shares.items()})
    assert command.main(["quick", *TINY, "--out", str(tmp_path / "x")]) == 0
    monkeypatch.setattr(Run, "history", history)
    assert command.learned(open_run(tmp_path / "x")) == "memorised at step 20, generalised at step 50"
