from contextlib import contextmanager, nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import SMALL, assert_equal_to_rounding, examples, hooked_model, perturbed_weights, specs, with_gradients

from interp.maths import compiled
from interp.maths.compiled import first_derivatives
from interp.models import TransformerSpec, products
from interp.models.network import initial_weights
from interp.models.transformer.block import Block
from interp.models.transformer.prefixes import make_plan
from interp.models.transformer.shared import SharedForward
from interp.tasks import ModularTask

tasks = st.builds(
    ModularTask,
    p=st.integers(3, 7),
    prompt=st.sampled_from(["ab=", "ab", "aob="]),
    train_fraction=st.just(0.5),
)


@st.composite
def prompts(draw):
    """A shape and prompts for it: the table in random order, or some of it with repetitions, or any tokens at all."""
    task = draw(tasks)
    table, kind = torch.from_numpy(task.table().inputs), draw(st.sampled_from(["whole", "part", "any"]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    n = draw(st.integers(1, 30))
    if kind == "whole":
        return task.shape, table[torch.randperm(len(table), generator=generator)]
    if kind == "part":
        return task.shape, table[torch.randint(len(table), (n,), generator=generator)]
    return task.shape, torch.randint(task.shape.tokens.d_vocab, (n, task.shape.tokens.n_ctx), generator=generator)


@contextmanager
def way(mixes, folds):
    """Force which of two orders of work is taken, where the specification allows both."""
    with pytest.MonkeyPatch.context() as patch:
        if mixes is not None:
            patch.setattr(Block, "mixes", mixes)
            can_fold = property(
                lambda block: folds and block.spec.norm_at("unembedding") == "none" and not block.spec.attn_only
            )
            patch.setattr(Block, "folds", can_fold)
        yield


@contextmanager
def in_training():
    """What a training step does: compiled loops, in float32, and products that are differentiated once."""
    with pytest.MonkeyPatch.context() as patch, first_derivatives():
        patch.setattr(compiled, "MANY", 0)
        patch.setattr(products, "SMALL", 0)
        yield


WAYS = {"chosen": (None, None), "mixed": (True, False), "mixed, folded": (True, True), "folded": (False, True)}


@pytest.mark.parametrize(  # in float32 three layers that add up what they see, without a norm, have lost a digit
    "dtype, tolerance",
    [
        pytest.param(torch.float64, 1e-10, id="float64"),
        pytest.param(torch.float32, 5e-5, id="float32", marks=pytest.mark.slow),
    ],
)
@examples
@given(spec=specs, shape_and_tokens=prompts(), seed=st.integers(0, 99))
def test_logits_and_gradients_are_those_of_hookedtransformer_at_the_last_position(
    dtype, tolerance, spec, shape_and_tokens, seed
):
    shape, tokens = shape_and_tokens
    model = hooked_model(spec, shape, perturbed_weights(spec, shape, seed), dtype)
    weights = dict(model.named_parameters())
    expected, forward = with_gradients(model(tokens)[:, -1], weights), SharedForward(spec, tokens)
    for order in WAYS.values():
        for region in (nullcontext, in_training):
            with way(*order), region():
                found = with_gradients(forward(weights), weights)
            assert_equal_to_rounding(found, expected, tolerance)


@examples
@given(spec=specs, shape_and_tokens=prompts(), seed=st.integers(0, 99))
@torch.no_grad()
def test_kept_activations_are_those_of_run_with_cache_at_the_last_position(spec, shape_and_tokens, seed):
    shape, tokens = shape_and_tokens
    weights = perturbed_weights(spec, shape, seed)
    _, cache = hooked_model(spec, shape, weights, torch.float64).run_with_cache(tokens)
    block = f"blocks.{spec.n_layers - 1}."
    expected = {block + name: cache[block + name][:, -1] for name in hook_names(spec)}
    expected[block + "attn.hook_pattern"] = cache[block + "attn.hook_pattern"][:, :, -1]
    found = SharedForward(spec, tokens).cache(weights)
    logits = found.pop("unembed.hook_out")
    torch.testing.assert_close(logits, SharedForward(spec, tokens)(weights), rtol=0, atol=0)
    assert_equal_to_rounding(found, expected, 1e-10)


def has_mlp(spec):
    return not spec.attn_only


def hook_names(spec):
    """The activations of a layer that are kept, attention's pattern apart."""
    names = ["hook_resid_pre", "attn.hook_z", "hook_attn_out", "hook_resid_post"]
    if spec.attn_only:
        return names
    return [
        *names,
        "hook_resid_mid",
        "mlp.hook_pre",
        *(["mlp.hook_mid"] if spec.act_fn == "solu_ln" else []),
        "mlp.hook_post",
        "hook_mlp_out",
    ]


@examples
@given(spec=specs.filter(has_mlp), shape_and_tokens=prompts(), size=st.integers(1, 12), seed=st.integers(0, 99))
@torch.no_grad()
def test_neurons_in_parts_are_the_neurons(spec, shape_and_tokens, size, seed):
    shape, tokens = shape_and_tokens
    weights, hook = perturbed_weights(spec, shape, seed), f"blocks.{spec.n_layers - 1}.mlp.hook_post"
    forward = SharedForward(spec, tokens)
    for order in WAYS.values():
        with way(*order):
            parts = list(forward.posts(weights, size))
            whole = forward.cache(weights)[hook]
        assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
        assert_equal_to_rounding({"post": torch.cat(parts)}, {"post": whole}, 1e-10)


def test_only_the_activations_that_are_asked_for_are_kept():
    task = ModularTask(p=5)
    forward = SharedForward(SMALL, torch.from_numpy(task.table().inputs))
    kept = forward.cache(initial_weights(SMALL, task.shape, seed=0), lambda name: name.endswith("hook_post"))
    assert list(kept) == ["blocks.0.mlp.hook_post"]
    assert kept["blocks.0.mlp.hook_post"].shape == (25, SMALL.d_mlp)


@pytest.mark.parametrize("normalization", ["none", "LN", "LNPre"])
def test_the_states_after_the_last_layer_unembed_to_the_logits(normalization):
    spec, task = SMALL.but(n_layers=2, normalization=normalization), ModularTask(p=5)
    tokens = torch.from_numpy(task.table().inputs)
    weights = perturbed_weights(spec, task.shape, seed=0)
    forward = SharedForward(spec, tokens)
    states = forward.cache(weights, "blocks.1.hook_resid_post".__eq__)["blocks.1.hook_resid_post"]
    torch.testing.assert_close(forward.unembed(weights, states[3:7]), forward(weights)[3:7], rtol=0, atol=1e-10)
    both = SharedForward(spec, tokens.expand(2, *tokens.shape))
    side_by_side = both.unembed(
        {name: tensor.expand(2, *tensor.shape) for name, tensor in weights.items()}, states.expand(2, -1, -1)
    )
    torch.testing.assert_close(side_by_side, forward(weights).expand(2, -1, -1), rtol=0, atol=1e-10)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_a_prompt_is_answered_alike_in_any_company(n_layers):
    spec, task = SMALL.but(n_layers=n_layers), ModularTask(p=5)
    tokens = torch.from_numpy(task.table().inputs)
    weights = perturbed_weights(spec, task.shape, seed=0)
    alone = torch.cat([SharedForward(spec, tokens[i : i + 1])(weights) for i in range(len(tokens))])
    torch.testing.assert_close(SharedForward(spec, tokens)(weights), alone, rtol=0, atol=1e-10)


def test_the_paper_s_model_is_mixed_and_folded_and_a_second_layer_is_not_mixed():
    task = ModularTask()
    tokens = torch.from_numpy(task.split(0).train.inputs)
    for n_layers, mixes in [(1, [True]), (2, [True, False])]:
        spec = TransformerSpec(n_layers=n_layers)
        weights = {name: tensor[None] for name, tensor in initial_weights(spec, task.shape, seed=0).items()}
        layers = SharedForward(spec, tokens).plan.layers
        blocks = [
            Block(spec, weights, layer, "float32", torch.zeros(1, groups[0].rows, spec.d_model), groups)
            for layer, groups in enumerate(layers)
        ]
        assert [block.mixes for block in blocks] == mixes
        assert blocks[-1].folds


@examples
@given(spec=specs, seed=st.integers(0, 99), data=st.data())
@torch.no_grad()
def test_runs_side_by_side_are_those_alone(spec, seed, data):
    task, lengths = data.draw(tasks), data.draw(st.lists(st.integers(1, 12), min_size=2, max_size=3))
    table, generator = torch.from_numpy(task.table().inputs), torch.Generator().manual_seed(seed)
    n = max(lengths)
    tokens = torch.stack(
        [table[torch.randint(min(length, len(table)), (n,), generator=generator)] for length in lengths]
    )
    weights = [perturbed_weights(spec, task.shape, seed + run) for run in range(len(lengths))]
    stacked = {name: torch.stack([each[name] for each in weights]) for name in weights[0]}
    side_by_side, apart = SharedForward(spec, tokens), [SharedForward(spec, each) for each in tokens]
    for mixes, folds in WAYS.values():
        with way(mixes, folds):
            together, cached = side_by_side(stacked), side_by_side.cache(stacked)
            alone = [forward(own) for forward, own in zip(apart, weights, strict=True)]
        assert_equal_to_rounding({"logits": together}, {"logits": torch.stack(alone)}, 1e-10)
        assert_equal_to_rounding({"logits": cached["unembed.hook_out"]}, {"logits": together}, 1e-10)


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("order", WAYS)
def test_attention_without_softmax_adds_up_the_values_of_all_positions(attention, order):
    task = ModularTask(p=5)
    spec, tokens = SMALL.but(attention=attention, attention_rate=0.0), torch.from_numpy(task.table().inputs)
    weights = perturbed_weights(spec, task.shape, seed=0)
    states = weights["embed.W_E"][tokens] + weights["pos_embed.W_pos"]
    W_V, W_O = weights["blocks.0.attn.W_V"], weights["blocks.0.attn.W_O"]
    values = states.sum(dim=1) @ W_V + 3 * weights["blocks.0.attn.b_V"][:, None]
    expected = states[:, -1] + (values @ W_O).sum(dim=0) + weights["blocks.0.attn.b_O"]
    with way(*WAYS[order]):
        cache = SharedForward(spec, tokens).cache(weights)
    assert (cache["blocks.0.attn.hook_pattern"] == 1).all()
    torch.testing.assert_close(cache["blocks.0.hook_resid_mid"], expected, rtol=0, atol=1e-10)


def with_factors(model, tokens, factors):
    """Logits at the last position, slowly: hooks multiply what is added at every position of every prompt.

    `factors` [n, places, d_model]; those of the last layer are for the last position, and others get −7: they should not
    matter.
    """
    hooks, begin = [], 0
    for layer in range(model.cfg.n_layers):
        for name in ("hook_attn_out", "hook_mlp_out")[: 1 if model.cfg.attn_only else 2]:
            n_positions = 1 if layer == model.cfg.n_layers - 1 else tokens.shape[1]
            full = factors.new_full((*tokens.shape, factors.shape[-1]), -7)
            full[:, -n_positions:] = factors[:, begin : begin + n_positions]
            hooks.append((f"blocks.{layer}.{name}", lambda added, hook, full=full: added * full))
            begin += n_positions
    assert begin == factors.shape[1]
    return model.run_with_hooks(tokens, fwd_hooks=hooks)[:, -1]


@examples
@given(spec=specs, shape_and_tokens=prompts(), rate=st.sampled_from([0.1, 0.5]), seed=st.integers(0, 99))
def test_with_dropout_logits_and_gradients_are_those_of_hooks_that_multiply(spec, shape_and_tokens, rate, seed):
    shape, tokens = shape_and_tokens
    model = hooked_model(spec, shape, perturbed_weights(spec, shape, seed), torch.float64)
    weights, forward = dict(model.named_parameters()), SharedForward(spec, tokens, apart=True)
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand(len(tokens), forward.places, spec.d_model, generator=generator, dtype=torch.float64)
    factors = (numbers >= rate).double() / (1 - rate)
    expected = with_gradients(with_factors(model, tokens, factors), weights)
    assert_equal_to_rounding(with_gradients(forward(weights, factors), weights), expected, 1e-10)


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_with_dropout_runs_side_by_side_are_those_alone(n_layers, attention):
    spec, task, generator = SMALL.but(n_layers=n_layers, attention=attention), ModularTask(p=5), torch.Generator()
    table = torch.from_numpy(task.table().inputs)
    tokens = torch.stack([table[torch.randint(25, (9,), generator=generator.manual_seed(run))] for run in range(3)])
    weights = [perturbed_weights(spec, task.shape, run) for run in range(3)]
    together = SharedForward(spec, tokens, apart=True)
    factors = torch.rand(3, 9, together.places, spec.d_model, generator=generator, dtype=torch.float64)
    found = together({name: torch.stack([each[name] for each in weights]) for name in weights[0]}, factors)
    alone = [SharedForward(spec, tokens[run], apart=True)(weights[run], factors[run]) for run in range(3)]
    torch.testing.assert_close(found, torch.stack(alone), rtol=0, atol=1e-10)
    plain = [SharedForward(spec, tokens[run], apart=True)(weights[run]) for run in range(3)]  # apart, and all kept
    shared = [SharedForward(spec, tokens[run])(weights[run]) for run in range(3)]
    torch.testing.assert_close(plain, shared, rtol=0, atol=1e-10)


def test_the_mean_over_all_masks_of_the_last_mlp_is_the_network_without_dropout():
    """What the MLP adds goes straight to the logits, so 1/(1 − p) keeps it on average: of d_model 4, over 16 masks."""
    spec, task = SMALL.but(d_model=4), ModularTask(p=5)
    weights, tokens = perturbed_weights(spec, task.shape, seed=0), torch.from_numpy(task.table().inputs)
    forward = SharedForward(spec, tokens, apart=True)
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 2.0], dtype=torch.float64)] * 4)
    kept = torch.ones(25, 4, dtype=torch.float64)
    each = [forward(weights, torch.stack([kept, mask.expand(25, 4)], dim=1)) for mask in masks]
    torch.testing.assert_close(torch.stack(each).mean(dim=0), SharedForward(spec, tokens)(weights), rtol=0, atol=1e-10)


def test_with_all_left_out_only_the_last_token_and_its_position_answer():
    spec, task = SMALL.but(n_layers=2), ModularTask(p=5, prompt="ab")
    weights, tokens = perturbed_weights(spec, task.shape, seed=0), torch.from_numpy(task.table().inputs)
    forward = SharedForward(spec, tokens, apart=True)
    found = forward(weights, torch.zeros(25, forward.places, spec.d_model, dtype=torch.float64))
    states = weights["embed.W_E"][tokens[:, -1]] + weights["pos_embed.W_pos"][-1]
    torch.testing.assert_close(found, states @ weights["unembed.W_U"] + weights["unembed.b_U"], rtol=0, atol=1e-10)


def rows_by_layer(tokens, n_layers, causal, apart=False):
    """How many states are computed before each layer and after the last."""
    plan = make_plan(tokens[None], n_layers, 1, causal, apart)
    return [plan.tokens.shape[1], *(sum(reads.queries.shape[1] for reads in groups) for groups in plan.layers)]


def test_every_distinct_prefix_is_computed_once():
    p = 5
    tokens = torch.from_numpy(ModularTask(p=p).table().inputs)
    by_token = p + p + 1  # a, b and "="
    assert rows_by_layer(tokens, 1, causal=True) == [by_token, p * p]
    assert rows_by_layer(tokens, 2, causal=True) == [by_token, p + 2 * p * p, p * p]  # prefixes a, ab and ab=
    assert rows_by_layer(tokens, 2, causal=False) == [by_token, 3 * p * p, p * p]  # whole prompts, thrice


@pytest.mark.parametrize("causal", [True, False])
def test_apart_every_prompt_has_states_of_its_own_after_the_first_layer(causal):
    p = 5
    tokens = torch.from_numpy(ModularTask(p=p).table().inputs).repeat(2, 1)
    assert rows_by_layer(tokens, 2, causal, apart=True) == [p + p + 1, 2 * 3 * p * p, 2 * p * p]


def test_prompts_that_recur_are_computed_once_before_the_last_layer():
    tokens = torch.from_numpy(ModularTask(p=5).table().inputs)
    once, thrice = rows_by_layer(tokens, 2, causal=False), rows_by_layer(tokens.repeat(3, 1), 2, causal=False)
    assert thrice == [*once[:-1], 3 * once[-1]]
