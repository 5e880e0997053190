"""Kernels of infinite width against integrals and against wide networks; regression with a kernel against scikit-learn's."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from sklearn.kernel_ridge import KernelRidge
from torch.func import functional_call, jacrev, vmap

from interp.maths.wide import regression, relu_kernels


def vectors(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_angle(x, y, function):
    """E[f(w·x)·f(w·y)] over normal w of variance 1, for f homogeneous of degree 0 or 1: an integral over directions of w."""
    angle = math.acos(float(x @ y) / float(x.norm() * y.norm()))
    degree = 1 if function(2.0) == 2 * function(1.0) else 0
    of_length = 2.0 if degree else 1.0  # E[r²] of the length of two normal numbers, and 1
    found, _ = quad(
        lambda t: function(math.cos(t)) * function(math.cos(t - angle)),
        -math.pi,
        math.pi,
        points=[-math.pi / 2, math.pi / 2, angle - math.pi / 2],
        epsabs=1e-12,
        limit=200,
    )
    return found / (2 * math.pi) * of_length * (float(x.norm() * y.norm()) if degree else 1.0)


def test_the_kernels_of_one_hidden_layer_are_the_integrals_that_define_them():
    x, y, variance = vectors(3, 4, 0), vectors(2, 4, 1), 1.7
    found = relu_kernels(x, y, weight_variance=variance)
    for i, j in np.ndindex(3, 2):
        here, there = (z * math.sqrt(variance / 4) for z in (x[i], y[j]))
        sent = by_angle(here, there, lambda u: max(u, 0.0))
        slopes = by_angle(here, there, lambda u: float(u > 0))
        assert float(found.last[i, j]) == pytest.approx(variance * sent, rel=1e-9)
        tangent = variance * sent + variance * slopes * float(here @ there)
        assert float(found.every[i, j]) == pytest.approx(tangent, rel=1e-9)


class Wide(torch.nn.Module):
    """A network in the parametrisation of Jacot et al. (2018): parameters of variance 1, scaled where they are used."""

    def __init__(self, d, width, n_hidden, weight_variance, bias_variance):
        super().__init__()
        sizes = [d, *[width] * n_hidden, 1]
        self.W = torch.nn.ParameterList([torch.randn(k, m).double() for k, m in pairwise(sizes)])
        self.b = torch.nn.ParameterList([torch.randn(m).double() for m in sizes[1:]])
        self.scales = [(math.sqrt(weight_variance / k), math.sqrt(bias_variance)) for k in sizes[:-1]]

    def forward(self, x):
        for layer, (W, b, (of_W, of_b)) in enumerate(zip(self.W, self.b, self.scales, strict=True)):
            x = (x.relu() if layer else x) @ W * of_W + b * of_b
        return x[..., 0]


@pytest.mark.parametrize("n_hidden", [1, 2])
def test_wide_networks_have_these_kernels(n_hidden):
    torch.manual_seed(0)
    x, how = vectors(4, 6, 2), {"n_hidden": n_hidden, "weight_variance": 1.3, "bias_variance": 0.2}
    outputs, tangents = [], []
    for _ in range(400):
        network = Wide(6, 256, **how)
        parameters = {name: tensor.detach() for name, tensor in network.named_parameters()}
        outputs.append(network(x).detach())
        one = vmap(jacrev(lambda p, z, net=network: functional_call(net, p, (z,))), in_dims=(None, 0))(parameters, x)
        slopes = torch.cat([each.flatten(1) for each in one.values()], dim=1)
        tangents.append(slopes @ slopes.T)
    found = relu_kernels(x, x, **how)
    products = torch.stack([each[:, None] * each for each in outputs])
    for sample, kernel, other in ((products, *found), (torch.stack(tangents), *found[::-1])):
        error = sample.std(dim=0) / math.sqrt(len(sample))
        # Of 10 pairs three errors are exceeded by chance once in 40; what width does is 1/256 of the kernel.
        near = [(sample.mean(dim=0) - each).abs() < 4 * error + each.abs() / 128 for each in (kernel, other)]
        assert near[0].all() and not near[1].diagonal().any()


def test_kernels_are_symmetric_positive_and_grow_with_both_vectors():
    x = vectors(20, 5, 3)
    for kernel, doubled in zip(relu_kernels(x, x, 3), relu_kernels(2 * x, 2 * x, 3), strict=True):
        torch.testing.assert_close(kernel, kernel.T)
        assert torch.linalg.eigvalsh(kernel).min() > 0
        torch.testing.assert_close(doubled, 4 * kernel)  # without biases


def test_a_vector_of_zeros_is_no_fault():
    x = torch.zeros(1, 5, dtype=torch.float64)
    for kernel in relu_kernels(x, vectors(3, 5, 4)):
        assert (kernel == 0).all()


@pytest.mark.parametrize("penalty", [1e-6, 1e-2, 3.0])
def test_regression_is_that_of_scikit_learn(penalty):
    x, asked, targets = vectors(30, 4, 5), vectors(7, 4, 6), vectors(30, 3, 7)
    known, between = relu_kernels(x, x).every, relu_kernels(asked, x).every
    reference = KernelRidge(alpha=penalty * float(known.diagonal().mean()), kernel="precomputed").fit(known, targets)
    (found,) = regression(known, between, targets, [penalty])
    np.testing.assert_allclose(found, reference.predict(between), atol=1e-8)


def test_without_a_penalty_targets_are_fitted_and_fewer_features_give_least_squares():
    x, targets = vectors(12, 20, 8), vectors(12, 2, 9)
    (fitted,) = regression(x @ x.T, x @ x.T, targets, [0.0])
    torch.testing.assert_close(fitted, targets)
    few = x[:, :3]
    (least,) = regression(few @ few.T, few @ few.T, targets, [0.0])
    torch.testing.assert_close(least, few @ torch.linalg.lstsq(few, targets).solution)
