from math import exp, fsum, log, log1p

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.maths.losses import accuracy, cross_entropy, losses_and_right, prompt_losses, stablemax_cross_entropy

examples = settings(max_examples=40, deadline=None, derandomize=True)
batches = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(0, 99))


def drawn(n, answers, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn((n, answers), generator=generator)
    return logits, torch.randint(answers, (n,), generator=generator)


@examples
@given(size=batches)
def test_cross_entropy_is_the_mean_surprise_at_the_right_answers(size):
    logits, targets = drawn(*size)
    surprises = [
        log(fsum(exp(other) for other in row)) - row[target]
        for row, target in zip(logits.double().tolist(), targets.tolist(), strict=True)
    ]
    assert cross_entropy(logits, targets) == pytest.approx(fsum(surprises) / len(surprises), abs=1e-12)


def test_cross_entropy_of_equal_logits_is_the_log_of_their_number():
    assert cross_entropy(torch.zeros(4, 7), torch.arange(4)) == pytest.approx(log(7), abs=1e-12)


@examples
@given(size=batches, shift=st.floats(-100, 100))
def test_cross_entropy_does_not_change_when_all_logits_rise_alike(size, shift):
    logits, targets = drawn(*size)
    logits = logits.double()
    assert cross_entropy(logits + shift, targets) == pytest.approx(float(cross_entropy(logits, targets)), abs=1e-12)


def test_a_loss_too_small_for_float32_is_still_read():
    logits, targets = torch.tensor([[20.0, 0.0, 0.0]], requires_grad=True), torch.tensor([0])
    in_float32 = torch.nn.functional.cross_entropy(logits, targets)
    loss = cross_entropy(logits, targets)
    assert in_float32 == 0
    assert float(loss.detach()) == pytest.approx(2 * exp(-20), rel=1e-6)  # float64 has 1 + 4e-9 to eight digits
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient, torch.tensor([[-2.0, 1.0, 1.0]]) * exp(-20), rtol=1e-6, atol=0)


@examples
@given(size=batches)
def test_the_gradient_is_the_probabilities_less_the_right_answers(size):
    logits, targets = drawn(*size)
    logits = logits.double().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(logits, targets), logits)
    right = torch.nn.functional.one_hot(targets, logits.shape[1])
    expected = (logits.detach().softmax(dim=1) - right) / len(logits)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-14)


@examples
@given(n=st.integers(1, 8), data=st.data())
def test_accuracy_counts_the_prompts_answered_rightly(n, data):
    right = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    targets = torch.arange(n) % 3
    answers = torch.where(torch.tensor(right), targets, (targets + 1) % 3)
    logits = torch.nn.functional.one_hot(answers, 3).float() - 5  # the largest counts, not its sign
    assert accuracy(logits, targets) == pytest.approx(sum(right) / n)


@examples
@given(size=batches)
def test_losses_of_prompts_average_to_the_cross_entropy(size):
    logits, targets = drawn(*size)
    assert float(prompt_losses(logits.double(), targets).mean()) == pytest.approx(
        float(cross_entropy(logits, targets)), rel=1e-12
    )


def test_a_tiny_loss_is_kept_in_float32_where_one_minus_a_probability_is_lost():
    logits, right = torch.tensor([[40.0, 0.0, 0.0], [90.0, 0.0, 0.0]]), torch.tensor([0, 0])
    exact = [log1p(2 * exp(-40)), 2 * exp(-90)]
    assert prompt_losses(logits, right).tolist() == pytest.approx(exact, rel=1e-6)


def test_a_large_loss_does_not_overflow_in_float32():
    logits = torch.tensor([[0.0, 1000.0, 999.0], [-1e5, 0.0, -1e5]])
    expected = [1000 + log1p(exp(-1)), 1e5]
    assert prompt_losses(logits, torch.tensor([0, 0])).tolist() == pytest.approx(expected, rel=1e-6)
    assert prompt_losses(torch.stack([logits, logits + 1]), torch.tensor([0, 0])).shape == (2, 2)


def test_right_answers_are_those_that_lead_and_a_tie_is_none():
    logits = torch.tensor([[3.0, 1.0, 2.5], [3.0, 1.0, 2.5], [3.0, 3.0, 0.0]])
    losses, right = losses_and_right(logits, torch.tensor([0, 1, 1]))
    assert right.tolist() == [1, 0, 0]
    torch.testing.assert_close(
        losses, torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 1]), reduction="none")
    )


def test_answers_that_are_hopelessly_behind_add_nothing_to_the_loss():
    """Beyond e⁻⁸⁷, where float32 has no normal numbers left."""
    logits = torch.tensor([[0.0, -20.0, -95.0], [0.0, -95.0, -300.0], [-95.0, 0.0, -300.0]])
    found = prompt_losses(logits, torch.zeros(3, dtype=torch.long))
    torch.testing.assert_close(found, torch.tensor([log1p(exp(-20)), 0.0, 95.0]), rtol=1e-6, atol=0)


def stablemax(x):
    """Prieto et al. (2025), equation 6."""
    return x + 1 if x >= 0 else 1 / (1 - x)


@examples
@given(batches)
def test_stablemax_takes_another_function_in_place_of_exp(batch):
    logits, targets = drawn(*batch)
    rows = [[stablemax(x) for x in row] for row in logits.tolist()]
    each = [-log(row[target] / fsum(row)) for row, target in zip(rows, targets.tolist(), strict=True)]
    assert float(stablemax_cross_entropy(logits, targets)) == pytest.approx(fsum(each) / len(each), rel=1e-6)


def test_stablemax_still_has_a_gradient_where_the_softmax_has_none():
    logits = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    for loss, alive in ((cross_entropy, False), (stablemax_cross_entropy, True)):
        (gradient,) = torch.autograd.grad(loss(logits, torch.tensor([0]), dtype=torch.float32), logits)
        assert bool(gradient.abs().max() > 0) is alive


@examples
@given(batches, st.floats(0, 0.9))
def test_smoothing_spreads_its_share_over_all_answers(batch, share):
    logits, targets = drawn(*batch)
    of_each = [cross_entropy(logits, torch.full_like(targets, answer)) for answer in range(logits.shape[1])]
    expected = (1 - share) * cross_entropy(logits, targets) + share * torch.stack(of_each).mean()
    torch.testing.assert_close(cross_entropy(logits, targets, share), expected)


def test_a_right_answer_far_ahead_has_no_loss_in_less_precision():
    """log(1 + e⁻²⁰) is 2e-9: float64 has it, float32 has not."""
    logits, target = torch.tensor([[20.0, 0.0]]), torch.tensor([0])
    assert float(cross_entropy(logits, target)) == pytest.approx(exp(-20), rel=1e-6)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert float(cross_entropy(logits, target, dtype=dtype)) == 0
