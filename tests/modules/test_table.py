"""Tabular Q as a network: it is a table, its copies agree, it travels in a checkpoint, and it ends with a sentence."""

import copy

import pytest
import torch
from tensordict import TensorDict

from modules import keys
from modules.keys import Spaces
from modules.networks.heads import QSpec
from modules.networks.recurrent import NoMemorySpec
from modules.networks.spec import NetworkSpec
from modules.networks.table import Numbering, TableFullError, TableHeadSpec, TableSpec
from modules.networks.tensordict_modules import Policy
from modules.networks.torsos import MlpSpec
from tests.modules.builders import MEMORIES, NO_INPUTS, q_settings

SPACES = Spaces(observation_shape=(2, 3), observation_dtype=torch.uint8, n_actions=2)


def table(rows=4):
    spec = NetworkSpec(
        span=0,
        streams="one",
        combine="sum",
        torso=TableSpec(rows=rows),
        inputs=NO_INPUTS,
        memory=NoMemorySpec(name="none"),
        head=TableHeadSpec(),
    )
    return spec.build(SPACES)


def grids(*codes):
    """Make one observation per code: its binary digits."""
    return torch.tensor([[int(d) for d in f"{code:06b}"] for code in codes], dtype=torch.uint8).view(-1, 2, 3)


def values(network, *codes):
    return network.unroll({keys.OBSERVATION: grids(*codes).unsqueeze(1)}, ())[0][keys.ACTION_VALUE].squeeze(1)


def test_each_different_observation_has_its_own_values():
    network = table()
    assert not values(network, 7, 9, 7).any()
    with torch.no_grad():
        network.head.values[:] = torch.arange(8.0).view(4, 2)
    assert values(network, 9, 7, 9, 0).tolist() == [[2, 3], [0, 1], [2, 3], [4, 5]]


def test_minus_zero_is_zero():
    assert Numbering(4)(torch.tensor([[0.0, 1.0], [-0.0, 1.0], [0.0, -1.0]])).tolist() == [[0], [0], [1]]


def test_a_gradient_step_is_the_tabular_rule():
    """With squared error and plain descent, Q(s, a) moves by α · (target − Q) and nothing else moves."""
    network = table()
    values(network, 1, 2)
    loss = 0.5 * (values(network, 2)[0, 1] - 10.0) ** 2
    loss.backward()
    with torch.no_grad():
        for p in network.parameters():
            p -= 0.1 * p.grad
    assert values(network, 1, 2).tolist() == [[0, 0], [0, 1]]


def test_copies_share_the_numbering_but_not_the_values():
    network = table()
    other = copy.deepcopy(network)
    values(other, 6)
    values(network, 5)  # row 1 in both
    with torch.no_grad():
        network.head.values[1] = 1.0
    assert values(network, 6, 5).tolist() == [[0, 0], [1, 1]]
    assert not values(other, 6, 5).any()


def test_a_saved_table_is_found_again():
    network = table()
    values(network, 5, 6)
    with torch.no_grad():
        network.head.values[1] = 3.0
    restored = table()
    values(restored, 6, 2, 3)
    restored.load_state_dict(network.state_dict())
    assert values(restored, 6, 5, 1).tolist() == [[3, 3], [0, 0], [0, 0]]


def test_a_full_table_says_so_and_keeps_what_it_has():
    network = table(rows=2)
    values(network, 1, 2)
    with pytest.raises(TableFullError, match=r"network.torso.rows=2: .* network/torso=mlp"):
        values(network, 2, 3)
    assert values(network, 2, 1).shape == (2, 2)


def test_an_evaluation_needs_no_rows():
    network = table(rows=2)
    values(network, 1, 2)
    with torch.no_grad():
        network.head.values[:] = 1.0
    evaluated = copy.deepcopy(network).eval()
    assert values(evaluated, 1, 3, 2).tolist() == [[1, 1], [0, 0], [1, 1]]
    with pytest.raises(TableFullError):
        values(network, 3)  # whose mode is its own


def test_it_acts():
    network = table()
    observations = grids(3, 4)
    td = TensorDict({keys.OBSERVATION: observations, keys.IS_INIT: torch.ones(2, 1, dtype=torch.bool)}, [2])
    values(network, 3, 4)
    with torch.no_grad():
        network.head.values[0, 1] = 1.0
    assert Policy(network)(td)[keys.ACTION].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("torso", "memory", "head", "says"),
    [
        (
            TableSpec(rows=2),
            "none",
            QSpec(hidden=(), bias=True, init="default"),
            "network/torso=table and network/head=table go together",
        ),
        (
            MlpSpec(out_features=2, hidden=(), activation="relu", norm="none", bias=True, init="default"),
            "none",
            TableHeadSpec(),
            "go together",
        ),
        (TableSpec(rows=2), "gru", TableHeadSpec(), "network/memory=gru cannot remember rows of a table"),
    ],
)
def test_a_table_goes_with_its_own_kind_only(torso, memory, head, says):
    spec = NetworkSpec(
        span=0, streams="one", combine="sum", torso=torso, inputs=NO_INPUTS, memory=MEMORIES[memory], head=head
    )

    class RunConfig:
        spaces, loss = SPACES, q_settings()

    assert says in " ".join(spec.needs(RunConfig()))
