import re

import pytest
import torch

from modules.keys import Spaces
from modules.networks.grid import GridSpec, PlanesFirst, SideBySide

SPACES = Spaces(observation_shape=(3, 6), observation_dtype=torch.uint8, n_actions=3)


def spec(**changes):
    return GridSpec(**{"channels": (4, 5), "kernel": 3, "out_features": 7, "activation": "relu", **changes})


def test_planes_are_what_lies_side_by_side():
    left, right = torch.arange(9).view(3, 3), torch.arange(9).view(3, 3) + 100
    whole = torch.cat((left, right), 1).to(torch.uint8)
    apart = SideBySide(2)(whole.expand(2, 4, 3, 6))
    assert apart.shape == (2, 4, 2, 3, 3)
    assert torch.equal(apart[1, 2], torch.stack((left, right)).float())


@pytest.mark.parametrize(("axis", "shape"), [(2, (3, 5, 4)), (0, (4, 3, 5))])
def test_planes_along_the_first_or_last_axis(axis, shape):
    grid = torch.randint(2, (2, 6, *shape), dtype=torch.uint8)
    first = PlanesFirst(axis)(grid)
    assert first.shape == (2, 6, 4, 3, 5)
    assert torch.equal(first[1, 2, 3], (grid[1, 2, :, :, 3] if axis else grid[1, 2, 3]).float())
    spaces = Spaces(observation_shape=shape, observation_dtype=torch.uint8, n_actions=3, planes=axis)
    assert not [*spec().fits(spaces)]
    assert spec().build(spaces)(grid).shape == (2, 6, 7)


@pytest.mark.parametrize("shape", [(4, 4), (4, 6), (6, 4)])
def test_any_grid_with_two_axes_is_one_plane_or_some_side_by_side(shape):
    spaces = Spaces(observation_shape=shape, observation_dtype=torch.float32, n_actions=3)
    assert not [*spec().fits(spaces)]
    assert spec().build(spaces)(torch.rand(2, *shape)).shape == (2, 7)


def test_it_embeds_single_observations_and_sequences_alike():
    torso = spec().build(SPACES)
    rows = torch.randint(2, (2, 5, 3, 6), dtype=torch.uint8)
    out = torso(rows)
    assert out.shape == (2, 5, 7)
    torch.testing.assert_close(out[1, 3], torso(rows[1, 3].unsqueeze(0)).squeeze(0))


@pytest.mark.parametrize(
    ("shape", "changes", "says"),
    [
        ((4,), {}, r"needs grids, but observations are \[4\]: use network/torso=mlp"),
        ((3, 6, 6), {}, r"needs grids, but observations are \[3, 6, 6\]: use network/torso=conv"),
        ((3, 6), {"kernel": 2}, "kernel=2 must be odd"),
    ],
)
def test_what_it_cannot_read_is_refused(shape, changes, says):
    spaces = Spaces(observation_shape=shape, observation_dtype=torch.uint8, n_actions=3)
    (problem,) = spec(**changes).fits(spaces)
    assert re.search(says, problem)
    assert not list(spec().fits(SPACES))
