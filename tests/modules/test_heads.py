from dataclasses import replace

import pytest
import torch
from tensordict import TensorDict
from torch import tensor
from torchrl.modules import set_recurrent_mode

from modules import keys
from modules.keys import Spaces
from modules.networks.heads import DuelingSpec
from tests.modules.builders import MEMORIES, network_spec, part

SPACES = Spaces(observation_shape=(3,), observation_dtype=torch.float32, n_actions=3)


def set_line(layer, weight, bias):
    with torch.no_grad():
        layer.weight.copy_(tensor(weight))
        layer.bias.copy_(tensor(bias))


def test_dueling_values_by_hand():
    """V = 2x + 1 and A = (x, 3x, 5x − 3), whose mean 3x − 1 is taken off."""
    head = DuelingSpec(hidden=(), bias=True, init="default").build(part(1, 3))
    set_line(head.value[-1], [[2.0]], [1.0])
    set_line(head.advantage[-1], [[1.0], [3.0], [5.0]], [0.0, 0.0, -3.0])
    out = head(tensor([[[2.0], [0.0]]]))[keys.ACTION_VALUE]
    assert out.tolist() == [[[5 + 2 - 5, 5 + 6 - 5, 5 + 7 - 5], [1 + 0 + 1, 1 + 0 + 1, 1 - 3 + 1]]]


def test_each_stream_has_hidden_layers_of_its_own():
    head = DuelingSpec(hidden=(7, 5), bias=True, init="default").build(part(4, 3))
    hidden = (4 * 7 + 7) + (7 * 5 + 5)
    assert [sum(p.numel() for p in s.parameters()) for s in (head.value, head.advantage)] == [
        hidden + 5 * 1 + 1,
        hidden + 5 * 3 + 3,
    ]
    assert len({id(p) for p in head.parameters()}) == 12
    assert not head.value[-1].bias.any()
    assert not head.advantage[-1].bias.any()
    assert head.value[0].bias.any()
    # Values would lie on a line through x, 0 and −x if nothing between the layers bent it.
    at = lambda x: head(x)[keys.ACTION_VALUE]  # noqa: E731
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(at(x) + at(-x), 2 * at(torch.zeros(1, 4)).expand(50, 3), atol=1e-3)


@pytest.mark.parametrize("memory", MEMORIES)
def test_a_network_with_a_dueling_head_unrolls_as_it_steps(memory):
    network = replace(network_spec(memory), head=DuelingSpec(hidden=(7,), bias=True, init="default")).build(SPACES)
    observation, states = torch.randn(2, 5, 3), network_spec(memory).state()
    td = TensorDict({keys.OBSERVATION: observation, keys.IS_INIT: torch.zeros(2, 5, 1, dtype=torch.bool)}, [2, 5])
    for key, entry in states.items():
        td[key] = torch.randn(2, 5, *entry.shape)
    with set_recurrent_mode("recurrent"):
        expected = network.tensordict_module()(td.clone())[keys.ACTION_VALUE]
    assert expected.shape == (2, 5, 3)
    state = {key: td[key][:, 0] for key in states}
    for t in range(5):
        out = network.tensordict_module()(td[:, t].clone().update(state))
        torch.testing.assert_close(out[keys.ACTION_VALUE], expected[:, t], rtol=1e-5, atol=1e-6)
        state = {key: out["next", key] for key in states}
