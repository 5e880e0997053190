"""Selectivity for chosen examples: closed forms, classes that are no selectivity, and a bounded rate of false finds."""

import numpy as np

from interp.maths.selective import as_many, dealt, of_equal_energy, selectivity

CLASSES = np.repeat(np.arange(5), 40)
CHOSEN = np.tile(np.arange(40) < 8, 5)


def test_a_neuron_that_fires_for_the_chosen_alone_has_auc_1_and_one_that_never_varies_a_half():
    activations = np.stack([CHOSEN * 1.0, -1.0 * CHOSEN, np.full(200, 0.3)], axis=1)
    found = selectivity(activations, CHOSEN, CLASSES, draws=100, seed=0)
    np.testing.assert_allclose(found.auc, [1, 0, 0.5])
    assert found.z[0] > 5
    assert found.z[1] < -5
    assert found.z[2] == 0
    assert found.share == 1 / 3
    assert found.p < 0.05


def test_auc_is_the_share_of_pairs_in_order():
    numbers = np.random.default_rng(0)
    values, chosen = numbers.integers(0, 5, 60).astype(float), np.arange(60) < 20
    found = selectivity(values[:, None], chosen, np.zeros(60, dtype=int), draws=20, seed=0)
    pairs = values[chosen][:, None] - values[~chosen]
    np.testing.assert_allclose(found.auc[0], ((pairs > 0) + (pairs == 0) / 2).mean())


def test_a_neuron_that_knows_classes_of_which_more_are_chosen_is_not_selective():
    uneven = np.concatenate([np.arange(40) < many for many in (2, 2, 2, 2, 30)])
    of_class = (CLASSES == 4) + 0.01 * np.random.default_rng(1).standard_normal(200)
    found = selectivity(of_class[:, None], uneven, CLASSES, draws=400, seed=0)
    assert found.auc[0] > 0.8
    assert abs(found.z[0]) < 2.5


def test_neurons_without_any_relation_are_found_no_more_often_than_p_says():
    """Neurons that are correlated, too: 5 of 100 are expected, with a standard deviation of 2.2; four of these."""
    small = 0
    for seed in range(100):
        numbers = np.random.default_rng(seed)
        shared = numbers.standard_normal((200, 3)) @ numbers.standard_normal((3, 30))
        found = selectivity(shared + numbers.standard_normal((200, 30)), CHOSEN, CLASSES, draws=99, seed=seed)
        small += found.p <= 0.05
    assert small <= 14


def test_as_many_of_each_class_are_chosen_anew():
    masks = dealt(CHOSEN, CLASSES, draws=50, seed=0)
    assert all((mask[one == CLASSES].sum() == 8) for mask in masks for one in range(5))
    assert len({mask.tobytes() for mask in masks}) == 50


def test_neurons_at_random_are_others_each_once_and_of_equal_energy_where_there_are_some():
    energies = np.concatenate([np.arange(1.0, 11.0), np.arange(1.0, 11.0) + 0.01, np.full(30, 0.001)])
    taken = np.arange(10)
    mates = of_equal_energy(energies, taken, draws=20, seed=0, near=1)
    np.testing.assert_array_equal(np.sort(mates, axis=1), np.tile(np.arange(10, 20), (20, 1)))
    pool = np.arange(10, 50)
    number = as_many(pool, 10, draws=20, seed=0)
    for sets in (number, of_equal_energy(energies, taken, draws=20, seed=0)):
        assert all(len(set(draw)) == 10 and set(draw) <= set(pool) for draw in sets.tolist())
    assert energies[number].sum(axis=1).mean() < 0.5 * energies[taken].sum()
