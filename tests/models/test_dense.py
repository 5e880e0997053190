"""interp/models/transformer/dense.py: HookedTransformer's function at the positions where answers are read."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import SMALL, assert_equal_to_rounding, examples, hooked_model, perturbed_weights, specs, with_gradients

from interp.models.network import over
from interp.models.transformer.dense import DenseForward
from interp.models.transformer.shared import SharedForward
from interp.shape import Shape
from interp.tasks import AdditionTask, ModularTask, SkipTrigramTask


@st.composite
def sequences(draw):
    """A shape with answers at some positions, in any order, and prompts for it."""
    n_ctx = draw(st.integers(1, 7))
    positions = draw(st.lists(st.integers(0, n_ctx - 1), min_size=1, max_size=n_ctx, unique=True))
    shape = Shape.of_tokens(n_ctx, 5, draw(st.integers(2, 6)), tuple(positions))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    return shape, torch.randint(shape.tokens.d_vocab, (draw(st.integers(1, 8)), n_ctx), generator=generator)


def at(shape, logits):
    """Those where answers are read, without an axis where that is one."""
    positions = shape.classes.positions
    return logits[:, positions[0]] if len(positions) == 1 else logits[:, list(positions)]


@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 5e-5)], ids=["float64", "float32"]
)
@examples
@given(spec=specs, shape_and_tokens=sequences(), seed=st.integers(0, 99))
def test_logits_and_gradients_are_those_of_hookedtransformer_where_answers_are_read(
    dtype, tolerance, spec, shape_and_tokens, seed
):
    shape, tokens = shape_and_tokens
    model = hooked_model(spec, shape, perturbed_weights(spec, shape, seed), dtype)
    weights = dict(model.named_parameters())
    expected = with_gradients(at(shape, model(tokens)), weights)
    found = with_gradients(DenseForward(spec, tokens, shape.classes.positions)(weights), weights)
    assert_equal_to_rounding(found, expected, tolerance)


@examples
@given(spec=specs, shape_and_tokens=sequences(), seed=st.integers(0, 99))
@torch.no_grad()
def test_activations_are_those_of_hookedtransformer_where_answers_are_read(spec, shape_and_tokens, seed):
    shape, tokens = shape_and_tokens
    model = hooked_model(spec, shape, perturbed_weights(spec, shape, seed), torch.float64)
    found = DenseForward(spec, tokens, shape.classes.positions).cache(dict(model.named_parameters()))
    _, cache = model.run_with_cache(tokens)
    assert f"blocks.{spec.n_layers - 1}.hook_resid_post" in found
    for name in found.keys() - {"unembed.hook_out"}:
        torch.testing.assert_close(found[name], at(shape, cache[name]), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found["unembed.hook_out"], at(shape, model(tokens)), rtol=1e-9, atol=1e-9)


@examples
@given(spec=specs, shape_and_tokens=sequences(), seed=st.integers(0, 99), n_runs=st.integers(2, 3))
@torch.no_grad()
def test_runs_side_by_side_are_those_alone(spec, shape_and_tokens, seed, n_runs):
    shape, tokens = shape_and_tokens
    tokens = torch.stack([(tokens + run) % shape.tokens.d_vocab for run in range(n_runs)])
    weights = [perturbed_weights(spec, shape, seed + run) for run in range(n_runs)]
    together = DenseForward(spec, tokens, shape.classes.positions)
    sizes, generator = (*tokens.shape[:2], together.places, spec.d_model), torch.Generator().manual_seed(seed)
    factors = torch.rand(sizes, generator=generator, dtype=torch.float64)
    stacked = {name: torch.stack([each[name] for each in weights]) for name in weights[0]}
    for drawn in (None, factors):
        alone = [
            DenseForward(spec, tokens[run], shape.classes.positions)(
                weights[run], None if drawn is None else drawn[run]
            )
            for run in range(n_runs)
        ]
        torch.testing.assert_close(together(stacked, drawn), torch.stack(alone), rtol=0, atol=1e-10)


def with_factors(model, tokens, factors, shape):
    """Logits, slowly: hooks multiply what is added at every position of every prompt.

    Where nothing is to be multiplied, since no answer needs it, stands −7: it should not matter.
    """
    cfg, hooks, begin = model.cfg, [], 0
    seen = max(shape.classes.positions) + 1 if cfg.attention_dir == "causal" else shape.tokens.n_ctx
    for layer in range(cfg.n_layers):
        where = list(shape.classes.positions) if layer == cfg.n_layers - 1 else list(range(seen))
        for name in ("hook_attn_out", "hook_mlp_out")[: 1 if cfg.attn_only else 2]:
            full = factors.new_full((*tokens.shape, factors.shape[-1]), -7)
            full[:, where] = factors[:, begin : begin + len(where)]
            hooks.append((f"blocks.{layer}.{name}", lambda added, hook, full=full: added * full))
            begin += len(where)
    assert begin == factors.shape[1]
    return at(shape, model.run_with_hooks(tokens, fwd_hooks=hooks))


@examples
@given(spec=specs, shape_and_tokens=sequences(), rate=st.sampled_from([0.1, 0.5]), seed=st.integers(0, 99))
def test_with_dropout_logits_and_gradients_are_those_of_hooks_that_multiply(spec, shape_and_tokens, rate, seed):
    shape, tokens = shape_and_tokens
    model = hooked_model(spec, shape, perturbed_weights(spec, shape, seed), torch.float64)
    weights, forward = dict(model.named_parameters()), DenseForward(spec, tokens, shape.classes.positions)
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand(len(tokens), forward.places, spec.d_model, generator=generator, dtype=torch.float64)
    factors = (numbers >= rate).double() / (1 - rate)
    expected = with_gradients(with_factors(model, tokens, factors, shape), weights)
    assert_equal_to_rounding(with_gradients(forward(weights, factors), weights), expected, 1e-10)


def test_tables_share_their_work_and_sequences_do_not():
    for task, kind in [
        (ModularTask(p=5), SharedForward),
        (AdditionTask(), DenseForward),
        (SkipTrigramTask(), DenseForward),
    ]:
        tokens = torch.zeros(3, task.shape.tokens.n_ctx, dtype=torch.long)
        assert type(over(SMALL, task.shape, tokens)) is kind


def test_what_comes_behind_the_last_answer_is_left_out_where_attention_is_causal():
    tokens = torch.zeros(3, 18, dtype=torch.long)
    assert DenseForward(SMALL, tokens, (11, 16)).tokens.shape == (1, 3, 17)
    assert DenseForward(SMALL.but(attention="bidirectional"), tokens, (11, 16)).tokens.shape == (1, 3, 18)
