"""Runs that earlier versions wrote: opened, measured and gone on with for as long as the project lives.

`tests/data/format_N` are real runs of p = 5, written by the version that introduced format N.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import StopAt, files

from interp import analyze
from interp.base import UserError
from interp.config import RunConfig
from interp.store import open_run
from interp.store.record import READERS, seal
from interp.store.verify import verify
from interp.train.loop import Interrupted, train

DATA = Path(__file__).parents[1] / "data"
FORMATS = sorted(READERS)


@pytest.fixture(params=FORMATS)
def old(request, tmp_path) -> Path:
    return Path(shutil.copytree(DATA / f"format_{request.param}", tmp_path / "old"))


def test_an_old_run_is_whole(old):
    assert [verdict.fault for verdict in verify(old) if verdict.fault] == []


def test_an_old_run_says_what_it_said_then(old):
    run = open_run(old)
    assert run.steps == (0, 1, 10, 20)
    assert run.config.train.lr == 3e-3
    assert run.history.loc[20, "train_loss"] == 1.3794234037830941
    assert float(run.final.weights["embed.W_E"].square().sum()) == pytest.approx(4.0, rel=0.5)
    assert analyze.measure(run, "fourier")["power"].shape[0] == 4


def test_an_old_run_goes_on_in_the_format_of_today(old, tmp_path):
    before = {path: path.read_bytes() for path in (old / "steps").iterdir()}
    config = open_run(old).config
    longer = config.but(train=config.train.but(steps=30))
    run = train(longer, old, resume=True)
    assert json.loads((old / "run.json").read_text())["format_version"] == max(FORMATS)
    assert [verdict.fault for verdict in verify(old) if verdict.fault] == []
    assert all(path.read_bytes() == content for path, content in before.items())
    whole = train(RunConfig.model_validate(longer.model_dump()), tmp_path / "whole")
    assert list(run.history.index) == list(whole.history.index)
    for name, tensor in whole.final.weights.items():
        torch.testing.assert_close(run.final.weights[name], tensor, rtol=1e-4, atol=1e-5)


def test_a_later_format_is_refused_by_its_number(old):
    record = json.loads((old / "run.json").read_text())
    (old / "run.json").write_text(json.dumps({**record, "format_version": 99}))
    with pytest.raises(UserError, match=r"format_version 99, and this interp reads 1, 2"):
        open_run(old)


BEFORE_CORRUPTION = {
    "name": "earlier",
    "task": {
        "kind": "modular", "operation": "add", "p": 5, "prompt": "ab=", "operands": "shared", "answers": "residues",
        "train_fraction": 0.5, "table_seed": 0,
    },
    "model": {
        "kind": "transformer", "n_layers": 1, "n_heads": 1, "d_model": 8, "d_head": 8, "d_mlp": 8, "act_fn": "relu",
        "normalization": "none", "attention": "causal", "attention_rate": 1.0, "biases": "mlp", "init": "nanda",
        "init_scale": 1.0,
    },
    "train": {
        "steps": 30, "batch_size": "full", "optimizer": "adamw", "lr": 0.003, "weight_decay": 1.0, "betas": [0.9, 0.98],
        "eps": 1e-08, "momentum": 0.9, "precision": "float32", "noise": "none", "noise_scale": 0.0, "dropout": 0.0,
        "warmup_steps": 10, "log_every": 10, "checkpoint_every": 10, "checkpoints_per_decade": 1,
    },
    "seeds": {"split": 0, "model": 0, "order": 0, "noise": 0},
}  # fmt: skip
"""A configuration as it was written before labels could be corrupted."""


def test_a_run_from_before_labels_could_be_corrupted_opens_and_goes_on(tmp_path):
    config = RunConfig(**BEFORE_CORRUPTION)
    whole = train(config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(config, tmp_path / "stopped", watcher=StopAt(15))
    file = tmp_path / "stopped" / "run.json"
    record = {**json.loads(file.read_text()), "config": BEFORE_CORRUPTION}
    del record["sha256"]
    file.write_text(json.dumps({**record, "sha256": seal(record)}))
    run = open_run(tmp_path / "stopped")
    assert run.config == config
    assert not run.split.corrupted.any()
    assert files(train(config, tmp_path / "stopped", resume=True)) == files(whole)
