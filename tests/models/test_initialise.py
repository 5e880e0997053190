import math
import warnings

import pytest
import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig

from interp.models import TransformerSpec
from interp.models.network import build, initial_weights
from interp.shape import Shape


def is_bias(name):
    """b_in, b_U, a LayerNorm's b."""
    return name.rsplit(".", 1)[-1].startswith("b")


SHAPE = Shape.of_tokens(3, 41, 20)
WIDE = TransformerSpec(n_heads=2, d_model=64, d_head=32, d_mlp=128)


def drawn_by_transformer_lens(spec, shape, seed):
    """The parameters of a HookedTransformer that draws for itself, the global generator left as it was."""
    config = HookedTransformerConfig(
        **spec.model_dump(include={"n_layers", "n_heads", "d_model", "d_head", "d_mlp", "act_fn"}),
        **shape.tokens.model_dump(),
        d_vocab_out=shape.outputs.n,
        normalization_type=None if spec.normalization == "none" else spec.normalization,
        attention_dir=spec.attention,
        device="cpu",
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # every construction announces the successor
        torch.manual_seed(seed)
        return dict(HookedTransformer(config).named_parameters())


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_layers": 3, "normalization": "LN"},
        {"n_layers": 2, "normalization": "LNPre", "attention": "bidirectional"},
        {"act_fn": "solu_ln", "normalization": "LN"},
        {"act_fn": "solu_ln"},
    ],
    ids=str,
)
def test_hooked_is_what_transformer_lens_draws_bit_for_bit(changes, seed):
    spec = WIDE.but(init="hooked", **changes)
    expected = drawn_by_transformer_lens(spec, SHAPE, seed)
    found = initial_weights(spec, SHAPE, seed)
    assert list(found) == list(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


@pytest.mark.parametrize(
    "init, std, std_of_W_U",
    [("nanda", 1 / 8, 1 / math.sqrt(41)), ("hooked", 0.8 / 8, 0.8 / 8)],  # d_model 64, d_vocab 41
)
def test_weights_are_normal_of_the_documented_width(init, std, std_of_W_U):
    for name, tensor in initial_weights(WIDE.but(init=init), SHAPE, seed=0).items():
        if is_bias(name):
            continue
        expected, n = (std_of_W_U if name == "unembed.W_U" else std), tensor.numel()
        # Five standard errors: of the width they are σ/√(2n), of the mean σ/√n; of the fourth moment 3σ⁴, √(96/n)·σ⁴.
        assert tensor.square().mean().sqrt() == pytest.approx(expected, rel=5 / math.sqrt(2 * n)), name
        assert abs(tensor.mean()) < 5 * expected / math.sqrt(n), name
        assert (tensor / expected).pow(4).mean() == pytest.approx(3, abs=5 * math.sqrt(96 / n)), name


@pytest.mark.parametrize("init", ["nanda", "hooked"])
def test_biases_start_at_0_and_the_scale_of_a_layernorm_at_1(init):
    weights = initial_weights(WIDE.but(init=init, normalization="LN", act_fn="solu_ln"), SHAPE, seed=0)
    biases = {name for name in weights if is_bias(name)}
    scales = {name for name in weights if name.endswith(".w")}
    assert len(biases) == 11 and len(scales) == 4
    assert all((weights[name] == 0).all() for name in biases)
    assert all((weights[name] == 1).all() for name in scales)


@pytest.mark.parametrize("init", ["nanda", "hooked"])
def test_init_scale_multiplies_every_initial_parameter(init):
    spec = WIDE.but(init=init, normalization="LN")
    plain, scaled = initial_weights(spec, SHAPE, seed=0), initial_weights(spec.but(init_scale=3.0), SHAPE, seed=0)
    assert all(torch.equal(scaled[name], 3 * tensor) for name, tensor in plain.items())


@pytest.mark.parametrize("init", ["nanda", "hooked"])
def test_the_same_seed_builds_the_same_model_and_another_seed_another(init):
    spec = WIDE.but(init=init)
    first, again, other = (dict(build(spec, SHAPE, seed).named_parameters()) for seed in (5, 5, 6))
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert all(is_bias(name) or not torch.equal(tensor, other[name]) for name, tensor in first.items())


def test_a_model_is_built_from_its_initial_weights():
    weights = initial_weights(WIDE, SHAPE, seed=5)
    built = dict(build(WIDE, SHAPE, seed=5).named_parameters())
    assert weights.keys() == built.keys()
    assert all(torch.equal(tensor, built[name]) for name, tensor in weights.items())
    assert all(tensor.dtype == torch.float32 for tensor in weights.values())


def test_no_two_tensors_share_their_draws():
    weights = initial_weights(WIDE, SHAPE, seed=0)
    first = [float(tensor.flatten()[0]) for name, tensor in weights.items() if not is_bias(name)]
    assert len(set(first)) == len(first)


def test_building_neither_reads_nor_moves_the_global_generator():
    before = torch.get_rng_state()
    first = build(WIDE, SHAPE, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1234)
        second = build(WIDE, SHAPE, seed=0)
    assert torch.equal(first.embed.W_E, second.embed.W_E)
