"""No loss reads padding: whatever stands there, NaN too, loss and gradients are the same to the last bit."""

import copy
import math

import pytest
import torch
from torch import nn

from modules import keys
from modules.losses import ops
from modules.losses.q import QLoss
from modules.losses.reinforce import ReinforceSpec
from modules.losses.retrace import RetraceSpec
from modules.losses.torchrl_dqn import TorchrlDqnSpec
from tests.modules.builders import network_spec, q_settings, sharpen
from tests.modules.losses.family import SPACES, context_of, family_rows

ANYTHING = [math.nan, math.inf, -math.inf, 3e38]
Q = {"n_step": 3, "rescale_eps": 1e-3}
RETRACE = RetraceSpec(gamma=0.9, lam=0.9, target_epsilon=0.0, huber_delta=1.0, rescale_eps=1e-3)
REINFORCE = {"gamma": 0.9, "rule": "reward_to_go", "normalise": False, "baseline": "none", "entropy": 0.1}
FAMILY = {  # settings, streams, burn-in: losses on the values of a family of policies
    "q": (q_settings(**Q), "one", 3),
    "squared": (q_settings(**Q, huber_delta=0.0, double=False), "two", 0),
    "retrace": (RETRACE, "one", 0),
    "agent57": (RETRACE, "two", 3),
    "reinforce": (ReinforceSpec(**REINFORCE), "one", 0),
    "normalised": (ReinforceSpec(**{**REINFORCE, "normalise": True, "baseline": "step"}), "one", 0),
    "seed": (ReinforceSpec(**{**REINFORCE, "rule": "seed"}), "one", 0),
    "torchrl": (TorchrlDqnSpec(gamma=0.9, double=True, loss_function="smooth_l1"), "one", 0),
}
BETWEEN = (keys.OBSERVATION, keys.PREVIOUS_REWARD, keys.PREVIOUS_INTRINSIC)  # [B, S+1]: before and after each step
OF_STEPS = (keys.REWARD, keys.INTRINSIC, keys.BEHAVIOUR)  # [B, S]


def make(name, memory):
    """A loss, and rows that suit it, the last of which is padding from end to end."""
    settings, streams, burn_in = FAMILY[name]
    network = network_spec(memory, family=name != "torchrl", streams=streams).build(SPACES)
    sharpen(network)
    rows = family_rows(memory, burn_in=burn_in)
    rows[keys.MASK][-1] = False
    if name == "torchrl":
        rows = rows.exclude(keys.WEIGHT)
    return settings.build(context_of(network, burn_in)), rows


def polluted(rows, states, value):
    """The rows with `value` in every number that belongs to no real step."""
    rows, mask = rows.clone(), rows[keys.MASK]
    no = torch.zeros(len(mask), 1, dtype=torch.bool)
    seen = torch.cat((mask, no), 1) | torch.cat((no, mask), 1)
    for key in {*BETWEEN, *OF_STEPS} & set(rows.keys()):
        rows[key][~(seen if key in BETWEEN else mask)] = value
    for key in {*states, keys.WEIGHT} & set(rows.keys()):
        rows[key][~mask.any(1)] = value
    return rows


def outcome(loss, rows):
    """Loss, what else it tells of real steps, and all gradients."""
    loss.zero_grad()
    out = loss(rows.clone())
    out["loss"].backward()
    told = [out[name] for name in ("td_error", "q_mean", "target_mean", "entropy") if name in out]
    return [out["loss"].detach(), *told, *(p.grad.clone() for p in loss.parameters() if p.requires_grad)]


@pytest.mark.parametrize("memory", ["none", "lstm"])
@pytest.mark.parametrize("name", FAMILY)
def test_whatever_stands_in_the_padding_changes_nothing(name, memory):
    loss, rows = make(name, memory)
    expected = outcome(loss, rows)
    assert all(value.isfinite().all() for value in expected)
    assert max(value.abs().max() for value in expected[1:]) > 1e-3
    for value in ANYTHING:
        bad = polluted(rows, tuple(network_spec(memory).state()), value)
        found = outcome(loss, bad)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)), value


class Direction(nn.Module):
    """A torso that looks at the direction of an observation; zeros have none."""

    def __init__(self, torso):
        super().__init__()
        self.torso = torso

    def forward(self, x):
        return self.torso(x / x.square().sum(-1, keepdim=True).sqrt())


@pytest.mark.parametrize("name", ["q", "agent57", "reinforce"])
def test_padding_reaches_the_network_as_something_that_it_can_see(name):
    """Zeros in its place would be NaN for some networks, and NaN has a gradient, masked or not."""
    loss, rows = make(name, "lstm")
    rows = rows[:-1]
    network = loss.network if name == "reinforce" else loss.value_network
    for stream in getattr(network, "independent", [network]):
        stream.torso = Direction(stream.torso)
    bad = polluted(rows, (), math.nan)
    assert all(value.isfinite().all() for value in outcome(loss, bad))


def test_values_and_targets_of_padding_may_be_anything_too():
    """A loss of one's own, whose targets are NaN where there is no step."""

    class Own(QLoss):
        def stream_targets(self, reward, q_target, steps):
            target = super().stream_targets(reward, q_target, steps)
            return torch.where(self.padded, math.nan, target)

    loss, rows = make("q", "lstm")
    expected = outcome(loss, rows)
    own = copy.copy(loss)
    own.__class__ = Own
    own.padded = ~rows[keys.MASK][:, 3:]
    assert all(torch.equal(a, b) for a, b in zip(outcome(own, rows), expected, strict=True))


def test_a_row_that_is_padding_has_no_part():
    loss, rows = make("agent57", "lstm")
    for a, b in zip(outcome(loss, rows), outcome(loss, rows[:-1]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_padding_is_filled_with_what_is_real():
    x = torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]], [[7.0], [8.0], [9.0]]])
    real = torch.tensor([[True, True, False], [False, True, True], [False, False, False]])
    assert ops.fill_padding(x, real, ops.first_real(real)).squeeze(-1).tolist() == [[1, 2, 1], [5, 5, 6], [0, 0, 0]]
    assert ops.first_real(real).tolist() == [0, 1, -1]
    assert ops.before_or_after(real[:, :2]).tolist() == [[True, True, True], [False, True, True], [False, False, False]]
