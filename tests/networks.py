"""Networks of any specification, and what is compared of them."""

from contextlib import redirect_stdout

import torch
from hypothesis import settings
from hypothesis import strategies as st

from interp.maths.losses import cross_entropy
from interp.models import TransformerSpec
from interp.models.network import initial_weights, load
from interp.models.transformer.spec import PLACES

SMALL = TransformerSpec(n_heads=2, d_model=8, d_head=4, d_mlp=12)
examples = settings(max_examples=50, deadline=None, derandomize=True)

specs = st.builds(
    TransformerSpec,
    n_layers=st.integers(1, 3),
    n_heads=st.integers(1, 3),
    d_model=st.sampled_from([12, 16]),
    d_head=st.sampled_from([1, 4]),
    d_mlp=st.sampled_from([12, 20]),
    act_fn=st.sampled_from(["relu", "gelu", "silu", "solu", "solu_ln"]),
    normalization=st.sampled_from(["none", "LN", "LNPre"]),
    norm_before=st.sampled_from([PLACES, PLACES, ("attention",), ("mlp",), ("unembedding",), ("attention", "mlp")]),
    attention=st.sampled_from(["causal", "bidirectional"]),
    attention_rate=st.sampled_from([1.0, 1.0, 0.3, 0.0]),
    attn_only=st.sampled_from([False, False, True]),
)


def perturbed_weights(spec, shape, seed):
    """Weights in float64, none of them, biases included, 0 or 1; near the initial ones, so well-conditioned."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: tensor.double() + 0.1 * torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        for name, tensor in initial_weights(spec, shape, seed).items()
    }


def hooked_model(spec, shape, weights, dtype):
    """The HookedTransformer with these weights, at that precision."""
    model = load(spec, shape, weights)
    with redirect_stdout(None):  # it announces the cast
        model.to(dtype)
    model.load_state_dict(weights, strict=False)  # once more: on the way through float32 they were rounded
    return model


def with_gradients(logits, parameters):
    """Logits, then the gradient of the loss that is trained on by each parameter; the right answers are 0, 1, 2, …"""
    rows = logits.flatten(0, -2)
    loss = cross_entropy(rows, torch.arange(len(rows)) % rows.shape[1])
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    return {"logits": logits.detach(), **dict(zip(parameters, gradients, strict=True))}


def assert_equal_to_rounding(found, expected, tolerance):
    """Equal by name, within `tolerance` of the largest entry: entries that cancel keep the rounding of their terms."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        size = max(1.0, float(tensor.abs().max()))
        torch.testing.assert_close(
            found[name], tensor, rtol=0, atol=tolerance * size, msg=lambda text, name=name: f"{name}: {text}"
        )
