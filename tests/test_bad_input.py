"""One sentence that names what was given, what is allowed and what to do; exit code 2; no traceback; nothing lost."""

import shutil

import pytest

from interp.cli.analyze import main as analyze
from interp.cli.connect import main as connect
from interp.cli.study import main as study
from interp.cli.train import main as train
from interp.models.network import initial_weights
from interp.probe import main as probe

pytestmark = pytest.mark.usefixtures("no_browser")


@pytest.fixture
def says(capsys):
    """Run a command that must fail, and return its sentence."""

    def says(command, *words) -> str:
        with pytest.raises(SystemExit) as stopped:
            command([str(word) for word in words])
        assert stopped.value.code == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert "Traceback" not in "\n".join(said)
        return said[-1]

    return says


def test_an_unknown_analysis_names_the_near_miss(says):
    assert says(analyze, "furier", "x") == 'error: no analysis "furier"; did you mean "fourier"?'
    assert "known are" in says(analyze, "zzz", "x")


def test_an_unknown_preset_names_the_near_miss(says):
    assert says(train, "quik") == 'error: no preset "quik"; did you mean "quick"?'
    assert "error: the preset comes before --train.lr; known are addition, " in says(train, "--train.lr", "1")


def test_a_missing_directory(says, tmp_path):
    assert "is no directory" in says(analyze, "fourier", tmp_path / "nowhere")
    assert "is no directory" in says(train, "--resume", tmp_path / "nowhere")
    assert "is no directory" in says(probe, tmp_path / "nowhere")


def test_a_missing_directory_beside_runs_names_the_near_miss(says, tiny):
    assert f'did you mean "{tiny.path.name}"? in {tiny.path.parent}' in says(analyze, "fourier", str(tiny.path) + "y")


def test_an_empty_directory(says, tmp_path):
    assert "is empty" in says(analyze, "fourier", tmp_path)


def test_a_directory_that_is_no_run(says, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    assert "has no run.json, so it is no run" in says(analyze, "all", tmp_path)


def test_a_directory_of_runs_names_them(says, tiny):
    assert str(tiny.path) in says(probe, tiny.path.parent)


@pytest.mark.parametrize("memory", ["much", "0", "-1GiB", "1 XiB", "2iB", "", "nan", "1e9"])
def test_memory_that_is_no_amount(says, tiny, memory):
    assert f'--memory is "{memory}"; ' in says(analyze, "fourier", tiny.path, f"--memory={memory}")


def test_memory_that_is_too_little(says, tiny_copy):
    assert "--memory is 1 KiB; measuring" in says(analyze, "norms", tiny_copy.path, "--memory", "1KiB")


@pytest.mark.parametrize(
    ("text", "size"), [("2GiB", 2 << 30), ("512MB", 512_000_000), ("1.5 kib", 1536), ("7", 7), (7, 7), ("3 b", 3)]
)
def test_amounts_of_memory(text, size):
    from interp.machine import memory_size

    assert memory_size(text) == size


def test_no_directory(says):
    assert "no run given" in says(analyze, "fourier")


def test_a_run_that_the_analysis_cannot_read(says, tmp_path):
    from helpers import tiny_config

    from interp.recipe import TrainConfig
    from interp.tasks import ModularTask
    from interp.train.loop import train as learn

    learn(tiny_config(task=ModularTask(p=3, train_fraction=0.5), train=TrainConfig(steps=1)), tmp_path / "p3")
    said = says(analyze, "fourier", tmp_path / "p3")
    assert 'has 3 residues in its order (p = 3); analysis "fourier" needs at least 5 to tell' in said
    assert analyze(["all", str(tmp_path / "p3")]) == 0  # what does not fit is left out, the rest is there
    assert (tmp_path / "p3/analysis/norms.csv").exists()
    assert not (tmp_path / "p3/analysis/fourier.csv").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--task.p", "1"], "error: --task.p is 1; it should be greater than or equal to 3"),
        (["--task.train-fraction", "1.5"], "error: --task.train-fraction is 1.5; it should be less than 1"),
        (["--task.train-fraction", "0"], "error: --task.train-fraction is 0.0; it should be greater than 0"),
        (["--task.train-fraction", "0.0001"], "leaves nothing to train on; take at least"),
        (
            ["--task.operation", "divide", "--task.p", "12"],
            "has no inverse modulo 12; take a prime --task.p such as 13",
        ),
        (["--train.batch-size", "0"], 'take a number from 1 up, or "full"'),
        (["--train.betas", "0.9", "1.0"], "each must be at least 0 and less than 1"),
        (["--train.lr", "nan"], "error: --train.lr is nan; it should be"),
        (
            ["--train.noise-scale", "0.01"],
            '--train.noise is "none" and --train.noise-scale is 0.01; give both, such as',
        ),
        (["--train.noise", "updates"], '--train.noise is "updates" and --train.noise-scale is 0; give both, such as'),
        (
            ["--train.noise", "weights", "--train.noise-scale", "-1"],
            "--train.noise-scale is -1.0; it should be greater",
        ),
        (["--train.dropout", "1"], "error: --train.dropout is 1.0; it should be less than 1"),
        (["--name", "../x"], "error: --name is '../x'; it may have letters, digits and ._+=@- only"),
        (["--threads", "0"], "error: --threads is 0; it should be at least 1"),
        (
            ["--train.examples", "1000", "--train.steps=100"],
            "error: --train.examples is 1,000, which alone says how long to train; leave --train.steps out",
        ),
        (
            ["--train.examples", "1000"],
            "error: quick has 1 steps, and its learning rate rises over --train.warmup-steps 10",
        ),
        (
            ["--train.warmup-steps", "1e4"],
            "quick has 1,600 steps, and its learning rate rises over --train.warmup-steps 10,000",
        ),
        (["--vary", "train.steps=5,20"], "quick+steps=5 has 5 steps, and its learning rate rises over"),
    ],
)
def test_values_that_are_not_allowed(says, tmp_path, words, sentence):
    assert sentence in says(train, "quick", *words, "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--task.group", "X5"], "error: --task.group is 'X5'; it should be C, D, S or A with a number, such as S5"),
        (["--task.group", "S7"], "error: --task.group is 'S7'; it should have at most 1,024 elements"),
        (["--task.group", "S3", "--task.train-fraction", "0.01"], "leaves nothing to train on; take at least 0.029"),
    ],
)
def test_groups_that_are_not_allowed(says, tmp_path, words, sentence):
    assert sentence in says(train, "s5", *words, "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("preset", "words", "sentence"),
    [
        (
            "quick",
            ["--corruption.labels", "2000"],
            "--corruption.labels is 2,000; the training set has 1,123 examples, so take at most",
        ),
        (
            "quick",
            ["--corruption.share", "1.1"],
            "error: --corruption.share is 1.1; it should be less than or equal to 1",
        ),
        ("quick", ["--corruption.share", "0.1", "--corruption.labels", "5"], "give one of the two"),
        ("joint", ["--task.operations", "add"], "--task.operations has 1, and joint training needs at least 2"),
        ("joint", ["--task.operations", "add", "aba"], 'has "aba", which is on a group; take add, '),
        ("s5", ["--task.group", "0 1; 1 1"], "this one is none (no inverse: no y has 1·y = 0 = y·1)"),
        ("s5", ["--task.group", "nowhere.csv"], "error: nowhere.csv cannot be opened: no such file or directory"),
    ],
)
def test_labels_operations_and_tables_that_are_not_allowed(says, tmp_path, preset, words, sentence):
    assert sentence in says(train, preset, *words, "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"0,1\n1,1\n", "group.csv should be the table of a group, and this one is none (no inverse: no y has 1·y = 0"),
        (
            b"e,a\na,e\n",
            "group.csv should be the table of a group, its elements numbered from 0, and has the entry 'e'",
        ),
        (b"", "group.csv should be the table of a group, and has no entry"),
        (b"\xff\xfe\x00", "group.csv is no text; it should hold the table of a group"),
    ],
    ids=["no inverse", "letters", "empty", "binary"],
)
def test_files_that_hold_no_group(says, tmp_path, content, sentence):
    (tmp_path / "group.csv").write_bytes(content)
    assert sentence in says(train, "s5", "--task.group", tmp_path / "group.csv", "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--train.weight-dekay 1", "no option --train.weight-dekay; did you mean --train.weight-decay?"),
        ("--train.weight_dekay=1", "no option --train.weight_dekay; did you mean --train.weight-decay?"),
        ("-p 59", "no option -p; did you mean --task.p?"),
        ("--lr 1", "no option --lr; did you mean --train.lr?"),
        (
            "--seed 3",
            "no option --seed; did you mean --seeds.split, --seeds.model, --seeds.order, --seeds.noise or --seeds.labels?",
        ),
        ("--zzz 1", "no option --zzz; python -m interp.train quick --help lists all"),
        ("more", '"more" belongs to no option; leave it out, or see python -m interp.train quick --help'),
        ("--dry-run yes", '"yes" belongs to no option; leave it out, or see python -m interp.train quick --help'),
        ("--train.lr fast", "--train.lr is fast; it should be a number"),
        ("--train.lr", "--train.lr has no value; it should be a number"),
        ("--train.steps 1.5", "--train.steps is 1.5; it should be a whole number"),
        ("--train.batch-size=x", "--train.batch-size is x; it should be a whole number or full"),
        ("--train.betas 0.9", "--train.betas is 0.9; it should be 2 values, each a number"),
        ("--train.checkpoint-steps 5 x", "--train.checkpoint-steps is 5 x; it should be values, each a whole number"),
        ("--vary", "--vary has no value; it should be FIELD=VALUE,VALUE…"),
        ("--model.act-fn reluu", '--model.act-fn is "reluu"; did you mean "relu"?'),
    ],
)
def test_words_that_are_no_options_or_values(says, words, sentence):
    assert says(train, "quick", *words.split()) == f"error: {sentence}"


def test_options_that_are_missing_or_of_another_command(says):
    assert says(analyze, "fourier", "x", "--evry", "2") == "error: no option --evry; did you mean --every?"
    assert says(connect, "a") == "error: B[@STEP] is missing; python -m interp.connect --help tells what to give"
    assert says(study, "compare", "x.csv") == (
        "error: --by and --of are missing; python -m interp.study compare --help tells what to give"
    )


def test_whole_numbers_may_be_written_with_an_exponent():
    from interp.cli.train import parse

    train = parse(["quick", "--train.steps", "1e4", "--train.batch-size", "5e2"]).config.train
    assert (train.steps, train.batch_size) == (10_000, 500)


def test_output_that_is_a_file(says, tiny, tmp_path):
    (tmp_path / "file").write_text("x")
    assert "is a file" in says(analyze, "norms", tiny.path, "--out", tmp_path / "file")


def test_output_on_a_system_file_tree(says, tiny):
    said = says(analyze, "norms", tiny.path, "--out", "/proc/interp")  # not writable, for root neither
    assert said.startswith("error: cannot write /proc/interp")
    assert "--out" in said
    assert "cannot write /proc/interp" in says(train, "quick", "--out", "/proc/interp")


def test_a_full_disk_is_no_reason_to_resume_what_does_not_train(says, tiny, tmp_path, monkeypatch):
    import errno
    import os

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    said = says(analyze, "norms", tiny.path, "--out", tmp_path / "out")
    assert said.endswith("no space left on device; make room, then give the command again")


def test_a_truncated_checkpoint_is_named_and_can_be_left_out(says, tiny_copy, capsys):
    broken = tiny_copy.at(20).path
    broken.write_bytes(broken.read_bytes()[:-5])
    said = says(analyze, "fourier", tiny_copy.path)
    assert str(broken) in said
    assert "--skip-broken" in said
    assert analyze(["fourier", str(tiny_copy.path), "--skip-broken"]) == 0
    assert str(broken) in capsys.readouterr().err
    import xarray as xr

    with xr.open_dataset(tiny_copy.path / "analysis/fourier.nc") as found:
        assert set(tiny_copy.steps) - set(found["step"].values) == {20}


def test_of_several_runs_the_good_ones_are_measured(tiny_copy, tmp_path, capsys):
    good = tmp_path / "good"
    shutil.copytree(tiny_copy.path, good)
    assert analyze(["curves", str(tmp_path / "missing"), str(good)]) == 2
    assert (good / "analysis/curves.nc").exists()
    assert "missing is no directory" in capsys.readouterr().err


def test_a_step_without_a_checkpoint_names_the_nearest(says, tiny):
    assert "no checkpoint at step 39; the nearest are at 30 and 40" in says(
        analyze, "norms", tiny.path, "--steps", "39"
    )


def test_a_frequency_that_the_modulus_has_not(says, tiny):
    assert "it should be 1 to 5" in says(analyze, "tsne", tiny.path, "--frequency", "6")


def test_the_help_asked_for_is_no_error(capsys):
    assert train(["--help"]) == 0
    assert analyze(["--help"]) == 0
    assert probe(["--help"]) == 0
    assert train([]) == analyze([]) == probe([]) == 2


def test_resuming_and_overwriting_at_once(says, tiny_copy):
    said = says(train, "quick", "--out", tiny_copy.path, "--resume", "--overwrite")
    assert "give one of them" in said
    assert tiny_copy.final.weights


def test_two_runs_of_one_name_and_one_out(says, tiny_copy, tmp_path):
    (tmp_path / "other").mkdir()
    twin = shutil.copytree(tiny_copy.path, tmp_path / "other" / tiny_copy.path.name)
    said = says(analyze, "norms", tiny_copy.path, twin, "--out", tmp_path / "out")
    assert "would both write to" in said
    assert not (tmp_path / "out").exists()


def test_a_run_named_twice_is_measured_once(tiny_copy, capsys):
    assert analyze(["curves", str(tiny_copy.path), str(tiny_copy.path)]) == 0
    assert capsys.readouterr().out.count("memorised at step") == 1


def test_a_name_too_long_for_the_system(says):
    for command in (lambda words: analyze(["norms", *words]), probe):
        assert "file name too long" in says(command, "x" * 300)
    assert "file name too long" in says(train, "quick", "--out", "x" * 300)


def test_a_history_that_is_damaged_or_gone(says, tiny_copy):
    path = tiny_copy.path / "history.csv"
    path.write_text(path.read_text() + "5,1,1,1,1,00000000\n")
    assert "line 13 does not match its check" in says(analyze, "curves", tiny_copy.path)
    assert train(["--resume", str(tiny_copy.path)]) == 0  # which writes what comes after its state anew
    assert analyze(["curves", str(tiny_copy.path)]) == 0
    path.write_text(path.read_text().replace("0.", "1.", 1))
    assert "line 2 does not match its check" in says(train, "--resume", tiny_copy.path)
    path.unlink()
    assert "history.csv" in says(train, "--resume", tiny_copy.path)


def test_a_history_that_lost_its_rows(says, tiny_copy):
    path = tiny_copy.path / "history.csv"
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    assert "it ends after 0 rows, and 11 were written" in says(analyze, "curves", tiny_copy.path)


def test_a_history_without_rows(says, tmp_path):
    from helpers import tiny_config

    from interp.store import RunWriter

    config = tiny_config()
    with RunWriter(tmp_path / "x", config) as writer:
        writer.checkpoint(0, initial_weights(config.model, config.task.shape, 0))
    assert "needs logged losses" in says(analyze, "curves", tmp_path / "x")
    assert analyze(["norms", str(tmp_path / "x")]) == 0


def test_training_that_diverges_stops_and_keeps_what_came_before(says, tmp_path):
    from interp.store import open_run

    tiny_options = ["--task.p", "11", "--model.d-model", "8", "--model.d-mlp", "8", "--train.steps", "30"]
    said = says(train, "quick", *tiny_options, "--train.lr", "1e30", "--out", tmp_path / "x")
    assert "training diverged: the train loss is nan" in said
    assert "take a smaller --train.lr" in said
    assert open_run(tmp_path / "x").first.weights


def test_weights_that_are_not_finite_are_named_by_file(says, tmp_path):
    from helpers import tiny_config

    from interp.store import RunWriter

    config = tiny_config()
    weights = initial_weights(config.model, config.task.shape, 0)
    weights["embed.W_E"][0, 0] = float("nan")
    with RunWriter(tmp_path / "x", config) as writer:
        writer.checkpoint(0, weights)
    for name in ("fourier", "norms", "superposition", "tsne"):
        said = says(analyze, name, tmp_path / "x")
        assert "00000000.safetensors has embed.W_E with numbers that are not finite" in said
    assert "no readable checkpoint" in says(analyze, "all", tmp_path / "x", "--skip-broken")


def test_a_damaged_resume_state_says_what_to_do(says, tiny_copy):
    for path in (tiny_copy.path / "resume").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    said = says(train, "--resume", tiny_copy.path)
    assert "restore it, or begin the run again with --overwrite" in said
    assert "--skip-broken" not in said


def test_what_fills_a_run_json_does_not_fill_the_screen(says, tiny_copy):
    (tiny_copy.path / "run.json").write_text('{"config": "' + "x" * 100_000 + '"}')
    assert len(says(analyze, "norms", tiny_copy.path)) < 400


def test_stopping_a_command_is_no_traceback(monkeypatch, capsys):
    import interp.cli.analyze as command

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_analyses", stop)
    with pytest.raises(SystemExit) as stopped:
        analyze(["norms", "x"])
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "stopped\n"


def test_words_in_another_order(says, tiny):
    assert f"the analysis comes first: python -m interp.analyze fourier {tiny.path}" in says(
        analyze, tiny.path, "fourier"
    )
    assert f"write python -m interp.train --resume {tiny.path}" in says(train, tiny.path, "--resume")
    assert "--resume needs the directory of a run" in says(train, "--resume")


def test_results_of_some_checkpoints_leave_those_of_all(tiny_copy):
    assert analyze(["norms", str(tiny_copy.path)]) == 0
    whole = (tiny_copy.path / "analysis/norms.csv").read_bytes()
    assert analyze(["norms", str(tiny_copy.path), "--steps", "40"]) == 0
    assert (tiny_copy.path / "analysis/norms.csv").read_bytes() == whole
    assert (tiny_copy.path / "analysis/part/norms.csv").exists()


def test_json_leaves_the_files_alone(tiny_copy, tmp_path, capsys):
    before = sorted(tiny_copy.path.rglob("*"))
    assert analyze(["curves", str(tiny_copy.path), "--json"]) == 0
    assert sorted(tiny_copy.path.rglob("*")) == before
    assert analyze(["curves", str(tiny_copy.path), "--json", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/curves.nc").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["{tiny}", "nowhere"], "nowhere is no directory"),
        (["{tiny}@7", "{tiny}"], "has no checkpoint at step 7; the nearest are at 5 and 10"),
        (["{tiny}", "{tiny}", "--points", "1"], "error: --points is 1; it should be greater than or equal to 2"),
        (
            ["{tiny}", "{tiny}", "--steps", "9"],
            '--steps is 9 and curve "line", on which nothing is trained; leave it out',
        ),
        (["{tiny}", "{tiny}", "--curve", "bezier", "--lr", "0"], "error: --lr is 0.0; it should be greater than 0"),
        (["{tiny}", "{tiny}", "--out", "{tiny}", "--overwrite"], "is an end of the path and cannot hold it; choose"),
        (
            ["{tiny}", "{other}"],
            "to one of another kind: task.p is 11 in {tiny}@40 and 7 in {other}@1; take two of one kind",
        ),
        (["{tiny}", "{curves}"], "has learning curves and no weights"),
    ],
)
def test_paths_that_there_are_not(says, tiny, tmp_path, words, sentence):
    from helpers import tiny_config

    from interp.recipe import TrainConfig
    from interp.store.foreign.convert import convert
    from interp.tasks import ModularTask
    from interp.train.loop import train as learn

    learn(tiny_config(task=ModularTask(p=7), train=TrainConfig(steps=1)), tmp_path / "other")
    (tmp_path / "curves.csv").write_text("step,train_loss\n0,3\n1,2\n")
    convert(tmp_path / "curves.csv", tmp_path / "curves")
    places = {"tiny": tiny.path, "other": tmp_path / "other", "curves": tmp_path / "curves"}
    out = [] if "--out" in words else ["--out", tmp_path / "x"]
    assert sentence.format(**places) in says(connect, *(word.format(**places) for word in words), *out)
    assert not (tmp_path / "x").exists()
    assert (tiny.path / "run.json").exists()


def test_a_path_does_not_go_on(says, tiny, tmp_path):
    assert connect([str(tiny.path), f"{tiny.path}@10", "--points", "3", "--out", str(tmp_path / "x")]) == 0
    assert "is a path between two networks and no training: there is nothing to go on from" in says(
        train, "--resume", tmp_path / "x"
    )
    assert "holds a run already" in says(connect, tiny.path, tiny.path, "--out", tmp_path / "x")
