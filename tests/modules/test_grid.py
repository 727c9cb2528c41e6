import re

import pytest
import torch

from modules.keys import Spaces
from modules.networks.grid import GridSpec, Planes

SPACES = Spaces(observation_shape=(3, 6), observation_dtype=torch.uint8, n_actions=3)


def spec(**changes):
    return GridSpec(**{"channels": (4, 5), "kernel": 3, "out_features": 7, "activation": "relu", **changes})


def test_planes_are_what_lies_side_by_side():
    left, right = torch.arange(9).view(3, 3), torch.arange(9).view(3, 3) + 100
    whole = torch.cat((left, right), 1).to(torch.uint8)
    apart = Planes(3, 2)(whole.expand(2, 4, 3, 6))
    assert apart.shape == (2, 4, 2, 3, 3)
    assert torch.equal(apart[1, 2], torch.stack((left, right)).float())


def test_it_embeds_single_observations_and_sequences_alike():
    torso = spec().build(SPACES)
    rows = torch.randint(2, (2, 5, 3, 6), dtype=torch.uint8)
    out = torso(rows)
    assert out.shape == (2, 5, 7)
    torch.testing.assert_close(out[1, 3], torso(rows[1, 3].unsqueeze(0)).squeeze(0))


@pytest.mark.parametrize(
    ("shape", "changes", "says"),
    [
        ((4,), {}, r"square planes side by side, but observations are \[4\]"),
        ((3, 7), {}, r"square planes .* \[3, 7\]"),
        ((3, 6), {"kernel": 2}, "kernel=2 must be odd"),
    ],
)
def test_what_it_cannot_read_is_refused(shape, changes, says):
    spaces = Spaces(observation_shape=shape, observation_dtype=torch.uint8, n_actions=3)
    (problem,) = spec(**changes).fits(spaces)
    assert re.search(says, problem)
    assert not list(spec().fits(SPACES))
