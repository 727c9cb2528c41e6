from dataclasses import replace
from importlib.util import find_spec

import gymnasium
import numpy as np
import pytest
import torch
from torchrl.envs import check_env_specs

from modules import keys
from modules.envs.base import EnvContext
from modules.envs.minigrid import COLOURS, OBJECTS, STATES, OneHotCodes
from modules.spec import UsageError
from tests.modules.builders import gym_spec

MINIGRID = pytest.mark.skipif(find_spec("minigrid") is None, reason="needs minigrid: pip install -e '.[minigrid]'")
VIEW = "minigrid.wrappers:ImgObsWrapper"
OURS = "modules.envs.minigrid:OneHotCodes"


class View(gymnasium.Env):
    """Any codes."""

    observation_space = gymnasium.spaces.Box(0, 255, (2, 3, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)


def codes(vector, shape):
    """Read a vector back: the place of the one in each part of each cell."""
    cells = vector.reshape(*shape, OBJECTS + COLOURS + STATES)
    parts = np.split(cells, np.cumsum([OBJECTS, COLOURS]), axis=-1)
    assert all((part.sum(-1) == 1).all() for part in parts)
    return np.stack([part.argmax(-1) for part in parts], axis=-1)


def test_each_code_of_each_cell_is_a_one_of_its_own():
    env = OneHotCodes(View())
    assert env.observation_space == gymnasium.spaces.Box(0, 1, (2, 3, 21), np.uint8)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(50):
        view = rng.integers([OBJECTS, COLOURS, STATES], size=(2, 3, 3)).astype(np.uint8)
        vector = env.observation(view)
        assert env.observation_space.contains(vector)
        np.testing.assert_array_equal(codes(vector, (2, 3)), view)
        seen |= {vector.tobytes()}
    assert len(seen) == 50
    corner = np.zeros((2, 3, 3), np.uint8)
    corner[1, 2] = OBJECTS - 1, COLOURS - 1, STATES - 1
    assert np.flatnonzero(env.observation(corner).ravel())[-3:].tolist() == [105 + 10, 105 + 16, 105 + 20]


def test_what_is_no_view_is_refused_with_the_wrapper_that_makes_one():
    with pytest.raises(UsageError, match=f"OneHotCodes cannot be put around CartPole-v1: .*put {VIEW} before it"):
        replace(gym_spec("CartPole-v1"), wrappers=(OURS,)).spaces()


@MINIGRID
def test_the_constants_are_minigrids():
    from minigrid.core import constants

    assert len(constants.OBJECT_TO_IDX) == OBJECTS
    assert len(constants.COLOR_TO_IDX) == COLOURS
    assert max(*constants.STATE_TO_IDX.values(), *range(4)) < STATES  # the agent's is one of four directions


@MINIGRID
def test_the_memory_task_is_seen_as_it_is():
    spec = replace(gym_spec("MiniGrid-MemoryS7-v0"), wrappers=(VIEW, OURS))
    spaces = spec.spaces()
    assert (spaces.observation_shape, spaces.observation_dtype, spaces.n_actions) == ((7, 7, 21), torch.uint8, 7)
    env = spec.build(EnvContext(2))
    check_env_specs(env, seed=0)
    env.set_seed(3)
    plain = replace(spec, wrappers=(VIEW,)).build(EnvContext(2))
    plain.set_seed(3)
    a, b = env.reset(), plain.reset()
    for action in (2, 2, 1, 0, 2):
        for vector, view in zip(a[keys.OBSERVATION].numpy(), b[keys.OBSERVATION].numpy(), strict=True):
            np.testing.assert_array_equal(codes(vector, (7, 7)), view.transpose(1, 2, 0))
        a, b = (e.step(td.set(keys.ACTION, torch.full((2,), action)))["next"] for e, td in ((env, a), (plain, b)))
