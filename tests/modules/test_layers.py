"""Biases, Glorot weights and Keras' leaky ReLU of torso and head."""

import math
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modules import keys
from modules.keys import Spaces
from modules.networks.heads import DuelingSpec, QSpec
from modules.networks.torsos import ACTIVATIONS, Activation, MlpSpec
from tests.modules.builders import part

SPACES = Spaces(observation_shape=(4,), observation_dtype=torch.float32, n_actions=2)


def parts(*, bias, init):
    torso = MlpSpec(out_features=150, hidden=(20,), activation="leaky_relu", norm="none", bias=bias, init=init).build(
        SPACES
    )
    return torso, QSpec(hidden=(30,), bias=bias, init=init).build(part(150, 2))


def linear(module):
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def test_a_torso_leaves_the_observation_as_it_is():
    torso, _ = parts(bias=True, init="default")
    observation = torch.tensor([[1.0, -2.0, 3.0, 0.5]])
    before = observation.clone()
    torso(observation)
    assert torch.equal(observation, before)


@pytest.mark.parametrize("bias", [True, False])
def test_layers_have_biases_only_if_wanted(bias):
    layers = [layer for layers in parts(bias=bias, init="default") for layer in linear(layers)]
    assert len(layers) == 4
    assert all((layer.bias is not None) == bias for layer in layers)


def test_glorot_weights_fill_their_range_and_biases_are_0():
    for layer in [layer for layers in parts(bias=True, init="glorot") for layer in linear(layers)]:
        limit = math.sqrt(6 / (layer.in_features + layer.out_features))
        assert 0.9 * limit < layer.weight.abs().max().item() <= limit
        assert layer.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.15)
        assert not layer.bias.any()


def test_default_draws_what_pytorch_draws():
    torch.manual_seed(0)
    torso, _ = parts(bias=True, init="default")
    torch.manual_seed(0)
    expected = nn.Linear(4, 20)
    assert torch.equal(linear(torso)[0].weight, expected.weight)
    assert torch.equal(linear(torso)[0].bias, expected.bias)


def test_the_leaky_slope_is_that_of_keras():
    torso, _ = parts(bias=False, init="glorot")
    first, second = (layer.weight for layer in linear(torso))
    x = torch.randn(5, 4)
    hidden = (x @ first.T).where(x @ first.T > 0, 0.3 * (x @ first.T))
    out = (hidden @ second.T).where(hidden @ second.T > 0, 0.3 * (hidden @ second.T))
    torch.testing.assert_close(torso(x), out)


NO_OPTION = {
    *("Threshold", "GLU", "MultiheadAttention"),  # need numbers that there are no usual ones of, halve, or mix
    *("Softmin", "Softmax", "Softmax2d", "LogSoftmax"),  # along an axis
    "RReLU",  # at random
}


def test_every_activation_of_pytorch_that_is_one_is_an_option():
    assert set(get_args(Activation)) == set(ACTIVATIONS)
    named = {next(kind.__name__ for kind in act.__mro__ if kind.__module__ == "torch.nn.modules.activation")
             for act in ACTIVATIONS.values()}  # fmt: skip
    assert named == set(torch.nn.modules.activation.__all__) - NO_OPTION


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_the_function_of_its_name(name):
    torso = MlpSpec(out_features=9, hidden=(20,), activation=name, norm="none", bias=True, init="default").build(SPACES)
    further = {"leaky_relu": {"negative_slope": 0.3}, "prelu": {"weight": torch.tensor(0.25)}}.get(name, {})
    first, second = linear(torso)
    x = 3 * torch.randn(50, 4)
    hidden = getattr(F, name)(first(x), **further)
    torch.testing.assert_close(torso(x), getattr(F, name)(second(hidden), **further))


def test_prelu_learns_a_slope_for_each_layer():
    torso = MlpSpec(out_features=9, hidden=(20,), activation="prelu", norm="none", bias=True, init="glorot").build(
        SPACES
    )
    torso(torch.randn(50, 4)).sum().backward()
    slopes = [layer.weight for layer in torso.modules() if isinstance(layer, nn.PReLU)]
    assert len(slopes) == 2
    assert slopes[0] is not slopes[1]
    assert all(slope.grad.abs() > 0 for slope in slopes)


def test_a_dueling_head_has_no_part_in_a_softmax():
    head = DuelingSpec(hidden=(7,), bias=True, init="glorot")
    assert not list(head.needs(SimpleNamespace(loss=SimpleNamespace(on_policy=False))))
    (said,) = head.needs(SimpleNamespace(loss=SimpleNamespace(on_policy=True)))
    assert "use network/head=q" in said
    module = head.build(part(4, 3))
    module(torch.randn(6, 4))[keys.ACTION_VALUE].log_softmax(-1).gather(
        1, torch.arange(6)[:, None] % 3
    ).sum().backward()
    assert linear(module.advantage)[-1].weight.grad.abs().max() > 1e-3
    assert linear(module.value)[-1].weight.grad.abs().max() < 1e-6


def test_a_norm_stands_behind_every_layer_and_before_its_activation():
    torso = MlpSpec(out_features=9, hidden=(20,), activation="relu", norm="layer", bias=True, init="default").build(
        SPACES
    )
    kinds = [type(layer) for layer in torso.modules() if isinstance(layer, nn.Linear | nn.LayerNorm | nn.ReLU)]
    assert kinds == [nn.Linear, nn.LayerNorm, nn.ReLU] * 2
    assert [layer.normalized_shape for layer in torso.modules() if isinstance(layer, nn.LayerNorm)] == [(20,), (9,)]
