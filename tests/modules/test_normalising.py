"""Running statistics of observations: exact, the same in every copy of the network, and kept by a checkpoint."""

import copy
from dataclasses import replace

import pytest
import torch
from tensordict import TensorDict
from torch import nn

from modules import keys
from modules.collect.weights import as_vector, floats_of, load, push_weights
from modules.learner.learner import Learner
from modules.learner.normalising import ObservationStatistics
from modules.networks.normalise import MOST, Normalised
from tests.modules.builders import adam, followed, gym_spec, loss_context, network_spec, q_settings

SPACES = replace(gym_spec("CartPole-v1", keep=(0, 2)), normalise="running").agent_spaces()


def made(until=None):
    network = network_spec("lstm").build(SPACES)
    loss = q_settings().build(loss_context(network))
    return network, Learner(network, loss, adam(), followed(), normalise_until=until)


def stream(n=7):
    torch.manual_seed(3)
    return [torch.randn(4, 5, 2) * torch.tensor([30.0, 1e-3]) + torch.tensor([1e3, 5.0]) for _ in range(n)]


def batch(observation):
    return TensorDict({keys.OBSERVATION: observation}, observation.shape[:2])


def test_statistics_of_batches_are_those_of_one_stream():
    network, _ = made()
    statistics = ObservationStatistics(network, (), None)
    for part in stream():
        statistics.observe(part, 0)
    whole = torch.cat([part.reshape(-1, 2) for part in stream()]).double()
    state = statistics.state_dict()
    torch.testing.assert_close(state["mean"], whole.mean(0), rtol=1e-9, atol=1e-9)
    variance = state["squares"] / state["count"]
    torch.testing.assert_close(variance, whole.var(0, unbiased=False), rtol=1e-9, atol=1e-9)


def test_every_copy_sees_by_the_same_statistics():
    network, learner = made()
    for part in stream():
        learner.observe(batch(part), 0)
    online, average = (layer_of(it) for it in (network, learner.average))
    target = layer_of(learner.loss._nets["target"])
    whole = torch.cat([part.reshape(-1, 2) for part in stream()])
    for layer in (online, average, target):
        torch.testing.assert_close(layer.observation_mean, whole.mean(0))
        torch.testing.assert_close(layer.observation_std, whole.std(0, unbiased=False))
    actor = copy.deepcopy(network_spec("lstm").build(SPACES))
    push_weights(network, actor)
    assert all(torch.equal(*pair) for pair in zip(floats_of(network), floats_of(actor), strict=True))
    worker = network_spec("lstm").build(SPACES)
    load(as_vector(floats_of(network)), floats_of(worker))
    assert torch.equal(layer_of(worker).observation_std, online.observation_std)


def layer_of(network):
    (layer,) = (it for it in network.modules() if isinstance(it, Normalised))
    return layer


def test_they_stand_still_after_the_last_frame_that_counts():
    network, learner = made(until=100)
    first, second = stream(2)
    learner.observe(batch(first), 100)
    learner.observe(batch(second), 101)
    torch.testing.assert_close(layer_of(network).observation_mean, first.reshape(-1, 2).mean(0))


def test_a_checkpoint_keeps_them():
    network, learner = made()
    first, second = stream(2)
    learner.observe(batch(first), 0)
    other, again = made()
    again.load_state_dict(learner.state_dict())
    for it in (learner, again):
        it.observe(batch(second), 0)
    assert torch.equal(layer_of(network).observation_mean, layer_of(other).observation_mean)
    assert torch.equal(layer_of(network).observation_std, layer_of(other).observation_std)
    torch.testing.assert_close(
        layer_of(other).observation_mean, torch.cat([first, second]).reshape(-1, 2).mean(0), rtol=1e-6, atol=1e-6
    )


def test_what_was_rare_is_cut_off_and_what_never_changed_is_nothing():
    layer = Normalised(nn.Identity(), replace(SPACES, observation_shape=(3,)))
    statistics = ObservationStatistics(nn.Sequential(layer), (), None)
    seen = torch.zeros(1000, 3)
    seen[:, 1], seen[0, 2] = 0.1, 1.0
    statistics.observe(seen, 0)
    found = layer(torch.tensor([[0.0, 0.1, 1.0], [0.0, 0.1, 0.0]]))
    assert found[:, :2].abs().max() == 0
    assert found[0, 2] == MOST
    assert found[1, 2] == pytest.approx(-0.0316, abs=1e-3)


def test_without_it_nothing_is_counted():
    network = network_spec("lstm").build(replace(SPACES, normalised=False))
    statistics = ObservationStatistics(network, (), None)
    statistics.observe(torch.ones(2, 3, 2), 0)
    assert statistics.state_dict() == {}
    assert not list(network.buffers())
