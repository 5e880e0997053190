from itertools import product

import pytest
import torch
from transformer_lens import HookedTransformer
from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

from interp.base import UserError
from interp.models import TransformerSpec
from interp.models.network import build, initial_weights, load
from interp.models.transformer import hooked
from interp.shape import Shape

SHAPE = Shape.of_tokens(3, 6, 5)
SMALL = TransformerSpec(n_heads=2, d_model=6, d_head=3, d_mlp=8)
GRID = [
    SMALL.but(n_layers=n_layers, n_heads=n_heads, act_fn=act_fn, normalization=normalization)
    for n_layers, n_heads, act_fn, normalization in product(
        [1, 2], [1, 3], ["relu", "gelu", "silu", "solu", "solu_ln"], ["none", "LN", "LNPre"]
    )
] + [
    SMALL.but(n_layers=2, normalization="LN", norm_before=places)
    for places in [("attention",), ("mlp",), ("unembedding",), ("attention", "mlp")]
]


def in_words(spec):
    return f"{spec.n_layers}-{spec.n_heads}-{spec.act_fn}-{spec.normalization}-{'-'.join(spec.norm_before)}"


@pytest.mark.parametrize("spec", GRID, ids=in_words)
def test_the_tensors_are_those_of_hookedtransformer_in_name_order_and_shape(spec):
    model = hooked.empty(spec, SHAPE)
    expected = [(name, tuple(parameter.shape)) for name, parameter in model.named_parameters()]
    assert list(spec.tensor_shapes(SHAPE).items()) == expected


@pytest.mark.parametrize("n_ctx, d_vocab, d_vocab_out", [(2, 7, 7), (4, 9, 7)])
def test_the_tensors_follow_the_shape_of_the_task(n_ctx, d_vocab, d_vocab_out):
    shape = Shape.of_tokens(n_ctx, d_vocab, d_vocab_out)
    parameters = hooked.empty(SMALL, shape).named_parameters()
    assert SMALL.tensor_shapes(shape) == {name: tuple(parameter.shape) for name, parameter in parameters}


def test_the_default_is_the_network_of_nanda_et_al():
    shapes = TransformerSpec().tensor_shapes(Shape.of_tokens(3, 114, 113))
    assert shapes["embed.W_E"] == (114, 128)
    assert shapes["blocks.0.attn.W_Q"] == (4, 128, 32)
    assert shapes["blocks.0.mlp.W_in"] == (128, 512)
    assert shapes["unembed.W_U"] == (128, 113)
    assert not any(name.startswith("blocks.1") or ".ln" in name for name in shapes)


WITH_EVERY_TENSOR = SMALL.but(act_fn="solu_ln", normalization="LN")
MLP_BIASES = {"blocks.0.mlp.b_in", "blocks.0.mlp.b_out"}
OTHER_BIASES = {
    *(f"blocks.0.attn.b_{kind}" for kind in "QKVO"),
    *(f"blocks.0.{norm}.b" for norm in ("ln1", "ln2", "mlp.ln")),
    "ln_final.b",
    "unembed.b_U",
}


def test_a_bias_is_what_is_added():
    shapes = WITH_EVERY_TENSOR.tensors(SHAPE)
    assert {name for name in shapes if shapes[name].role == "bias"} == MLP_BIASES | OTHER_BIASES


@pytest.mark.parametrize(
    "biases, frozen",
    [("frozen", MLP_BIASES | OTHER_BIASES), ("mlp", OTHER_BIASES), ("trained", set())],
)
def test_all_learns_but_the_biases_that_the_option_freezes(biases, frozen):
    spec = WITH_EVERY_TENSOR.but(biases=biases)
    assert {name for name, tensor in spec.tensors(SHAPE).items() if not tensor.learns} == frozen
    model = build(spec, SHAPE, seed=0)
    assert {name for name, parameter in model.named_parameters() if not parameter.requires_grad} == frozen


def test_a_built_model_is_a_hookedtransformer_ready_to_train_and_a_loaded_one_ready_to_run():
    built = build(SMALL, SHAPE, seed=0)
    loaded = load(SMALL, SHAPE, initial_weights(SMALL, SHAPE, seed=0))
    assert isinstance(built, HookedTransformer) and isinstance(loaded, HookedTransformer)
    assert built.training and not loaded.training
    assert built(torch.tensor([[0, 1, 5]])).shape == (1, 3, 5)


@pytest.mark.parametrize("attention, sees_ahead", [("causal", False), ("bidirectional", True)])
def test_attention_sees_ahead_only_when_bidirectional(attention, sees_ahead):
    model = build(SMALL.but(attention=attention), SHAPE, seed=0)
    first, second = model(torch.tensor([[0, 1, 5], [0, 2, 5]]))[:, 0]
    # What is seen moves the logits by tenths; 1e-5 is the rounding of sums of a few float32 numbers near 1.
    assert torch.allclose(first, second, rtol=0, atol=1e-5) != sees_ahead


TOKENS = torch.tensor([[0, 1, 5], [4, 4, 5]])


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_attention_is_mixed_with_ones_on_the_visible_positions_of_every_layer(attention, rate):
    spec = SMALL.but(n_layers=2, attention=attention, attention_rate=rate)
    model = build(spec, SHAPE, seed=0)
    model.reset_hooks()
    _, cache = model.run_with_cache(TOKENS)
    visible = torch.ones(3, 3).tril() if attention == "causal" else torch.ones(3, 3)
    for layer in range(2):
        softmax = cache[f"blocks.{layer}.attn.hook_attn_scores"].softmax(dim=-1)
        pattern, value = (cache[f"blocks.{layer}.attn.hook_{name}"] for name in ("pattern", "v"))
        torch.testing.assert_close(pattern, rate * softmax + (1 - rate) * visible, rtol=0, atol=1e-6)
        assert (pattern[:, :, visible == 0] == 0).all()
        z = torch.einsum("bhqk, bkhd -> bqhd", pattern, value)
        torch.testing.assert_close(cache[f"blocks.{layer}.attn.hook_z"], z, rtol=0, atol=1e-6)


def test_attention_at_rate_0_is_the_same_whatever_the_tokens():
    patterns = []
    for tokens in (TOKENS, TOKENS.flip(0), TOKENS.flip(1)):
        _, cache = build(SMALL.but(attention_rate=0.0), SHAPE, seed=0).run_with_cache(tokens)
        patterns.append(cache["blocks.0.attn.hook_pattern"])
    assert torch.equal(patterns[0], torch.ones(3, 3).tril().expand(2, SMALL.n_heads, 3, 3))
    assert torch.equal(patterns[0], patterns[1]) and torch.equal(patterns[0], patterns[2])


def test_the_rate_says_how_near_attention_is_to_the_usual_one():
    patterns = []
    for rate in (0.0, 0.25, 1.0):
        _, cache = build(SMALL.but(attention_rate=rate), SHAPE, seed=0).run_with_cache(TOKENS)
        patterns.append(cache["blocks.0.attn.hook_pattern"])
    ones, between, usual = patterns
    torch.testing.assert_close(between, 0.25 * usual + 0.75 * ones, rtol=0, atol=1e-6)
    torch.testing.assert_close(usual.sum(dim=-1), torch.ones(2, SMALL.n_heads, 3), rtol=0, atol=1e-6)


def test_a_token_after_others_that_are_cached_sees_them_all():
    model = build(SMALL.but(attention_rate=0.3), SHAPE, seed=0)
    cache = TransformerLensKeyValueCache.init_cache(model.cfg, "cpu", batch_size=2)
    seen = torch.ones_like(TOKENS)
    model(TOKENS[:, :2], past_kv_cache=cache, attention_mask=seen[:, :2])
    last = model(TOKENS[:, 2:], past_kv_cache=cache, attention_mask=seen[:, 2:])[:, -1]
    torch.testing.assert_close(last, model(TOKENS)[:, -1], rtol=0, atol=1e-5)


def test_usual_attention_has_no_hook_and_initial_weights_know_nothing_of_the_rate():
    usual, other = build(SMALL, SHAPE, seed=3), build(SMALL.but(attention_rate=0.3), SHAPE, seed=3)
    assert not any(point.fwd_hooks for point in usual.hook_dict.values())
    found, expected = dict(other.named_parameters()), dict(usual.named_parameters())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("spec", GRID[::4], ids=in_words)
def test_a_model_comes_back_from_its_state_unchanged(spec):
    model = build(spec, SHAPE, seed=3)
    state = model.state_dict()
    loaded = load(spec, SHAPE, state)
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())
    tokens = torch.tensor([[0, 1, 5], [4, 4, 5]])
    assert torch.equal(loaded(tokens), model(tokens))


def test_the_parameters_alone_are_enough_to_load():
    model = build(SMALL, SHAPE, seed=3)
    loaded = load(SMALL, SHAPE, {name: parameter.detach() for name, parameter in model.named_parameters()})
    assert torch.equal(loaded(torch.tensor([[0, 1, 5]])), model(torch.tensor([[0, 1, 5]])))


@pytest.mark.parametrize("name", SMALL.tensor_shapes(SHAPE))
def test_a_missing_tensor_is_an_error(name):
    weights = initial_weights(SMALL, SHAPE, seed=0)
    del weights[name]
    with pytest.raises(RuntimeError, match=name):
        load(SMALL, SHAPE, weights)


def test_an_unknown_tensor_is_an_error():
    weights = initial_weights(SMALL, SHAPE, seed=0)
    with pytest.raises(RuntimeError, match=r"blocks\.1\.mlp\.W_in"):
        load(SMALL, SHAPE, {**weights, "blocks.1.mlp.W_in": weights["blocks.0.mlp.W_in"]})


def test_a_misshapen_tensor_is_an_error():
    weights = initial_weights(SMALL, SHAPE, seed=0)
    with pytest.raises(RuntimeError, match=r"unembed\.W_U"):
        load(SMALL, SHAPE, {**weights, "unembed.W_U": weights["unembed.W_U"][:, :-1]})


def test_a_loaded_model_keeps_its_own_copy_of_the_weights():
    weights = initial_weights(SMALL, SHAPE, seed=0)
    model = load(SMALL, SHAPE, weights)
    before = model.embed.W_E.clone()
    weights["embed.W_E"].zero_()
    assert torch.equal(model.embed.W_E, before)


@pytest.mark.parametrize("spec", GRID[::7], ids=in_words)
def test_a_specification_comes_back_from_json_unchanged(spec):
    assert TransformerSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"layers": 2}, ["model.layers", "not a known field"]),
        ({"n_layers": 0}, ["model.n_layers", "0", "greater than or equal to 1"]),
        ({"act_fn": "rellu"}, ["model.act_fn", 'did you mean "relu"?']),
        ({"init_scale": 0.0}, ["model.init_scale", "0.0", "greater than 0"]),
        ({"attention_rate": 1.5}, ["model.attention_rate", "1.5", "less than or equal to 1"]),
        ({"attention_rate": -0.1}, ["model.attention_rate", "-0.1", "greater than or equal to 0"]),
    ],
    ids=lambda fields: "-".join(fields) if isinstance(fields, dict) else "",
)
def test_what_is_not_allowed_is_named_with_its_value(fields, words):
    with pytest.raises(UserError) as error:
        TransformerSpec(**fields)
    assert all(word in str(error.value) for word in words), str(error.value)
