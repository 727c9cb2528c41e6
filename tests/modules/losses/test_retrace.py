import math

import pytest
import torch
from torch import tensor

from modules.losses import ops


def chain(gamma=0.9, lam=1.0, steps=5):
    """Targets of an episode of reward 1 in every step, all values 0, all actions the target policy's own."""
    zero, one = torch.zeros(1, steps, dtype=torch.float64), torch.ones(1, steps, dtype=torch.float64)
    ends = torch.arange(steps) == steps - 1
    return ops.retrace(zero, zero, one, gamma * (~ends).double()[None], lam * one, ~ends[None])[0].tolist()


def test_rewards_are_summed_to_the_end_of_the_episode():
    assert chain() == pytest.approx([4.0951, 3.439, 2.71, 1.9, 1.0])


def test_each_step_back_multiplies_by_one_more_coefficient():
    """Σ (0.9 · 0.95)^k: one factor c per step. With the printed sum's product in the recursion it would be 3.478."""
    assert chain(lam=0.95)[0] == pytest.approx(sum(0.855**k for k in range(5)))  # 3.745


def rows(seed, dtype=torch.float64, batch=40, length=9):
    """Random rows that end early or late, terminated or truncated; what lies behind their end is NaN."""
    g = torch.Generator().manual_seed(seed)
    q_tm1, v_t, r_t = (torch.randn(batch, length, generator=g, dtype=dtype) * 5 for _ in range(3))
    steps = torch.randint(1, length + 1, (batch,), generator=g)
    time = torch.arange(length)
    mask = time < steps[:, None]
    terminated = (torch.rand(batch, 1, generator=g) < 0.5) & (time == steps[:, None] - 1)
    gamma = torch.rand(batch, 1, generator=g, dtype=dtype)  # each row has its own
    c_t = 0.95 * (torch.rand(batch, length, generator=g, dtype=dtype) * 2).clamp(max=1)
    c_t[torch.rand(batch, length, generator=g) < 0.1] = 0  # actions that the target policy never takes
    values = {"q_tm1": q_tm1, "v_t": v_t, "r_t": r_t, "discount_t": gamma * ~terminated, "c_t": c_t}
    rows = {name: torch.where(mask, value, math.nan) for name, value in values.items()}
    return rows | {"continues": time + 1 < steps[:, None]}, mask, terminated, gamma


def printed_sum(row, gamma, steps, terminated):
    """Sum as NGU's appendix E prints it, with every product formed again: O(T³)."""
    q, v, r, c = (row[name].tolist() for name in ("q_tm1", "v_t", "r_t", "c_t"))
    delta = [r[s] + gamma * (0.0 if terminated[s] else v[s]) - q[s] for s in range(steps)]
    return [
        q[t] + sum(gamma ** (s - t) * math.prod(c[i] for i in range(t + 1, s + 1)) * delta[s] for s in range(t, steps))
        for t in range(steps)
    ]


@pytest.mark.parametrize(("dtype", "rtol", "atol"), [(torch.float64, 1e-12, 1e-12), (torch.float32, 1e-5, 1e-5)])
def test_retrace_equals_the_printed_sum_and_never_reads_the_padding(dtype, rtol, atol):
    inputs, mask, terminated, gamma = rows(0, dtype)
    lengths = mask.sum(1).tolist()
    assert terminated.any(1).sum() > 10
    assert sum(n < mask.shape[1] and not end.any() for n, end in zip(lengths, terminated, strict=True)) > 10
    targets = ops.retrace(**inputs)
    assert targets.dtype == dtype
    for b, steps in enumerate(lengths):
        row = {name: value[b] for name, value in inputs.items()}
        expected = printed_sum(row, gamma[b].item(), steps, terminated[b].tolist())
        torch.testing.assert_close(targets[b, :steps], tensor(expected, dtype=dtype), rtol=rtol, atol=atol)


def test_a_truncated_step_bootstraps_and_a_terminal_one_does_not():
    one, ahead = tensor([[1.0, 1.0, 1.0]]), tensor([[True, False, False]])  # the third step is padding
    values = {"q_tm1": 2 * one, "v_t": 10 * one, "r_t": one, "c_t": 0.5 * one, "continues": ahead}
    truncated = ops.retrace(discount_t=0.5 * one, **values)
    assert truncated[0, :2].tolist() == [2 + (1 + 5 - 2) + 0.25 * (1 + 5 - 2), 1 + 5.0]
    terminal = ops.retrace(discount_t=tensor([[0.5, 0.0, 0.5]]), **values)
    assert terminal[0, :2].tolist() == [2 + (1 + 5 - 2) + 0.25 * (1 - 2), 1.0]


def test_lambda_0_is_the_one_step_target():
    inputs, mask, _, _ = rows(1)
    targets = ops.retrace(**inputs | {"c_t": ops.trace(inputs["c_t"], torch.ones_like(inputs["c_t"]), 0.0)})
    one_step = inputs["r_t"] + inputs["discount_t"] * inputs["v_t"]
    torch.testing.assert_close(targets[mask], one_step[mask])


def test_lambda_1_on_policy_is_the_return_of_the_whole_row():
    """Actor and target policy are greedy: π = μ = 1, and the value of an observation is q of the action taken there."""
    inputs, mask, _, _ = rows(2)
    length = mask.shape[1]
    q_online = torch.randn(*mask.shape, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    pi = ops.eps_greedy_policy(q_online, 0.0)
    taken = q_online.argmax(-1, keepdim=True)
    mu = torch.ones_like(inputs["r_t"])
    c_t = ops.trace(pi.gather(-1, taken).squeeze(-1), mu, 1.0)
    q_target = torch.randn(q_online.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    v = ops.expected_value(pi, q_target)  # of the observation before each step
    v_t = torch.where(inputs["continues"], torch.cat((v[:, 1:], v[:, -1:]), 1), inputs["v_t"])
    targets = ops.retrace(**inputs | {"q_tm1": v, "v_t": v_t, "c_t": c_t})
    whole = ops.n_step_return(inputs["r_t"], inputs["discount_t"], v_t, inputs["continues"], length)
    torch.testing.assert_close(targets[mask], whole[mask])


def test_the_eps_greedy_policy_by_hand():
    q = tensor([[1.0, 3.0, 3.0, 0.0], [-1.0, -2.0, -3.0, -0.5]])
    assert ops.eps_greedy_policy(q, 0.0).tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]  # of equal values the first
    pi = ops.eps_greedy_policy(q, tensor([0.4, 1.0]))
    torch.testing.assert_close(pi, tensor([[0.1, 0.7, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]]))
    assert ops.expected_value(pi, q).tolist() == pytest.approx([0.1 + 2.1 + 0.3, -6.5 / 4])
    assert ops.eps_greedy_policy(q.double()[None], 0.01).dtype == torch.float64
    assert ops.eps_greedy_policy(q[None], 0.01).shape == (1, 2, 4)


def test_traces_are_cut_where_the_target_policy_would_not_have_gone():
    """λ on greedy actions however likely they were, 0 on others: the seed's worry that c is always 0 is wrong."""
    pi, mu = tensor([1.0, 1.0, 0.0, 0.25, 0.25]), tensor([1.0, 0.1, 0.025, 0.5, 0.25])
    assert ops.trace(pi, mu, 0.95).tolist() == pytest.approx([0.95, 0.95, 0.0, 0.95 / 2, 0.95])
