"""Returns, baseline, scaling and entropy of REINFORCE: numbers by hand, and loops that read as the definitions do."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from modules.losses import ops

NAN = math.nan


def test_reward_to_go_by_hand():
    mask = tensor([[True, True, True], [True, True, False]])
    g_t = ops.reward_to_go(tensor([[1.0, 2.0, 4.0], [8.0, -1.0, NAN]]), 0.5, mask)
    assert g_t[0].tolist() == [1 + 0.5 * 2 + 0.25 * 4, 2 + 0.5 * 4, 4]
    assert g_t[1, :2].tolist() == [8 - 0.5, -1]


@given(st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**31))
def test_reward_to_go_is_the_sum_of_what_comes(steps, gamma, seed):
    generator = torch.Generator().manual_seed(seed)
    r_t = torch.randn(3, steps, generator=generator, dtype=torch.float64)
    lengths = torch.randint(1, steps + 1, (3,), generator=generator)
    mask = torch.arange(steps) < lengths[:, None]
    found = ops.reward_to_go(r_t, gamma, mask)
    for row, length in enumerate(lengths.tolist()):
        for t in range(length):
            expected = sum(gamma ** (k - t) * r_t[row, k].item() for k in range(t, length))
            assert found[row, t].item() == pytest.approx(expected, abs=1e-9)


def test_discounted_by_age_is_no_return():
    mask = tensor([[True, True, True, False]])
    assert ops.discounted_reward(tensor([[1.0, 2.0, 4.0, NAN]]), 0.5, mask).tolist() == [[1.0, 1.0, 1.0, 0.0]]


def test_a_step_is_compared_with_the_other_rows_at_the_same_step():
    g_t = tensor([[6.0, 5.0, 4.0], [3.0, 1.0, NAN], [0.0, NAN, NAN]])
    mask = tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]]).bool()
    expected = [[6 - 1.5, 5 - 1, 4], [3 - 3, 1 - 5, 0], [0 - 4.5, 0, 0]]
    assert ops.leave_one_out_baseline(g_t, mask).tolist() == expected


def test_standardised_steps_have_mean_0_and_deviation_1_and_padding_none():
    mask = tensor([[True, True], [True, False]])
    found = ops.standardise(tensor([[1.0, 2.0], [6.0, NAN]]), mask)
    deviation = math.sqrt((4 + 1 + 9) / 3)
    torch.testing.assert_close(found, tensor([[-2 / deviation, -1 / deviation], [3 / deviation, 0.0]]))


@pytest.mark.parametrize(("value", "steps"), [(32.1, 1), (32.1, 999), (63.397, 481)])
def test_what_is_alike_everywhere_is_scaled_to_0(value, steps):
    """In float32 the mean of many 32.1 is not 32.1; scaled up, the difference would be as large as real ones."""
    x = torch.full((3, steps), value)
    found = ops.standardise(x, torch.ones_like(x, dtype=torch.bool))
    assert found.abs().max().item() < 1e-3


def test_entropy_in_nats():
    log_pi = tensor([[0.5, 0.5], [1.0, 1e-30]]).log()
    torch.testing.assert_close(ops.entropy(log_pi), tensor([math.log(2), 0.0]))
