import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from modules.losses import ops


def returns(rewards, discounts, values, mask, n):
    mask = tensor(mask, dtype=torch.bool)
    continues = torch.cat((mask[:, 1:], torch.zeros_like(mask[:, :1])), 1)
    return ops.n_step_return(tensor(rewards), tensor(discounts), tensor(values), continues, n)


REWARDS, HALF, VALUES = [[1.0, 2.0, 3.0]], [[0.5, 0.5, 0.5]], [[8.0, 16.0, 32.0]]
FULL = [[1, 1, 1]]


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, [1 + 0.5 * 8, 2 + 0.5 * 16, 3 + 0.5 * 32]),
        # From the second step on, the row ends before n = 2 steps are over: the horizon shrinks, the value stays.
        (2, [1 + 0.5 * 2 + 0.25 * 16, 2 + 0.5 * 3 + 0.25 * 32, 3 + 0.5 * 32]),
        (3, [1 + 0.5 * 2 + 0.25 * 3 + 0.125 * 32, 2 + 0.5 * 3 + 0.25 * 32, 3 + 0.5 * 32]),
        (7, [1 + 0.5 * 2 + 0.25 * 3 + 0.125 * 32, 2 + 0.5 * 3 + 0.25 * 32, 3 + 0.5 * 32]),
    ],
)
def test_n_step_return_bootstraps_at_the_row_end(n, expected):
    torch.testing.assert_close(returns(REWARDS, HALF, VALUES, FULL, n), tensor([expected]))


def test_n_step_return_stops_at_a_terminal_step():
    g = returns(REWARDS, [[0.5, 0.0, 0.5]], VALUES, [[1, 1, 0]], n=3)
    torch.testing.assert_close(g[:, :2], tensor([[1 + 0.5 * 2, 2.0]]))


def test_n_step_return_bootstraps_at_a_truncated_step_inside_the_row():
    g = returns(REWARDS, HALF, VALUES, [[1, 1, 0]], n=3)
    torch.testing.assert_close(g[:, :2], tensor([[1 + 0.5 * 2 + 0.25 * 16, 2 + 0.5 * 16]]))


def test_n_step_return_never_reads_the_padding():
    nan = math.nan
    g = returns([[1.0, 2.0, nan]], [[0.5, 0.5, nan]], [[8.0, 16.0, nan]], [[1, 1, 0]], n=3)
    torch.testing.assert_close(g[:, :2], tensor([[1 + 0.5 * 2 + 0.25 * 16, 2 + 0.5 * 16]]))


def stepwise(rewards, gamma, terminated, values, steps, n):
    """Sum forwards from each step of one row, as the definition reads."""
    out = []
    for t in range(steps):
        total, discount = 0.0, 1.0
        for k in range(t, min(t + n, steps)):
            total += discount * rewards[k]
            discount *= 0.0 if terminated[k] else gamma
        out.append(total + discount * values[k])
    return out


@given(st.data())
def test_n_step_return_equals_the_definition(data):
    length = data.draw(st.integers(1, 7))
    n = data.draw(st.integers(1, 9))
    gamma = data.draw(st.floats(0, 1))
    numbers = st.lists(st.floats(-10, 10), min_size=length, max_size=length)
    rows = [(data.draw(numbers), data.draw(numbers), data.draw(st.integers(1, length)), data.draw(st.booleans()))
            for _ in range(data.draw(st.integers(1, 3)))]  # fmt: skip
    terminated = [[ends and t == steps - 1 for t in range(length)] for _, _, steps, ends in rows]
    r_t, v_t = (torch.tensor([row[i] for row in rows], dtype=torch.float64) for i in (0, 1))
    mask = torch.tensor([[t < steps for t in range(length)] for _, _, steps, _ in rows])
    continues = torch.cat((mask[:, 1:], torch.zeros_like(mask[:, :1])), 1)
    g = ops.n_step_return(r_t, gamma * (~torch.tensor(terminated)).double(), v_t, continues, n)
    for b, (r, v, steps, _) in enumerate(rows):
        expected = torch.tensor(stepwise(r, gamma, terminated[b], v, steps, n), dtype=torch.float64)
        torch.testing.assert_close(g[b, :steps], expected)


@pytest.mark.parametrize("eps", [1e-3, 1e-2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_rescaling_has_the_inverse_that_it_says(eps, dtype):
    size = torch.logspace(-6, 6, 500, dtype=dtype)
    x = torch.cat((-size, torch.zeros(1, dtype=dtype), size))
    back = ops.signed_parabolic(ops.signed_hyperbolic(x, eps), eps)
    assert back.dtype == dtype
    rtol, atol = (2e-6, 5e-7) if dtype == torch.float32 else (1e-9, 1e-12)
    torch.testing.assert_close(back, x, rtol=rtol, atol=atol)


def test_value_rescaling_by_hand():
    x = tensor([100.0, -100.0, 3.0, 0.0], dtype=torch.float64)
    h = ops.signed_hyperbolic(x, 0.001)
    big = math.sqrt(101) - 1 + 0.1
    torch.testing.assert_close(h, tensor([big, -big, 1.003, 0.0], dtype=torch.float64))
    torch.testing.assert_close(ops.signed_parabolic(h, 0.001), x)
    # NGU prints the inverse without the square; h(100) would come back as 9.05.
    without_square = (math.sqrt(1 + 0.004 * (big + 1 + 0.001)) - 1) / 0.002 - 1
    assert without_square == pytest.approx(9.05, abs=0.01)


def test_two_streams_are_combined_by_hand():
    """h(0, 3, 8, 15, 24) = 0, 1.003, 2.008, 3.015, 4.024, so h⁻¹(1.003) + 1.5 h⁻¹(2.008) = 3 + 12 = h⁻¹(3.015)."""
    extrinsic, intrinsic = tensor([1.003, 3.015, -1.003, 2.008]), tensor([2.008, 1.003, -2.008, 4.024])
    beta = tensor([1.5, 3.0, 1.5, 0.0])
    found = ops.combined_values(extrinsic, intrinsic, beta, 0.001)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, tensor([3.015, 4.024, -3.015, 2.008]))
    sums = ops.combined_values(extrinsic, intrinsic, beta, 0.0)
    torch.testing.assert_close(sums, tensor([4.015, 6.024, -4.015, 2.008]))


def test_the_two_combinations_choose_differently():
    """Raw values 8 + 0 are more than 3 + 4.76, but h(8) = 2.008 is less than h(3) + h(4.76) = 1.003 + 1.40476."""
    extrinsic, intrinsic = tensor([2.008, 1.003]), tensor([0.0, 1.40476])
    assert ops.combined_values(extrinsic, intrinsic, tensor(1.0), 0.001).argmax() == 0
    assert ops.combined_values(extrinsic, intrinsic, tensor(1.0), 0.0).argmax() == 1


def test_values_near_0_are_combined_to_the_last_digits():
    small = 1e-6 * torch.arange(1.0, 9.0)
    found = ops.combined_values(small, small, tensor(1.0), 0.001)
    torch.testing.assert_close(found, 2 * small, rtol=1e-5, atol=0)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(1e-4, 0.1))
def test_value_rescaling_is_odd_and_rises(a, b, eps):
    h = ops.signed_hyperbolic(tensor([a, b, -a], dtype=torch.float64), eps)
    assert h[2] == -h[0]
    if a < b:
        assert h[0] <= h[1]


def test_double_q_value_takes_the_targets_value_of_the_online_choice():
    q_target = tensor([[[1.0, 5.0, 3.0]], [[-1.0, -2.0, -3.0]]])
    q_online = tensor([[[0.0, 0.1, 9.0]], [[7.0, 8.0, 7.5]]])
    assert ops.double_q_value(q_target, q_online).tolist() == [[3.0], [-2.0]]


def test_masked_mean_counts_real_steps_and_gives_padding_no_gradient():
    x = tensor([[1.0, 2.0, math.nan], [6.0, math.inf, -math.inf]], requires_grad=True)
    mean = ops.masked_mean(x, tensor([[True, True, False], [True, False, False]]))
    assert mean.item() == 3.0
    mean.backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, tensor([[1 / 3, 1 / 3, 0.0], [1 / 3, 0.0, 0.0]]))


def test_masked_mean_of_several_is_one_each():
    x = tensor([[[1.0, math.nan], [3.0, 5.0]], [[5.0, math.inf], [0.0, 7.0]]])
    assert ops.masked_mean(x, tensor([[True, False], [True, True]])).tolist() == [3.0, 4.0]
