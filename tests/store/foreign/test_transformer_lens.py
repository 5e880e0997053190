"""HookedTransformers that others saved, in every way in which TransformerLens' users save them."""

import warnings
from typing import Any

import pytest
import torch
from helpers import origin
from safetensors.torch import save_file

from interp.models import TransformerSpec
from interp.models.network import build
from interp.shape import Shape
from interp.store import CheckpointError
from interp.store.foreign.convert import convert
from interp.store.verify import verify


@pytest.fixture(scope="module")
def model(learned):
    """The learned run as a plain HookedTransformer, made by TransformerLens alone."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    config = HookedTransformerConfig(
        n_layers=1, n_heads=4, d_model=32, d_head=8, d_mlp=64, act_fn="relu", normalization_type=None, d_vocab=8,
        d_vocab_out=8, n_ctx=3, init_weights=True, device="cpu", seed=999,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = HookedTransformer(config)
    buffers = {
        name: tensor for name, tensor in plain.state_dict().items() if name not in dict(plain.named_parameters())
    }
    plain.load_state_dict(dict(learned.final.model.state_dict()) | buffers, strict=True)
    return plain


def assert_same(run, learned, step=None):
    assert [verdict.fault for verdict in verify(run.path) if verdict.fault] == []
    checkpoint = run.final if step is None else run.at(step)
    for name, tensor in learned.final.weights.items():
        assert torch.equal(checkpoint.weights[name], tensor), name


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_one_state_dict(model, learned, tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    (run,) = convert(path, tmp_path / "x")
    assert run.steps == (0,)
    assert_same(run, learned)
    assert run.task.but(train_fraction=0.9) == learned.task  # found by the answers of the weights
    assert "task.train_fraction" in origin(run).unknown


def test_a_file_of_a_step_alone_has_the_step_that_it_has_in_its_folder(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "model_step900.pt")
    (run,) = convert(tmp_path / "model_step900.pt", tmp_path / "x")
    assert run.steps == (900,)
    assert "step 900 of model_step900.pt is taken from its name" in origin(run).notes


def test_the_demo_s_file(model, learned, tmp_path):
    """Its train losses are of the weights before an update, test losses and checkpoints of those after it."""
    steps = [200, 400, 600, 800, 1000]
    torch.save(
        {
            "model": model.state_dict(),
            "config": model.cfg,
            "checkpoints": [dict(learned.at(step).model.state_dict()) for step in steps],
            "checkpoint_epochs": [step - 1 for step in steps],
            "train_losses": [float(step) for step in range(1000)],
            "test_losses": [step + 0.5 for step in range(1000)],
            "train_indices": torch.from_numpy(learned.split.train_index).flip(0),
            "test_indices": torch.arange(3),
        },
        tmp_path / "grokking_demo.pth",
    )
    (run,) = convert(tmp_path / "grokking_demo.pth", tmp_path / "x", task={"train_fraction": 0.9})
    assert list(run.steps) == steps
    for step in steps:
        assert torch.equal(run.at(step).weights["unembed.W_U"], learned.at(step).weights["unembed.W_U"])
    assert run.history.loc[0, "train_loss"] == 0
    assert run.history.loc[5, "train_loss"] == 5
    assert run.history.loc[5, "test_loss"] == 4.5
    assert run.history.loc[1000, "test_loss"] == 999.5
    assert list(run.split.train_index) == list(learned.split.train_index)
    assert run.task == learned.task
    found: Any = run.final.model
    assert found.cfg.act_fn == "relu"


@pytest.mark.parametrize(
    "name", ["model_step{}.pt", "{}.pth", "checkpoint-epoch7_step{}.safetensors", "iter{}_loss0.5.ckpt"]
)
def test_a_folder_of_steps(model, learned, tmp_path, name):
    folder = tmp_path / "saved"
    folder.mkdir()
    for step in (200, 1000):
        state = {key: tensor.contiguous() for key, tensor in learned.at(step).model.state_dict().items()}
        path = folder / name.format(step)
        save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    (folder / "notes.txt").write_text("mine")
    (run,) = convert(folder, tmp_path / "x")
    assert run.steps == (200, 1000)
    assert_same(run, learned)


def test_two_series_of_models_are_two_runs_and_optimisers_beside_them_are_named(learned, tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    for step in (3, 7):
        torch.save(dict(learned.first.model.state_dict()), folder / f"model_step{step}.pt")
        torch.save({"state": {}, "param_groups": []}, folder / f"optimizer_step{step}.pt")
    (run,) = convert(folder, tmp_path / "x")
    assert run.steps == (3, 7)
    assert "saved also has optimizer_step3.pt and optimizer_step7.pt, not taken in" in origin(run).notes
    torch.save(dict(learned.first.model.state_dict()), folder / "other_step3.pt")
    runs = convert(folder, tmp_path / "y")
    assert [(run.path.name, run.steps) for run in runs] == [("model", (3, 7)), ("other", (3,))]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model_state_dict": state},
        lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}},
        lambda state: {name: tensor for name, tensor in state.items() if name != "unembed.b_U"},
        lambda state: {name: tensor.double() for name, tensor in state.items()},
    ],
)
def test_what_is_wrapped_round_a_state_dict_is_taken_off(model, learned, tmp_path, wrap):
    torch.save(wrap(dict(model.state_dict())), tmp_path / "a.pth")
    assert_same(convert(tmp_path / "a.pth", tmp_path / "x")[0], learned)


def test_a_configuration_as_a_dictionary_is_read_too(model, tmp_path):
    torch.save(
        {"state_dict": model.state_dict(), "config": model.cfg.to_dict() | {"act_fn": "gelu"}}, tmp_path / "a.pth"
    )
    spec = convert(tmp_path / "a.pth", tmp_path / "x")[0].known_model
    assert isinstance(spec, TransformerSpec)
    assert spec.act_fn == "gelu"


def test_the_direction_of_attention_of_two_layers_is_not_guessed(tmp_path):
    """Masks in files are no evidence: older versions saved a causal one whatever the direction."""
    from interp.base import DoesNotApply

    spec = TransformerSpec(n_layers=2, n_heads=2, d_model=12, d_head=5, d_mlp=20, attention="bidirectional")
    state = build(spec, Shape.of_tokens(3, 8, 7), seed=3).state_dict()
    state["blocks.0.attn.mask"] = torch.ones(3, 3).tril().bool()
    torch.save(state, tmp_path / "a.pth")
    model = {"act_fn": "relu", "normalization": "none"}
    (run,) = convert(tmp_path / "a.pth", tmp_path / "x", model=model)
    assert "model.attention" in origin(run).unknown
    with pytest.raises(DoesNotApply, match=r"--model\.attention"):
        _ = run.final.model
    (run,) = convert(tmp_path / "a.pth", tmp_path / "y", model={**model, "attention": "bidirectional"})
    found: Any = run.final.model
    assert found.cfg.attention_dir == "bidirectional"


@pytest.mark.parametrize(
    ("norm", "act_fn"), [("LN", "gelu"), ("LNPre", "solu_ln"), ("none", "silu"), ("LN", "solu_ln")]
)
def test_every_kind_of_model_comes_back_from_what_its_config_says(tmp_path, norm, act_fn):
    from interp.shape import Shape

    spec = TransformerSpec(
        n_layers=2,
        n_heads=2,
        d_model=12,
        d_head=5,
        d_mlp=20,
        act_fn=act_fn,
        normalization=norm,
        attention="bidirectional",
    )
    model = build(spec, Shape.of_tokens(5, 9, 4), seed=3)
    torch.save({"model": model.state_dict(), "config": model.cfg}, tmp_path / "a.pth")
    (run,) = convert(tmp_path / "a.pth", tmp_path / "x")
    assert run.config.model == spec
    tokens = torch.randint(9, (7, 5), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(run.final.model(tokens), model(tokens))
    assert run.task.kind == "unknown"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("attn_scale", 1.0, "attn_scale 1; interp's has √d_head"),
        ("eps", 1e-3, "eps 0.001"),
        ("attn_only", True, "and an MLP in each or none"),
        ("positional_embedding_type", "rotary", "rotary"),
    ],
)
def test_a_model_that_computes_something_else_is_refused(model, tmp_path, field, value, says):
    import copy

    config = copy.copy(model.cfg)
    setattr(config, field, value)
    torch.save({"model": model.state_dict(), "config": config}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=says):
        convert(tmp_path / "a.pth", tmp_path / "x")


@pytest.mark.parametrize("told", ["by its config", "by its shapes"])
def test_a_model_of_attention_alone_comes_back(told, tmp_path):
    from interp.shape import Shape

    spec = TransformerSpec(attn_only=True, n_layers=2, n_heads=2, d_model=12, d_head=5)
    model = build(spec, Shape.of_tokens(5, 9, 4), seed=3)
    known: dict[str, Any] = {} if "config" in told else {"normalization": "none", "attention": "causal"}
    torch.save({"model": model.state_dict(), **({"config": model.cfg} if "config" in told else {})}, tmp_path / "a.pth")
    (run,) = convert(tmp_path / "a.pth", tmp_path / "x", model=known)
    assert run.config.model == spec
    tokens = torch.randint(9, (7, 5), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(run.final.model(tokens), model(tokens))


def test_what_we_hand_out_goes_into_a_plain_model_and_comes_back(model, learned, tmp_path):
    """run.at(step).model.state_dict() loads into a HookedTransformer that TransformerLens made."""
    tokens = torch.from_numpy(learned.task.table().inputs)
    with torch.inference_mode():
        assert torch.equal(model(tokens), learned.final.model(tokens))
    torch.save(learned.final.model.state_dict(), tmp_path / "a.pth")
    assert_same(convert(tmp_path / "a.pth", tmp_path / "x")[0], learned)
