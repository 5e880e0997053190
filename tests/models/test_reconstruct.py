"""The closed form of a toy model's error against autograd, and the batched model against the module with hooks."""

import pytest
import torch

from interp.models import ToySpec
from interp.models.network import initial_weights, load
from interp.models.toy.forward import CACHE, SparseError, SparseVectors, ToyForward
from interp.shape import Shape

RUNS, N, FEATURES, HIDDEN = 3, 40, 25, 4


def weights(spec: ToySpec, runs: int = RUNS) -> dict[str, torch.Tensor]:
    shape = Shape.of_vectors(FEATURES)
    each = [initial_weights(spec, shape, seed) for seed in range(runs)]
    stack = {name: torch.stack([one[name] for one in each]).double() for name in each[0]}
    stack["b"] += 0.1 * torch.randn(runs, FEATURES, generator=torch.Generator().manual_seed(1)).double()
    return stack


def sparse_vectors(density: float = 0.2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    chance = torch.rand(RUNS, N, FEATURES, generator=generator, dtype=torch.float64)
    return torch.where(chance < density, chance / density, 0.0)


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("important", [False, True])
@pytest.mark.parametrize("filled", [False, True])
def test_the_closed_form_is_what_autograd_gives(monkeypatch, in_parts, important, filled):
    if in_parts:  # seven vectors at a time, which do not divide the whole
        monkeypatch.setattr("interp.models.toy.forward.CACHE", 7 * RUNS * FEATURES * 8)
    vectors, counted = sparse_vectors(), torch.ones(RUNS, N).double()
    importance = torch.rand(RUNS, FEATURES).double() if important else torch.ones(RUNS, FEATURES).double()
    if filled:
        vectors[1, 30:], counted[1, 30:] = 0, 0
    outer = torch.tensor([1.0, 2.0, -0.5]).double()
    gradients = []
    for how in ("autograd", "closed"):
        W, b = (weights(ToySpec(d_hidden=HIDDEN))[name].requires_grad_() for name in ("W", "b"))
        if how == "autograd":
            out = ToyForward(ToySpec(d_hidden=HIDDEN), vectors)({"W": W, "b": b})
            error = (((out - vectors).square() * importance[:, None]).sum(-1) * counted).sum(-1)
        else:
            error = SparseError.apply(W, b, SparseVectors.of(vectors, counted, importance))
        (error * outer).sum().backward()
        gradients.append((error.detach(), W.grad, b.grad))
    for autograd, closed in zip(*gradients, strict=True):
        torch.testing.assert_close(closed, autograd, rtol=1e-12, atol=1e-12)


def test_its_gradient_is_a_derivative():
    vectors, counted, importance = sparse_vectors()[:1, :5], torch.ones(1, 5).double(), torch.ones(1, FEATURES).double()
    planned = SparseVectors.of(vectors, counted, importance)
    W, b = (weights(ToySpec(d_hidden=HIDDEN), 1)[name].requires_grad_() for name in ("W", "b"))
    assert torch.autograd.gradcheck(lambda W, b: SparseError.apply(W, b, planned), (W, b))


def test_parts_fit_into_the_cache():
    vectors = torch.zeros(2, 1000, 500)
    vectors[..., 3] = 1
    planned = SparseVectors.of(vectors, torch.ones(2, 1000), torch.ones(2, 500))
    sizes = [part.which.stop - part.which.start for part in planned.parts]
    assert sum(sizes) == 1000
    assert max(sizes) * 2 * 500 * 4 <= CACHE


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("hidden", ["none", "relu", "gelu", "silu", "solu", "solu_ln"])
@pytest.mark.parametrize("output", ["relu", "none"])
def test_a_batch_computes_what_the_module_does(tied, hidden, output):
    spec = ToySpec(d_hidden=HIDDEN, tied=tied, hidden=hidden, output=output)
    stack, vectors = weights(spec), sparse_vectors()
    if hidden == "solu_ln":
        stack["ln.w"] = torch.rand(RUNS, HIDDEN).double()
        stack["ln.b"] = torch.rand(RUNS, HIDDEN).double()
    outputs = ToyForward(spec, vectors)(stack)
    shape = Shape.of_vectors(FEATURES)
    for run in range(RUNS):
        module = load(spec, shape, {name: tensor[run].float() for name, tensor in stack.items()}).double()
        # The module keeps float32 weights, so they agree to float32's rounding.
        found, cache = module.run_with_cache(vectors[run])
        torch.testing.assert_close(found, outputs[run], rtol=1e-5, atol=1e-6)
        assert cache["hook_hidden"].shape == (N, HIDDEN)
        torch.testing.assert_close(cache["hook_post"], found)


def test_a_linear_tied_model_of_orthonormal_columns_projects():
    """x' = WᵀW x is the projection on the rows of W when these are orthonormal."""
    spec = ToySpec(d_hidden=HIDDEN, output="none")
    W = torch.linalg.qr(torch.randn(FEATURES, HIDDEN, generator=torch.Generator().manual_seed(3)).double())[0].mT
    found = ToyForward(spec, sparse_vectors()[:1])({"W": W[None], "b": torch.zeros(1, FEATURES).double()})
    torch.testing.assert_close(found @ W.mT, sparse_vectors()[:1] @ W.mT)
    residual = sparse_vectors()[0] - found[0]
    torch.testing.assert_close(residual @ W.mT, torch.zeros(N, HIDDEN).double())
