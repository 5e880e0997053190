import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from interp.maths.compiled import first_derivatives
from interp.models import products
from interp.models.products import Entries, dots, multiply, product, shared_product, spread, weighted_sum

OUT, ROWS, WIDTH = 7, 5, 3


def random(*size, seed=0, dtype=torch.float64):
    """A tensor that wants a gradient."""
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=dtype).requires_grad_()


@pytest.fixture
def columns():
    """Two different columns in every row; none is column 4."""
    return torch.stack([torch.tensor([i % 3, i % 3 + 1]) for i in range(OUT)])


@pytest.fixture
def entries(columns):
    return Entries(columns, ROWS)


def dense(weights, columns):
    """The sparse matrix, written out."""
    return torch.zeros(OUT, ROWS, dtype=weights.dtype).scatter(1, columns, weights)


def test_sparse_products_are_those_of_the_matrix_written_out(entries, columns):
    weights, table, values = random(OUT, 2), random(ROWS, WIDTH, seed=1), random(OUT, WIDTH, seed=2)
    matrix = dense(weights, columns)
    torch.testing.assert_close(weighted_sum(weights, table, entries), matrix @ table)
    torch.testing.assert_close(spread(weights, values, entries), matrix.T @ values)
    torch.testing.assert_close(dots(values, table, entries), (values @ table.T).gather(1, columns))


def test_gradients_of_sparse_products_are_right_twice(entries):
    weights, table, values = random(OUT, 2), random(ROWS, WIDTH, seed=1), random(OUT, WIDTH, seed=2)
    for act, arguments in [(weighted_sum, (weights, table)), (spread, (weights, values)), (dots, (values, table))]:
        assert gradcheck(lambda x, y, act=act: act(x, y, entries), arguments)
        assert gradgradcheck(lambda x, y, act=act: act(x, y, entries), arguments)


def test_gradients_of_a_dense_product_are_right_twice(monkeypatch):
    monkeypatch.setattr(products, "SMALL", 0)
    for size in [(2, 4, 3, 5), (2, 4, 5, 3)]:  # both orders in which the gradient of w is taken
        runs, m, k, n = size
        assert gradcheck(product, (random(runs, m, k), random(runs, k, n, seed=1)))
        assert gradgradcheck(product, (random(runs, m, k), random(runs, k, n, seed=1)))


@pytest.mark.parametrize("sets", [1, 2, 6])
def test_a_shared_product_is_that_of_each_run_with_its_own_set(sets, monkeypatch):
    x, w = random(sets, 4, 3), random(6, 3, 5, seed=1)
    torch.testing.assert_close(shared_product(x, w), torch.bmm(x.repeat_interleave(6 // sets, dim=0), w))
    for small in (2**30, 0):
        monkeypatch.setattr(products, "SMALL", small)
        assert gradcheck(shared_product, (x, w))
        assert gradgradcheck(shared_product, (x, w))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("small", [True, False])
def test_a_bias_is_added_and_has_its_gradient(small, dtype, monkeypatch):
    monkeypatch.setattr(products, "SMALL", 2**30 if small else 0)
    x, w, b = random(2, 4, 3, dtype=dtype), random(2, 3, 5, seed=1, dtype=dtype), random(2, 5, seed=2, dtype=dtype)
    outer = random(2, 4, 5, seed=3, dtype=dtype).detach()

    def with_gradients(found):
        return [found, *torch.autograd.grad((found * outer).sum(), (x, w, b))]

    expected = with_gradients(torch.bmm(x, w) + b[:, None])
    torch.testing.assert_close(with_gradients(product(x, w, bias=b)), expected)
    with first_derivatives():
        torch.testing.assert_close(with_gradients(product(x, w, bias=b)), expected)


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("layout", ["rows", "columns", "slice"])
def test_a_dense_product_is_float32_s_whatever_the_layout(layout, runs):
    x, w = random(runs, 40, 30, dtype=torch.float32).detach(), random(runs, 30, 20, dtype=torch.float32).detach()
    if layout == "columns":
        x, w = x.mT.contiguous().mT, w.mT.contiguous().mT
    if layout == "slice":
        x, w = torch.cat([x, x], dim=2)[:, :, :30], torch.cat([w, w], dim=2)[:, :, 20:]
    torch.testing.assert_close(multiply(x, w, rounded=False), (x.double() @ w.double()).float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "precision, rounds", [("float32", (0, 0)), ("bfloat16_gradients", (0, 1)), ("bfloat16", (1, 1))]
)
def test_a_precision_rounds_what_it_says_and_no_more(precision, rounds, monkeypatch):
    monkeypatch.setattr(products, "SMALL", 0)
    x, w = random(1, 64, 32, dtype=torch.float32), random(1, 32, 48, seed=1, dtype=torch.float32)
    found = product(x, w, precision)
    gradients = torch.autograd.grad(found.square().sum(), (x, w))
    exact = x.double() @ w.double()
    for_x, for_w = torch.autograd.grad(exact.square().sum(), (x, w))
    for got, right, rounded in [
        (found, exact, rounds[0]),
        *zip(gradients, (for_x, for_w), [rounds[1]] * 2, strict=True),
    ]:
        error = float(((got - right).norm() / right.norm()).detach())
        assert got.dtype == torch.float32
        assert (1e-4 < error < 1e-2) if rounded else error < 1e-6


def test_small_products_keep_their_precision():
    x, w = random(1, 8, 8, dtype=torch.float32), random(1, 8, 8, seed=1, dtype=torch.float32)
    torch.testing.assert_close(product(x, w, "bfloat16"), x @ w, rtol=0, atol=0)


@pytest.mark.parametrize("act", [weighted_sum, spread, dots, product], ids=lambda act: act.__name__)
def test_torch_s_function_transforms_go_through_every_product(act, entries, monkeypatch):
    """Forward over reverse, reverse over reverse, and a batch of both, are one matrix of second derivatives."""
    monkeypatch.setattr(products, "SMALL", 0)
    sizes = {
        weighted_sum: [(OUT, 2), (ROWS, WIDTH)],
        spread: [(OUT, 2), (OUT, WIDTH)],
        dots: [(OUT, WIDTH), (ROWS, WIDTH)],
    }
    one, other = (random(*size, seed=i).detach() for i, size in enumerate(sizes.get(act, [(2, 4, 3), (2, 3, 5)])))
    constant = "float32" if act is product else entries
    # float64 small products are torch's own; the kernel's function is asked for by itself
    call = products._Product.apply if act is product else act

    def loss(both):
        return call(*both, constant).pow(3).sum()

    along = tuple(torch.stack([random(*each.shape, seed=i).detach() for i in (2, 3)]) for each in (one, other))

    def forward_over_reverse(*change):
        return torch.func.jvp(torch.func.grad(loss), ((one, other),), (change,))[1]

    found = torch.func.vmap(forward_over_reverse)(*along)
    both = one.clone().requires_grad_(), other.clone().requires_grad_()
    gradients = torch.autograd.grad(loss(both), both, create_graph=True)
    for index in range(2):
        expected = torch.autograd.grad(gradients, both, [each[index] for each in along], retain_graph=True)
        for got, right in zip(found, expected, strict=True):
            torch.testing.assert_close(got[index], right)
