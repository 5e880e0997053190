import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.maths.stability import PRECISIONS, descent_cosines, logit_margins, softmax_collapsed

LAST_COUNTED = {name: math.log(2 / torch.finfo(kind).eps) for name, kind in PRECISIONS.items()}
"""e⁻ᵐ is half an epsilon: what one other answer still adds to 1, or no more."""


def behind(m, n=3):
    """One answer m behind the largest, all others so far that they never count."""
    return torch.tensor([[5.0, 5.0 - m, *[-5000.0] * (n - 2)]], dtype=torch.float64)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_softmax_collapses_where_the_next_answer_is_less_than_half_an_epsilon(precision):
    kind = PRECISIONS[precision]
    # z − max, 7.6 say, is rounded too: in bfloat16 to 1/64 of it
    slack = 0.02 + 4 * LAST_COUNTED[precision] * torch.finfo(kind).eps
    assert softmax_collapsed(behind(LAST_COUNTED[precision] + slack), kind)
    assert not softmax_collapsed(behind(LAST_COUNTED[precision] - slack), kind)


def test_margins_of_collapse_are_as_documented():
    assert {name: round(m, 1) for name, m in LAST_COUNTED.items()} == {
        "float16": 7.6,
        "bfloat16": 5.5,
        "float32": 16.6,
        "float64": 36.7,
    }


@pytest.mark.parametrize("precision", PRECISIONS)
def test_many_small_terms_count_together(precision):
    """A hundred answers that are alone too far behind are together near enough."""
    m = LAST_COUNTED[precision] + 1
    logits = torch.full((1, 101), -m, dtype=torch.float64)
    logits[0, 0] = 0
    assert not softmax_collapsed(logits, PRECISIONS[precision])
    assert softmax_collapsed(logits[:, :2], PRECISIONS[precision])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_two_largest_logits_do_not_collapse_and_huge_ones_do(precision):
    assert not softmax_collapsed(torch.tensor([[3.0, 3.0, -99.0]]), PRECISIONS[precision])
    assert softmax_collapsed(torch.tensor([[1e30, -1e30, 0.0]]), PRECISIONS[precision])  # more than float16 holds


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 999), scale=st.sampled_from([1.0, 5.0, 20.0]), answers=st.integers(2, 20))
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_loss_is_exactly_zero_where_the_right_answer_leads_in_a_collapsed_softmax(precision, seed, scale, answers):
    """Against the loss step by step, in torch's own order of summing; terms that matter differ by the last bit at most."""
    kind = PRECISIONS[precision]
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(40, answers, generator=generator, dtype=kind)
    targets = torch.randint(answers, (40,), generator=generator)
    top = logits.amax(dim=1, keepdim=True)
    loss = (logits - top).exp().sum(dim=1).log() - (logits.gather(1, targets[:, None]) - top)[:, 0]
    found = softmax_collapsed(logits, kind) & (logit_margins(logits, targets) > 0)
    tail = ((logits - top).double().exp().sum(dim=1) - 1) / (torch.finfo(kind).eps / 2)
    doubtful = (tail > 0.99) & (tail < 1.01)
    assert ((found == (loss == 0)) | doubtful).all()


def test_coarser_precisions_collapse_earlier():
    logits = 6 * torch.randn(500, 11, generator=torch.Generator().manual_seed(0))
    found = {name: softmax_collapsed(logits, kind) for name, kind in PRECISIONS.items()}
    order = ["float64", "float32", "float16", "bfloat16"]
    for finer, coarser in pairwise(order):
        assert (found[coarser] | ~found[finer]).all()
    assert found["bfloat16"].sum() > found["float16"].sum() > found["float32"].sum()


def test_the_margin_is_the_lead_over_the_best_wrong_answer():
    logits = torch.tensor([[3.0, 1.0, 2.5], [3.0, 1.0, 2.5]])
    assert logit_margins(logits, torch.tensor([0, 1])).tolist() == [0.5, -2.0]


def test_a_homogeneous_loss_gives_the_cosine_of_eulers_theorem():
    """For f of degree d, w·∇f = d·f: the cosine is −d·f / (‖w‖·‖∇f‖)."""
    weights = {
        name: torch.randn(3, 4, generator=torch.Generator().manual_seed(seed)).requires_grad_()
        for seed, name in enumerate(["a", "b"])
    }
    f = -((weights["a"] * weights["b"].relu()).sum() ** 3)  # degree 6 together, 3 in each
    gradients = dict(zip(weights, torch.autograd.grad(f, list(weights.values())), strict=True))
    found = descent_cosines({name: w.detach() for name, w in weights.items()}, gradients)
    lengths = torch.stack([w.detach().double().norm() for w in weights.values()])
    assert float(found["cosine"]) == pytest.approx(-6 * f.item() / float(lengths.norm() * found["norm"]), rel=1e-5)
    torch.testing.assert_close(found["cosines"], -3 * f.item() / (lengths * found["norms"]), rtol=1e-5, atol=0)


def test_descent_along_the_weights_has_cosine_1_and_against_them_minus_1():
    w = {"w": torch.tensor([3.0, 4.0])}
    for sign in (1, -1):
        found = descent_cosines(w, {"w": -sign * 0.1 * w["w"]})
        assert float(found["cosine"]) == pytest.approx(sign)
        assert float(found["norm"]) == pytest.approx(0.5)


def test_without_weights_or_gradient_there_is_no_direction():
    w = {"w": torch.ones(2), "b": torch.zeros(2)}
    found = descent_cosines(w, {"w": torch.zeros(2), "b": torch.ones(2)})
    assert found["cosines"].tolist() == [0, 0]
    assert found["norms"].tolist() == [0, pytest.approx(math.sqrt(2))]


def test_a_tiny_gradient_still_has_a_direction():
    w = {"w": torch.tensor([1.0, 0.0])}
    assert float(descent_cosines(w, {"w": -1e-30 * w["w"]})["cosine"]) == pytest.approx(1)  # its square is 0 in float32
