"""What follows the last attention is HookedTransformer's, also of a residual stream that was changed."""

import pytest
import torch

from interp.models import TransformerSpec
from interp.models.network import Tail, initial_weights, load, tail
from interp.models.transformer.shared import SharedForward
from interp.models.transformer.tail import TransformerTail, parts_of_heads
from interp.tasks import ModularTask

TASK = ModularTask(p=5, answers="tokens")
ORDER = torch.tensor([0, 2, 4, 1, 3])


@pytest.fixture(
    params=[
        {},
        {"normalization": "LN"},
        {"normalization": "LN", "norm_before": ("mlp",)},
        {"normalization": "LNPre", "norm_before": ("attention", "unembedding")},
        {"normalization": "LNPre", "act_fn": "gelu"},
        {"act_fn": "solu_ln", "normalization": "LN"},
        {"n_layers": 2, "act_fn": "silu", "attention_rate": 0.4},
    ],
    ids=str,
)
def network(request):
    """A specification, weights of which none is 0 or 1, and the HookedTransformer that has them."""
    spec = TransformerSpec(n_heads=2, d_model=12, d_head=4, d_mlp=20, **request.param)
    generator = torch.Generator().manual_seed(0)
    initial = initial_weights(spec, TASK.shape, seed=0)
    weights = {name: w + 0.2 * torch.randn(w.shape, generator=generator) for name, w in initial.items()}
    return spec, weights, load(spec, TASK.shape, weights)


TOKENS = torch.from_numpy(TASK.table().inputs)


@torch.no_grad()
def test_logits_of_a_changed_residual_stream_are_those_of_a_hook_that_changes_it(network):
    spec, weights, model = network
    last = f"blocks.{spec.n_layers - 1}."
    added = torch.randn(len(TOKENS), spec.d_model, generator=torch.Generator().manual_seed(1))

    def change(value, hook):
        value[:, -1] += added
        return value

    expected = model.run_with_hooks(TOKENS, fwd_hooks=[(last + "hook_resid_mid", change)])[:, -1, ORDER]
    cache = SharedForward(spec, TOKENS).cache(weights)
    found = TransformerTail(spec, weights, ORDER).logits(cache[last + "hook_resid_mid"] + added)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_logits_are_the_sum_of_what_passes_beside_the_mlp_and_what_its_neurons_write(network):
    spec, weights, model = network
    last, found = f"blocks.{spec.n_layers - 1}.", TransformerTail(spec, weights, ORDER)
    cache = SharedForward(spec, TOKENS).cache(weights)
    mid, pre = cache[last + "hook_resid_mid"], cache[last + "mlp.hook_pre"]
    torch.testing.assert_close(found.neurons(mid), cache[last + "mlp.hook_post"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.activate(pre), cache[last + "mlp.hook_post"], rtol=1e-4, atol=1e-4)
    total = found.directly(mid) + found.bias + cache[last + "mlp.hook_post"] @ found.written
    torch.testing.assert_close(found.answer(total), model(TOKENS)[:, -1, ORDER], rtol=1e-4, atol=1e-4)
    for each in (found, found.unfolded):
        total = each.beside(cache) + each.through(cache[last + "mlp.hook_post"])
        torch.testing.assert_close(each.answer(total), model(TOKENS)[:, -1, ORDER], rtol=1e-4, atol=1e-4)
    assert found.unfolded.written.shape == (20, 12)  # into the residual stream


@torch.no_grad()
def test_answers_of_other_weights_before_it_are_those_of_the_network_that_has_them(network):
    spec, weights, _ = network
    other = {**weights, "embed.W_E": weights["embed.W_E"].flip(0)}
    found = tail(spec, weights, ORDER).outputs(SharedForward(spec, TOKENS), other)
    expected = load(spec, TASK.shape, other)(TOKENS)[:, -1, ORDER]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_where_answers_are_linear_in_the_neurons_roles_alone_tell_what_follows_them():
    """Tail itself, of no family: what is beside the neurons is what the outputs are without them."""
    spec = TransformerSpec(n_heads=2, d_model=12, d_head=4, d_mlp=20)
    weights = initial_weights(spec, TASK.shape, seed=0)
    cache = SharedForward(spec, TOKENS).cache(weights)
    of_roles, own = Tail(spec, weights, ORDER), tail(spec, weights, ORDER)
    torch.testing.assert_close(of_roles.readout, own.readout)
    torch.testing.assert_close(of_roles.written, own.written)
    torch.testing.assert_close(of_roles.beside(cache), own.beside(cache), rtol=1e-4, atol=1e-5)
    assert of_roles.unfolded is of_roles
    with pytest.raises(NotImplementedError):
        of_roles.ways(cache, own.beside(cache), own.beside(cache))


@torch.no_grad()
def test_what_heads_add_sums_to_the_output_of_attention_less_its_bias(network):
    spec, weights, _ = network
    last = f"blocks.{spec.n_layers - 1}."
    cache = SharedForward(spec, TOKENS).cache(weights)
    heads = parts_of_heads(cache[last + "attn.hook_z"], weights[last + "attn.W_O"])
    expected = cache[last + "hook_attn_out"] - weights[last + "attn.b_O"]
    torch.testing.assert_close(sum(heads), expected, rtol=1e-4, atol=1e-4)
