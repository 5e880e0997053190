"""python -m interp.store verify: every file, and an exit code that can be trusted."""

import json

import pytest
import torch

from interp.cli.store import main as store
from interp.store.verify import verify


def faults(run):
    return {verdict.file: verdict.fault for verdict in verify(run.path) if verdict.fault}


def test_a_whole_run_has_no_fault_and_every_file_is_named(tiny, capsys):
    assert faults(tiny) == {}
    files = {verdict.file for verdict in verify(tiny.path)}
    states = {f"resume/{step:08d}.safetensors" for step in (0, 40)}
    assert files == {"run.json", "history.csv"} | states | {f"steps/{step:08d}.safetensors" for step in tiny.steps}
    assert store(["verify", str(tiny.path)]) == 0
    assert capsys.readouterr().out == f"{tiny.path}: {len(files)} files, all are what was written\n"


def test_every_damaged_file_is_listed_and_the_exit_code_is_1(tiny_copy, capsys):
    for name in ("steps/00000010.safetensors", "steps/00000020.safetensors", "history.csv"):
        path = tiny_copy.path / name
        path.write_bytes(path.read_bytes()[:-40])
    assert store(["verify", str(tiny_copy.path), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert not said["whole"]
    assert [name for name, fault in said["files"].items() if fault] == [
        "history.csv", "steps/00000010.safetensors", "steps/00000020.safetensors",
    ]  # fmt: skip


def test_a_fault_does_not_name_an_option_that_verify_lacks(tiny_copy):
    path = tiny_copy.at(10).path
    path.write_bytes(path.read_bytes()[:-40])
    (fault,) = faults(tiny_copy).values()
    assert fault.endswith("; restore it")


@pytest.mark.parametrize(
    "name", ["run.json", "history.csv", "steps/00000020.safetensors", "resume/00000040.safetensors"]
)
def test_one_flipped_bit_in_any_file_is_found(tiny_copy, name):
    path = tiny_copy.path / name
    content = bytearray(path.read_bytes())
    position = content.find(b"0.") if name.endswith(("json", "csv")) else len(content) - 7
    content[position] ^= 1
    path.write_bytes(content)
    assert list(faults(tiny_copy)) == [name]


def test_weights_that_are_not_finite_are_found_although_their_digest_is_right(tiny_copy):
    from interp.store.layout import checkpoint_header
    from interp.store.tensors import write_tensors

    weights = dict(tiny_copy.at(20).weights) | {"unembed.b_U": torch.full((11,), torch.inf)}
    write_tensors(tiny_copy.at(20).path, weights, checkpoint_header(tiny_copy.record.config_sha256, 20))
    assert "unembed.b_U with numbers that are not finite" in faults(tiny_copy)["steps/00000020.safetensors"]


def test_what_does_not_belong_among_the_checkpoints_is_named(tiny_copy):
    (tiny_copy.path / "steps/latest.safetensors").write_bytes(b"")
    (tiny_copy.path / "steps/.00000050.safetensors.x.tmp").write_bytes(b"")  # what a kill leaves
    (tiny_copy.path / "notes.txt").write_text("mine")
    assert list(faults(tiny_copy)) == ["steps/latest.safetensors"]


def test_a_checkpoint_that_is_gone_is_missed(tiny_copy, capsys):
    tiny_copy.at(20).path.unlink()
    assert faults(tiny_copy)["steps"].endswith("has 7 checkpoints, and 8 were written; restore the others")
    for checkpoint in list(tiny_copy.checkpoints)[::-1]:
        checkpoint.path.unlink(missing_ok=True)
    assert store(["verify", str(tiny_copy.path)]) == 1
    assert "has 0 checkpoints, and 8 were written" in capsys.readouterr().out


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tiny_copy):
    import os

    for name in ("history.csv", "steps/00000020.safetensors", "resume/00000040.safetensors"):
        (tiny_copy.path / name).unlink()
        os.mkfifo(tiny_copy.path / name)
    assert all("is no regular file" in fault for fault in faults(tiny_copy).values())
    assert len(faults(tiny_copy)) == 3


def test_no_run_is_exit_code_2(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        store(["verify", str(tmp_path)])
    assert stopped.value.code == 2
    with pytest.raises(SystemExit):
        store(["verfy", str(tmp_path)])
    assert 'no command "verfy"; did you mean "verify"?' in capsys.readouterr().err
