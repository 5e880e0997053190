"""Files from elsewhere: nothing in them is run, no memory is given on their word, every refusal names the file."""

import argparse
import collections
import functools
import io
import operator
import os
import pickle
import resource
import time
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from store.foreign.conftest import turned

from interp.base import UserError
from interp.cli.convert import main
from interp.models.network import initial_weights
from interp.store import CheckpointError
from interp.store.foreign.convert import convert
from interp.store.foreign.pickles import load
from interp.store.foreign.stand_ins import Settings


class Runs:
    """A pickle of this calls `os.mkdir` when it is opened."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def source(learned, tmp_path):
    """A whole file of theirs."""
    path = tmp_path / "final.pth"
    torch.save({"model": turned(learned.final.weights), "train_losses": [1.0, 0.5], "test_losses": [1.0, 2.0]}, path)
    return path


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "wrap", [lambda evil: evil, lambda evil: {"model": evil}, lambda evil: {"train_losses": [evil]}]
)
def test_code_in_a_pickle_is_not_run(tmp_path, wrap, zipped):
    path, ran = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save(wrap(Runs(ran)), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"evil\.pth holds \S*mkdir, an object that opening would have to run"):
        convert(path, tmp_path / "x")
    assert not ran.exists()
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(wrap(Runs(ran))))
    with pytest.raises(CheckpointError):
        convert(plain, tmp_path / "x")
    assert not ran.exists()


class Calls:
    """A pickle of this calls a harmless function when it is opened, by a name that is near to one that has a stand-in."""

    def __init__(self, function, *words):
        self.call = (function, words)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Calls(getattr, "a", "upper"), "getattr"),
        (Calls(eval, "1 + 1"), "eval"),
        (Calls(np.zeros, 3), "zeros"),
        (Calls(np.frombuffer, b"12345678"), "frombuffer"),
        (Calls(functools.partial, len), "partial"),
        (Calls(operator.attrgetter, "a"), "attrgetter"),
        (Calls(object), "object"),
    ],
)
def test_a_stand_in_for_one_name_opens_no_other(tmp_path, call, name):
    state = {"blocks.0.attn.W_O": torch.zeros(1, 1, 1)}
    torch.save({"model": state, "history": collections.defaultdict(list, a=[call])}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=rf"a\.pt holds \S*{name}\S*, an object that opening would have to run"):
        convert(tmp_path / "a.pt", tmp_path / "x")


def test_settings_have_fields_and_never_another_class(tmp_path):
    names = argparse.Namespace(lr=0.1)
    vars(names).update({"__class__": 3, "__dict__": 4, "__setstate__": 5})
    torch.save({"args": names}, tmp_path / "a.pt")
    found = load(tmp_path / "a.pt")["args"]
    assert type(found) is Settings
    assert vars(found)["lr"] == 0.1


def test_a_whole_saved_model_says_what_to_save_instead(learned, tmp_path):
    torch.save(learned.final.model, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"HookedTransformer, an object .* save model\.state_dict\(\) instead"):
        convert(tmp_path / "model.pth", tmp_path / "x")


def test_a_truncated_file_is_refused_wherever_it_is_cut(source, tmp_path):
    content = source.read_bytes()
    cuts = [0, 1, 4, 30, *range(100, len(content), len(content) // 25), len(content) - 1]
    for kept in cuts:
        (tmp_path / "cut.pth").write_bytes(content[:kept])
        with pytest.raises(CheckpointError, match=r"cut\.pth"):
            convert(tmp_path / "cut.pth", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_flipped_bit_is_noticed_or_changes_nothing(source, learned, tmp_path):
    """Only the padding between the parts of the archive carries nothing."""
    content, accepted = source.read_bytes(), 0
    positions = range(1000, len(content) - 1000, len(content) // 60)
    for position in positions:
        flipped = bytearray(content)
        flipped[position] ^= 0x10
        (tmp_path / "flipped.pth").write_bytes(flipped)
        try:
            found = load(tmp_path / "flipped.pth")["model"]
        except CheckpointError as error:
            assert "flipped.pth" in str(error)
        else:
            accepted += 1
            expected = turned(learned.final.weights)
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert accepted < len(positions) / 10


def test_a_view_that_repeats_a_number_takes_no_memory(learned, tmp_path):
    """A tensor of a terabyte in a file of a kilobyte."""
    weights = turned(learned.final.weights) | {"embed.W_E": torch.zeros(1).expand(10**6, 10**6)}
    torch.save({"model": weights, "train_losses": [1.0]}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="more bytes than the whole file"):
        convert(tmp_path / "a.pth", tmp_path / "x")


def bombs(weights):
    """Files of some kilobytes that ask for time or memory without end."""
    deep = [1.0]
    for _ in range(60):
        deep = [deep, deep]
    wide = torch.zeros(1, dtype=torch.int64).expand(2_000_000_000)
    state = {"checkpoint_epochs": list(range(20_000)), "checkpoints": [weights] * 20_000}
    yield "a loss of lists", {"train_losses": [deep], "model": weights}
    yield "one checkpoint many times", {**state, "train_losses": [1.0]}
    yield (
        "indices that repeat",
        {"checkpoints": [], "checkpoint_epochs": [], "train_indices": wide, "train_losses": [1.0]},
    )
    yield "a mask that repeats", {"model": weights | {"blocks.0.attn.mask": torch.zeros(1).expand(4000, 100_000_000)}}
    yield "numbers that are none", {"train_losses": [10**400], "model": weights}
    yield "a count that is none", {
        "train_losses": [1.0], "model": weights, "optimizer": {"state": {0: {"step": torch.tensor(float("nan"))}}},
    }  # fmt: skip
    yield "names that are lists", {"train_losses": [1.0], "model": weights, "config": {"fn_name": ["add"], "p": 7}}
    yield "no losses", {"train_losses": [], "model": weights}
    yield "losses that are none", {"train_losses": [1.0], "test_losses": 3, "model": weights}


def test_a_key_whose_hash_takes_an_age_is_given_up_on(tmp_path):
    """((1, 1), (1, 1)), … forty-five times over, as the key of a dictionary: two hundred bytes."""
    doubled = b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(45))
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}K\x01" + doubled + b"K\x01s.")
        archive.writestr("a/version", b"3\n")
    with pytest.raises(CheckpointError, match=r"a\.pth takes more than 5 s to open"):
        convert(tmp_path / "a.pth", tmp_path / "x")


@pytest.mark.parametrize("number", range(9))
def test_a_file_that_asks_for_the_world_gets_a_sentence(learned, tmp_path, number):
    name, content = list(bombs(turned(learned.final.weights)))[number]
    path = tmp_path / f"{name}.pth"
    torch.save(content, path)
    assert path.stat().st_size < 2_000_000
    begun, peak = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        convert(path, tmp_path / "x")
    except UserError as error:
        assert path.name in str(error)
    assert time.monotonic() - begun < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 1 << 20  # KiB


@pytest.mark.slow
def test_a_large_modulus_is_tried_on_a_part_of_its_table(tmp_path):
    from interp.models import TransformerSpec
    from interp.tasks import ModularTask

    spec, task = TransformerSpec(n_heads=1, d_model=4, d_head=4, d_mlp=4), ModularTask(p=1000)
    torch.save(initial_weights(spec, task.shape, 0), tmp_path / "a.pth")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert convert(tmp_path / "a.pth", tmp_path / "x")[0].task.kind == "unknown"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 1 << 20


def test_an_archive_that_grows_in_being_opened_is_refused(source, tmp_path):
    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        for entry in whole.infolist():
            bomb.writestr(entry.filename, whole.read(entry))
    with pytest.raises(CheckpointError, match="is compressed"):
        convert(tmp_path / "bomb.pth", tmp_path / "x")


def test_a_storage_that_claims_more_than_the_file_has_is_refused(tmp_path):
    """In torch's older format the pickle says how much to allocate."""
    whole = io.BytesIO()
    torch.save({"model": torch.zeros(4)}, whole, _use_new_zipfile_serialization=False)
    claims = whole.getvalue().replace(pickle.dumps(4, protocol=2)[2:-1] + b"N", b"\x8a\x05\x00\x00\x00\x00\x10N")
    assert claims != whole.getvalue()
    (tmp_path / "a.pth").write_bytes(claims)
    with pytest.raises(CheckpointError, match=r"a\.pth asks for more memory than a file of its size can need"):
        load(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "state",
    [
        {"blocks.0.attn.W_O": torch.zeros(4, 4, dtype=torch.int64)},
        {"blocks.0.attn.W_O": torch.zeros(4, 4).to_sparse()},
        {"blocks.0.attn.W_O": torch.zeros(4, 4), 3: torch.zeros(1)},
        {"blocks.99999999999999.attn.W_Q": torch.zeros(1, 1, 1), "embed.W_E": torch.zeros(1, 1)},
        {"blocks.0.attn.W_O": torch.zeros(0, 0)},
    ],
)
def test_tensors_that_are_no_weights(tmp_path, state):
    torch.save({"model": state, "train_losses": [1.0]}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth"):
        convert(tmp_path / "a.pth", tmp_path / "x")


def test_safetensors_of_others_are_bounded_too(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"embed.W_E": torch.zeros(3)}, path)
    content = path.read_bytes()
    for bad in (content[:-1], content[:8], b"\xff" * 8 + content[8:], (1 << 30).to_bytes(8, "little") + content[8:]):
        path.write_bytes(bad)
        with pytest.raises(CheckpointError, match=r"a\.safetensors"):
            convert(path, tmp_path / "x")


def test_what_is_nothing_of_ours_says_what_is_known(tmp_path, capsys):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "a.pth")
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "a.pth", tmp_path / "empty"):
        with pytest.raises(UserError, match="holds nothing that interp recognises; known are"):
            convert(source, tmp_path / "x")
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "nowhere.pth"), "--out", str(tmp_path / "x")])
    assert stopped.value.code == 2
    assert "does not exist" in capsys.readouterr().err


def test_text_from_files_is_escaped_on_the_page(tmp_path):
    from interp import analyze
    from interp.report.page import write_page
    from interp.store import open_run

    folder = tmp_path / "<script>alert(1)</script>"
    folder.mkdir(parents=True)
    torch.save({"train_losses": [3.0, 2.0]}, folder / "<img src=x onerror=alert(1)>.pth")
    (run,) = convert(next(folder.iterdir()), folder / "out")
    run = open_run(run.path)
    found = analyze.measure(run, "curves")
    write_page(run, {"curves": (found, analyze.draw(found))}, {"<b>x": "<i>why"}, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    page = page[page.index("<body") :]  # plotly itself is packed
    for text in ("<script>alert", "<img src", "<b>x", "<i>why"):
        assert text not in page
