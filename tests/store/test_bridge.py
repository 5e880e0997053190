"""interp/store/foreign/bridge.py: what is written for TransformerLens 4, and what is refused (`make test-bridge` loads it)."""

import json

import pytest
import torch
from helpers import tiny_config
from safetensors.torch import load_file

from interp.base import UserError
from interp.models import TransformerSpec
from interp.models.network import initial_weights
from interp.recipe import TrainConfig
from interp.store import CheckpointError
from interp.store.foreign.bridge import bridge_config, bridge_weights, write_bridge
from interp.train.loop import train

SHAPE = tiny_config().task.shape


class Rated(TransformerSpec):
    attention_rate: float = 0.5


def replaced(run, model):
    """The run, had it been trained with another model."""
    config = run.config.model_copy(update={"model": model})
    return type(run)(run.path, run.record.model_copy(update={"config": config}), run.steps)


def test_an_export_is_a_configuration_and_the_checkpoints_in_view(tiny, tmp_path):
    files = write_bridge(tiny.select(steps=[0, 40]), tmp_path / "out")
    assert [str(file.relative_to(tmp_path / "out")) for file in files] == [
        "steps/00000000.safetensors",
        "steps/00000040.safetensors",
        "config.json",
    ]
    assert sorted(files) == sorted(file for file in (tmp_path / "out").rglob("*") if file.is_file())
    weights = load_file(files[1])
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == tiny.tensor_shapes
    assert all(torch.equal(weights[name], tensor) for name, tensor in tiny.final.weights.items())


def test_the_configuration_is_plain_json(tiny, tmp_path):
    assert json.loads(write_bridge(tiny.select(last=1), tmp_path)[-1].read_text()) == {
        "architecture": "TransformerLensNative",
        "n_layers": 1,
        "n_heads": 2,
        "d_model": 16,
        "d_head": 8,
        "d_mlp": 24,
        "act_fn": "relu",
        "n_ctx": 3,
        "d_vocab": 12,
        "d_vocab_out": 11,
        "normalization_type": None,
        "eps": 1e-5,
        "attention_dir": "causal",
        "positional_embedding_type": "standard",
        "init_weights": False,
    }


@pytest.mark.parametrize("normalization", ["none", "LN", "LNPre"])
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_the_configuration_is_that_of_the_hooked_transformer(normalization, attention):
    from interp.models.transformer import hooked

    spec = TransformerSpec(act_fn="solu_ln", normalization=normalization, attention=attention)
    ours, theirs = bridge_config(spec, SHAPE), vars(hooked.empty(spec, SHAPE).cfg)
    assert ours.pop("architecture") == "TransformerLensNative"
    assert ours == {name: theirs[name] for name in ours}


@pytest.mark.parametrize("act_fn", ["relu", "solu", "solu_ln"])
@pytest.mark.parametrize("normalization", ["none", "LN", "LNPre"])
def test_the_layernorm_after_solu_always_has_weights(act_fn, normalization):
    spec = TransformerSpec(n_layers=2, d_mlp=5, act_fn=act_fn, normalization=normalization)
    before = initial_weights(spec, SHAPE, 0)
    after = bridge_weights(spec, before)
    norms = {name: tensor.tolist() for name, tensor in after.items() if ".mlp.ln." in name}
    assert norms == {
        f"blocks.{layer}.mlp.ln.{name}": [value] * 5
        for layer in range(2)
        for name, value in (("w", 1.0), ("b", 0.0))
        if act_fn == "solu_ln"
    }
    assert all(after[name] is tensor for name, tensor in before.items())


def test_a_deep_solu_ln_is_written_with_a_layernorm_for_each_layer(tmp_path):
    spec = TransformerSpec(n_layers=2, n_heads=1, d_model=4, d_head=4, d_mlp=5, act_fn="solu_ln")
    run = train(tiny_config(model=spec, train=TrainConfig(steps=0)), tmp_path / "run")
    weights = load_file(write_bridge(run, tmp_path / "out")[0])
    assert weights["blocks.0.mlp.ln.w"].tolist() == weights["blocks.1.mlp.ln.w"].tolist() == [1.0] * 5


def test_attention_that_mixes_in_a_constant_is_refused_before_anything_is_written(tiny, tmp_path):
    with pytest.raises(UserError, match=r"has model\.attention_rate 0\.5, and TransformerLens 4 has .*; probe it here"):
        write_bridge(replaced(tiny, Rated()), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write_bridge(replaced(tiny, Rated(**tiny.config.model.model_dump() | {"attention_rate": 1.0})), tmp_path / "out")


def test_what_is_there_is_left_alone(tiny, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UserError, match="is not empty; delete it, or choose another --out"):
        write_bridge(tiny, tmp_path)
    with pytest.raises(UserError, match="mine is a file; give --out a directory"):
        write_bridge(tiny, tmp_path / "mine")
    with pytest.raises(UserError, match="is not empty"):
        write_bridge(tiny, tiny.path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_an_export_that_failed_has_no_configuration(tiny_copy, tmp_path):
    broken = tiny_copy.final.path
    broken.write_bytes(broken.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"00000040\.safetensors is damaged"):
        write_bridge(tiny_copy, tmp_path / "out")
    assert not (tmp_path / "out" / "config.json").exists()
