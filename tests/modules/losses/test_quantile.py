"""Quantile regression on rows, beside numbers worked out by hand and a stepwise loop."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import tensor

from modules import keys
from modules.keys import Spaces
from modules.learner.learner import Learner
from modules.losses import ops
from modules.losses.quantile import QuantileLossSpec
from modules.networks.heads import QuantileSpec
from tests.modules.builders import adam, followed, loss_context, network_spec, random_rows, sharpen

SPACES = Spaces(observation_shape=(3,), observation_dtype=torch.float32, n_actions=3)
STEPS, LENGTH, N = (6, 6, 3, 1, 5), 6, 4


def settings(**changes):
    given = {"gamma": 0.9, "n_step": 3, "double": True, "kappa": 1.0} | changes
    return QuantileLossSpec(**given)


def network(memory):
    head = QuantileSpec(hidden=(7,), bias=True, init="default", quantiles=N)
    found = replace(network_spec(memory), head=head).build(SPACES)
    sharpen(found)
    return found


def test_the_equation_by_hand():
    """θ = (0, 2) at τ = ¼ and ¾, target samples 1 and 4, κ = 1.

    u = 1, 4 and −1, 2; L = ½, 3½ and ½, 1½; |τ − 1{u<0}| = ¼, ¼ and ¼, ¾. Means over targets: ½ and ⅝.
    """
    theta, target = tensor([[0.0, 2.0]]), tensor([[1.0, 4.0]])
    assert ops.quantile_huber(theta, target, 1.0).tolist() == [(0.5 / 4 + 3.5 / 4) / 2 + (0.5 / 4 + 3 * 1.5 / 4) / 2]
    # With κ = 0, |u| itself.
    assert ops.quantile_huber(theta, target, 0.0).tolist() == [(1 / 4 + 4 / 4) / 2 + (1 / 4 + 3 * 2 / 4) / 2]


def test_its_minimum_is_the_quantiles_of_the_target():
    torch.manual_seed(0)
    samples = torch.randn(4000)
    theta = torch.zeros(N, requires_grad=True)
    optimiser = torch.optim.Adam([theta], lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        ops.quantile_huber(theta, samples, 0.0).backward()
        optimiser.step()
    expected = samples.quantile(tensor([0.125, 0.375, 0.625, 0.875]))
    torch.testing.assert_close(theta.detach(), expected, atol=0.05, rtol=0)


def naive(online, target, rows, s, burn_in):
    """The definition, one step and one pair of quantiles at a time."""
    total, count = torch.zeros(()), 0
    for b in range(len(STEPS)):
        row = rows[b : b + 1]
        first = 0 if row[keys.MASK][0, 0] else burn_in
        seen = {key: row[key][:, first:] for key in online.reads}
        state = tuple(row[key] for key in online.states)
        q, q_target = (net.unroll(seen, state)[0][keys.QUANTILES][0, burn_in - first :] for net in (online, target))
        action, reward, ends = (row[key][0, burn_in:] for key in (keys.ACTION, keys.REWARD, keys.TERMINATED))
        steps = int(row[keys.MASK][0, burn_in:].sum())
        for t in range(steps):
            last = min(t + s.n_step, steps) - 1
            chooser = (q if s.double else q_target)[last + 1].mean(-1)
            ahead = torch.zeros(N) if ends[last] else q_target[last + 1][int(chooser.argmax())]
            for k in range(last, t - 1, -1):
                ahead = reward[k] + s.gamma * ahead
            for i in range(N):
                tau = (2 * i + 1) / (2 * N)
                for j in range(N):
                    u = ahead[j].detach() - q[t][int(action[t])][i]
                    size = u.abs()
                    huber = 0.5 * u**2 / s.kappa if size <= s.kappa else size - s.kappa / 2
                    total = total + abs(tau - float(u < 0)) * huber / N
            count += 1
    return total / count


@pytest.mark.parametrize("burn_in", [0, 3])
@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("memory", ["lstm", "none", "lru"])
def test_loss_and_gradient_are_those_of_a_stepwise_loop(memory, double, burn_in):
    torch.manual_seed(0)
    online, s = network(memory), settings(double=double)
    loss = s.build(loss_context(online, burn_in))
    target = network(memory)
    loss.target_value_network_params.data.update_(loss.value_network_params.data.clone().apply(lambda p: 0.7 * p))
    with torch.no_grad():
        for mine, theirs in zip(target.parameters(), online.parameters(), strict=True):
            mine.copy_(0.7 * theirs)
    rows = random_rows(STEPS, LENGTH, SPACES, memory, burn_in)
    out = loss(rows)
    out["loss"].backward()
    mine = [p.grad.clone() for p in online.parameters()]
    online.zero_grad()
    if burn_in and online.states:  # the loop has a gradient through the burn-in, the loss none
        online = copy.deepcopy(online)
        expected = naive(online, target, rows, s, burn_in)
        torch.testing.assert_close(out["loss"], expected.detach(), rtol=1e-4, atol=1e-5)
        return
    expected = naive(online, target, rows, s, burn_in)
    torch.testing.assert_close(out["loss"], expected.detach(), rtol=1e-4, atol=1e-5)
    expected.backward()
    for a, p in zip(mine, online.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad, rtol=1e-3, atol=1e-5)


def test_measures_are_those_of_the_means():
    online = network("none")
    loss = settings().build(loss_context(online))
    rows = random_rows(STEPS, LENGTH, SPACES, "none")
    out, mask = loss(rows), rows[keys.MASK]
    seen = {keys.OBSERVATION: rows[keys.OBSERVATION][:, :-1]}
    values = online.unroll(seen, ())[0][keys.ACTION_VALUE].gather(-1, rows[keys.ACTION].unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(out["q_mean"], values[mask].mean().detach())
    torch.testing.assert_close(out["td_error"], out["errors"][mask].mean())
    assert out["errors"].shape == mask.shape


def test_it_learns_the_spread_of_a_coin():
    """One state, one step, reward 0 or 1 with even chances: half of the quantiles go to each."""
    torch.manual_seed(0)
    online = network("none")
    learner = Learner(
        online,
        settings(n_step=1, kappa=0.0).build(loss_context(online)),
        adam(lr=3e-2),
        followed(),
        metric="loss/quantile",
    )
    rows = random_rows((1,) * 64, 1, SPACES, "none")
    rows[keys.OBSERVATION][:], rows[keys.TERMINATED][:] = 1.0, True
    for _ in range(400):
        rows[keys.REWARD][:] = torch.randint(2, (64, 1)).float()
        learner.step(rows)
    found = online.unroll({keys.OBSERVATION: torch.ones(1, 1, 3)}, ())[0][keys.QUANTILES][0, 0].sort(-1).values
    assert (found[:, :2].abs() < 0.3).all()
    assert ((found[:, 2:] - 1).abs() < 0.3).all()
