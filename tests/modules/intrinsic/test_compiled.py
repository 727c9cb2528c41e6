"""Compiled loops against naive ones."""

import numpy as np
import pytest
import torch
from numba import njit
from numba.core.caching import CacheImpl

from modules.intrinsic.compiled import nearest, remember, rewards
from modules.intrinsic.episodic_memory import nearest_by_torch, remember_by_torch
from modules.moments import compile_lazily, merge, whiten

ROWS, HELD = np.array([0, 2, 3]), np.array([0, 2, 9])
WRITTEN = np.array([0, 5, 2, 9 + 4])  # of the four rows; the last one's ring is full


def states_and_queries() -> tuple[torch.Tensor, torch.Tensor]:
    """Four rows of nine states, some of them equal; NaN where none is held."""
    states = torch.randint(0, 4, (4, 9, 5)) * 0.7
    for row, held in zip(ROWS, HELD, strict=True):
        states[row, held:] = torch.nan
    return states, torch.randn(3, 5)


@pytest.mark.parametrize("k", [1, 4, 9])
def test_both_ways_find_the_nearest_of_the_states_that_are_held(k):
    states, queries = states_and_queries()
    expected = np.full((3, k), np.inf)
    for i, (row, held) in enumerate(zip(ROWS, HELD, strict=True)):
        distances = sorted(((queries[i] - state) ** 2).sum().item() for state in states[row, :held])[:k]
        expected[i, : len(distances)] = distances
    found = nearest(queries.numpy(), states.numpy(), ROWS, WRITTEN, k)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(nearest_by_torch(queries, states, ROWS, WRITTEN, k), expected, rtol=1e-5)


def test_both_ways_remember_in_a_ring():
    states, new = states_and_queries()
    other, counts, others = states.clone(), WRITTEN.copy(), WRITTEN.copy()
    remember(new.numpy(), states.numpy(), ROWS, counts)
    remember_by_torch(new, other, ROWS, others)
    for found, count in ((states, counts), (other, others)):
        assert count.tolist() == [1, 5, 3, 14]
        assert torch.equal(torch.stack((found[0, 0], found[2, 2], found[3, 13 - 9])), new)
    np.testing.assert_array_equal(states, other)


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [1, 3]])
def test_elsewhere_all_are_compared_with_what_the_longest_holds(rows, monkeypatch):
    compared = []
    cdist = torch.cdist
    monkeypatch.setattr(torch, "cdist", lambda a, b, **kw: compared.append(b.shape) or cdist(a, b, **kw))
    nearest_by_torch(torch.randn(len(rows), 5), torch.randn(4, 9, 5), np.array(rows), np.array([0, 6, 2, 3]), 1)
    assert compared == [(len(rows), 6, 5)]


def test_without_a_place_for_what_was_compiled_it_is_compiled_anew(monkeypatch):
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="cannot cache"):
        njit(cache=True)(add)
    assert compile_lazily(add)(1, 2) == 3


def add(a, b):
    return a + b


def test_nobody_asks():
    nobody, queries, states = np.zeros(0, np.int64), torch.empty(0, 5), torch.empty(4, 9, 5)
    found = nearest(queries.numpy(), states.numpy(), nobody, WRITTEN, 2)
    assert found.shape == nearest_by_torch(queries, states, nobody, WRITTEN, 2).shape == (0, 2)
    assert rewards(found, nobody, np.zeros(4), np.zeros(4, np.int64), 9, (1e-3, 0.008, 1e-3, 8.0)).tolist() == [0] * 4


def test_rewards_worked_out_by_hand():
    """Means 2 of {1, 3} and (4·2 + 10)/5 = 3.6; the third has no neighbour, the fourth nothing but repetitions."""
    inf = np.inf
    neighbours = np.array([[1, 3], [10, inf], [inf, inf], [0, 0]], np.float32)
    mean, seen = np.array([0.0, 0.0, 2.0, 7.0, 0.0]), np.array([0, 0, 4, 1, 0])
    found = rewards(neighbours, np.array([1, 2, 3, 4]), mean, seen, 9, (0.5, 0.25, 0.1, 1.3))
    assert mean.tolist() == pytest.approx([0, 2, 3.6, 7, 0])
    assert seen.tolist() == [0, 2, 5, 1, 2]
    kernels = [(2 / 3, 1 / 3.5), (0.5 / (10 / 3.6 + 0.25), 0.4)]  # ε / (d − ξ + ε); the missing one has d = 1
    assert found.tolist() == pytest.approx([0, *(1 / (sum(pair) ** 0.5 + 0.1) for pair in kernels), 0, 0])


def test_means_that_forget_worked_out_by_hand():
    """What was seen counts as 3 distances at most: (3·4 + 1 + 9)/5 = 4.4 with two new ones, (2·4 + 1)/3 below it."""
    neighbours = np.array([[1, 9], [1, np.inf], [np.inf, np.inf]], np.float32)
    mean, seen = np.full(3, 4.0), np.array([100, 2, 100])
    found = rewards(neighbours, np.arange(3), mean, seen, 3, (0.5, 0.25, 0.1, 9.0))
    assert mean.tolist() == pytest.approx([4.4, 3, 4])
    assert seen.tolist() == [5, 3, 100]
    kernels = [(0.5 / (d - 0.25 + 0.5) if d > 0.25 else 1) for d in (1 / 4.4, 9 / 4.4, 1 / 3, 1)]
    assert found.tolist() == pytest.approx([1 / (sum(kernels[i : i + 2]) ** 0.5 + 0.1) for i in (0, 2)] + [0])


def test_merged_batches_are_one():
    values = 1e6 + np.random.default_rng(0).standard_normal((50, 3))
    mean, squares = np.zeros(3), np.zeros(3)
    for start, end in ((0, 1), (1, 20), (20, 50)):
        merge(values[start:end], mean, squares, start)
    np.testing.assert_allclose(mean, values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(squares, ((values - values.mean(0)) ** 2).sum(0), rtol=1e-6)


def test_values_are_whitened_and_nan_is_seen():
    values = np.array([[3.0, -8.0, np.nan], [-7.0, 5.0, 0.5]], np.float32)
    found = whiten(values, np.array([1.0, 0.0, 0.0]), np.array([1.0, 2.0, 1.0]), 4.0)
    np.testing.assert_array_equal(found, np.array([[2, -4, np.nan], [-4, 2.5, 0.5]], np.float32))
