"""Pairs in the layout of Zhong et al., made from our own runs and read back."""

import json

import pytest
import torch
from helpers import origin, tiny_config
from store.foreign.conftest import turned

from interp.models import TransformerSpec
from interp.store import CheckpointError
from interp.store.foreign.convert import convert
from interp.tasks import ModularTask
from interp.train.loop import train

CONFIG = {
    "name": "modadd_11", "funcs": "lambda x: (x[0]+x[1])%11", "C": 11, "n_heads": 2, "d_model": 16, "n_layers": 1,
    "attention_dir": "casual", "act_fn": "ReLU", "epoch": 40, "batch_size": 121, "lr": 0.001, "weight_decay": 2.0,
    "frac": 0.5, "attn_coeff": 0.3, "runid": "abc", "diff_vocab": False, "eqn_sign": False, "func": None,
}  # fmt: skip


def pair(folder, run, ident="abc", **change):
    folder.mkdir(exist_ok=True)
    (folder / f"config_{ident}.json").write_text(json.dumps(CONFIG | change))
    torch.save(turned(run.final.weights), folder / f"model_{ident}.pt")
    return folder


@pytest.fixture
def trained(request, tmp_path):
    """A run of theirs as we would train it."""

    def make(task=None, **model):
        spec = {
            "n_heads": 2,
            "d_model": 16,
            "d_head": 8,
            "d_mlp": 24,
            "attention": "bidirectional",
            "attention_rate": 0.3,
        }
        task = {"p": 11, "train_fraction": 0.5, "prompt": "ab"} | (task or {})
        return train(tiny_config(task=ModularTask(**task), model=TransformerSpec(**spec | model)), tmp_path / "ours")

    return make


def same_logits(run, ours):
    tokens = torch.from_numpy(ours.task.table().inputs)
    return torch.equal(run.final.model(tokens), ours.final.model(tokens))


@pytest.mark.parametrize(("n_layers", "act_fn"), [(1, "relu"), (2, "relu"), (4, "gelu")])
def test_a_pair_computes_what_it_computed(trained, tmp_path, n_layers, act_fn):
    ours = trained(n_layers=n_layers, act_fn=act_fn)
    names = {"relu": "ReLU", "gelu": "GeLU"}
    (run,) = convert(pair(tmp_path / "save", ours, n_layers=n_layers, act_fn=names[act_fn]), tmp_path / "x")
    assert run.task == ours.task
    assert run.config.model.but(init="nanda") == ours.config.model
    assert run.steps == (40,)
    assert same_logits(run, ours)


@pytest.mark.parametrize(("diff_vocab", "eqn_sign"), [(True, False), (False, True), (1, 1)])
def test_tokens_of_the_second_operand_and_the_equals_sign(trained, tmp_path, diff_vocab, eqn_sign):
    task = {"operands": "separate" if diff_vocab else "shared", "prompt": "ab=" if eqn_sign else "ab"}
    ours = trained(task)
    # Their unembedding has a column for every token.
    source = pair(tmp_path / "save", ours, diff_vocab=diff_vocab, eqn_sign=eqn_sign)
    weights = torch.load(source / "model_abc.pt", weights_only=True)
    extra = ours.task.shape.tokens.d_vocab - 11
    weights["unembed.W_U"] = torch.cat([weights["unembed.W_U"], torch.zeros(16, extra)], dim=1)
    torch.save(weights, source / "model_abc.pt")
    (run,) = convert(source, tmp_path / "x")
    assert run.task == ours.task.but(answers="tokens")
    tokens = torch.from_numpy(ours.task.table().inputs)
    torch.testing.assert_close(run.final.model(tokens)[..., :11], ours.final.model(tokens), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["config_abc.json", "model_abc.pt"])
def test_either_file_of_a_pair_stands_for_it(trained, tmp_path, name):
    ours = trained()
    (run,) = convert(pair(tmp_path / "save", ours) / name, tmp_path / "x")
    assert run.name == "abc"
    assert same_logits(run, ours)


def test_a_folder_of_pairs_is_a_run_each(trained, tmp_path):
    ours = trained()
    for ident in ("abc", "def"):
        pair(tmp_path / "save", ours, ident)
    assert [run.path.name for run in convert(tmp_path / "save", tmp_path / "x")] == ["abc", "def"]


def test_their_word_for_the_direction_of_attention_is_not_believed(trained, tmp_path):
    (run,) = convert(pair(tmp_path / "save", trained()), tmp_path / "x")
    assert isinstance(run.known_model, TransformerSpec)
    assert run.known_model.attention == "bidirectional"
    assert 'attention_dir "casual"; their code applies no mask' in origin(run).notes[0]


def test_which_prompts_were_trained_on_is_not_known(trained, tmp_path):
    from interp.base import DoesNotApply

    (run,) = convert(pair(tmp_path / "save", trained()), tmp_path / "x")
    with pytest.raises(DoesNotApply, match="which prompts were trained on"):
        _ = run.split


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"funcs": "__import__('os').system('touch pwned')"}, "joined by"),
        ({"funcs": "lambda x: (x[0]+x[1])%13"}, "joined by"),
        ({"C": -1}, "a whole number from 0"),
        ({"C": True}, "a whole number from 0"),
        ({"attn_coeff": 1.5}, "a number from 0 to 1"),
        ({"act_fn": "Tanh"}, "interp reads ReLU, GeLU"),
        ({"use_linear": True}, "without attention"),
        ({"epoch": "many"}, "a whole number from 0"),
    ],
)
def test_a_configuration_that_cannot_be_is_a_sentence(trained, tmp_path, change, says):
    source = pair(tmp_path / "save", trained(), **change)
    with pytest.raises(CheckpointError, match=says) as error:
        convert(source, tmp_path / "x")
    assert "config_abc.json" in str(error.value)
    assert not (tmp_path / "x").exists()


def test_a_pair_without_its_weights_is_named(trained, tmp_path):
    source = pair(tmp_path / "save", trained())
    (source / "model_abc.pt").unlink()
    with pytest.raises(CheckpointError, match=r"model_abc\.pt is missing"):
        convert(source, tmp_path / "x")
