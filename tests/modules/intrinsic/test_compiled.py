"""Compiled loops against naive ones."""

import numpy as np
import pytest
import torch
from numba import njit
from numba.core.caching import CacheImpl

from modules.intrinsic.compiled import compiled, merge, nearest, rewards
from modules.intrinsic.memory import by_torch

ROWS, HELD = np.array([3, 0, 2]), np.array([0, 2, 9])


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
    found = np.empty((3, k), np.float32)
    nearest(queries.numpy(), states.numpy(), ROWS, HELD, found)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(by_torch(queries, states, ROWS, HELD, k), expected, rtol=1e-5)


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [1, 3]])
def test_elsewhere_all_are_compared_with_what_the_longest_holds(rows, monkeypatch):
    compared = []
    cdist = torch.cdist
    monkeypatch.setattr(torch, "cdist", lambda a, b, **kw: compared.append(b.shape) or cdist(a, b, **kw))
    held = np.arange(len(rows))
    by_torch(torch.randn(len(rows), 5), torch.randn(4, 9, 5), np.array(rows), held, 1)
    assert compared == [(len(rows), held.max(), 5)]


def test_without_a_place_for_what_was_compiled_it_is_compiled_anew(monkeypatch):
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="cannot cache"):
        njit(cache=True)(add)
    assert compiled(add)(1, 2) == 3


def add(a, b):
    return a + b


def test_nobody_asks():
    nobody, found = np.zeros(0, np.int64), np.empty((0, 2), np.float32)
    nearest(np.empty((0, 5), np.float32), np.empty((4, 9, 5), np.float32), nobody, nobody, found)
    assert by_torch(torch.empty(0, 5), torch.empty(4, 9, 5), nobody, nobody, 2).shape == (0, 2)
    assert len(rewards(found, nobody, np.zeros(4), np.zeros(4, np.int64), (1e-3, 0.008, 1e-3, 8.0))) == 0


def test_rewards_worked_out_by_hand():
    """Means 2 of {1, 3} and (4·2 + 10)/5 = 3.6; the third has no neighbour, the fourth nothing but repetitions."""
    inf = np.inf
    neighbours = np.array([[1, 3], [10, inf], [inf, inf], [0, 0]], np.float32)
    mean, seen = np.array([0.0, 0.0, 2.0, 7.0, 0.0]), np.array([0, 0, 4, 1, 0])
    found = rewards(neighbours, np.array([1, 2, 3, 4]), mean, seen, (0.5, 0.25, 0.1, 1.3))
    assert mean.tolist() == pytest.approx([0, 2, 3.6, 7, 0])
    assert seen.tolist() == [0, 2, 5, 1, 2]
    kernels = [(2 / 3, 1 / 3.5), (0.5 / (10 / 3.6 + 0.25), 0.4)]  # ε / (d − ξ + ε); the missing one has d = 1
    assert found.tolist() == pytest.approx([*(1 / (sum(pair) ** 0.5 + 0.1) for pair in kernels), 0, 0])


def test_merged_batches_are_one():
    values = 1e6 + np.random.default_rng(0).standard_normal((50, 3))
    mean, squares = np.zeros(3), np.zeros(3)
    for start, end in ((0, 1), (1, 20), (20, 50)):
        merge(values[start:end], mean, squares, start)
    np.testing.assert_allclose(mean, values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(squares, ((values - values.mean(0)) ** 2).sum(0), rtol=1e-6)
