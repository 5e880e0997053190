import math

import pytest
import torch

from interp.maths.sampling import generator, standard_error


def test_of_four_draws_it_is_their_deviation_over_two():
    assert standard_error(torch.tensor([1.0, 2.0, 3.0, 4.0])).item() == pytest.approx(math.sqrt(5 / 3) / 2)


@pytest.mark.parametrize("n, of", [(20, None), (20, 40), (39, 40)])
def test_it_is_the_spread_of_the_mean_over_seeds_with_and_without_putting_back(n, of):
    random = torch.Generator().manual_seed(0)
    values = torch.randn(40, generator=random, dtype=torch.float64)
    places = torch.rand(4000, 40, generator=random).argsort(dim=1)[:, :n]
    if of is None:
        places = torch.randint(40, (4000, n), generator=random)
    drawn = values[places]
    told = standard_error(drawn, of).square().mean().sqrt()
    assert told.item() == pytest.approx(drawn.mean(dim=1).std().item(), rel=0.05)  # four deviations of 1/√8000


def test_all_there_is_has_no_error_and_one_draw_has_none_that_is_known():
    assert standard_error(torch.arange(5.0), of=5) == 0
    assert standard_error(torch.ones(1), of=1) == 0
    assert standard_error(torch.ones(3, 1)).isnan().all()


def test_numbers_of_a_purpose_are_not_those_of_initial_weights():
    """A run with seed 0 draws its first weights from torch's numbers of seed 0; a direction must not point along them."""
    own = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    drawn = [torch.randn(10_000, generator=generator(0, *purpose)) for purpose in ((), (1,), (2,))]
    for one, other in [(own, each) for each in drawn] + [(drawn[0], drawn[1]), (drawn[1], drawn[2])]:
        assert abs(torch.cosine_similarity(one, other, dim=0).item()) < 0.05
    assert torch.equal(drawn[1], torch.randn(10_000, generator=generator(0, 1)))
