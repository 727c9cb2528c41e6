"""Blank frames: as often as they should be, the same for the same seed, and what is not blank is as it was."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from modules import keys
from modules.envs.base import EnvContext
from modules.envs.wrappers import import_wrapper
from modules.envs.wrappers.flicker import Flicker
from modules.spec import UsageError
from pipelines.config.composing import compose_settings
from pipelines.config.schema import read

PIXELS = read(compose_settings(("+exp=drqn_cartpole",))[0]).env


class Numbers(gymnasium.Env):
    """Frames that are never blank."""

    observation_space = gymnasium.spaces.Box(0, 255, (2, 2), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.full((2, 2), 7, np.uint8), {}

    def step(self, action):
        return np.full((2, 2), 9, np.uint8), 0.0, False, False, {}


def shown(seed, probability=0.5, steps=400):
    env = Flicker(Numbers(), probability)
    frames = [env.reset(seed=seed)[0], *(env.step(0)[0] for _ in range(steps)), env.reset()[0]]
    return np.array([frame.max() for frame in frames])


def test_frames_are_blank_as_often_as_they_should_be_and_the_same_for_the_same_seed():
    a = shown(3)
    assert 0.42 < (a == 0).mean() < 0.58
    assert set(a) <= {0, 7, 9}
    assert (shown(3) == a).all()
    assert (shown(4) != a).any()
    assert (shown(3, 0.0) > 0).all()
    assert (shown(3, 1.0) == 0).all()


def rolled(spec, seed=5):
    env = spec.build(EnvContext(2))
    env.set_seed(seed)
    torch.manual_seed(0)
    now, found = env.reset(), []
    for _ in range(40):
        found.append(now[keys.OBSERVATION].clone())
        now = env.step_mdp(env.step(now.set(keys.ACTION, torch.randint(2, (2,)))))
        now = env.maybe_reset(now)
    env.close()
    return torch.stack(found)


def test_pixels_flicker_too():
    plain, blanked, again = rolled(PIXELS), rolled(replace(PIXELS, flicker=0.5)), rolled(replace(PIXELS, flicker=0.5))
    assert torch.equal(blanked, again)
    blank = blanked.flatten(2).eq(0).all(-1)
    assert 0.3 < blank.float().mean() < 0.7
    assert not torch.equal(blank[:, 0], blank[:, 1])
    assert torch.equal(blanked[~blank], plain[~blank])
    assert not plain.flatten(2).eq(0).all(-1).any()


def test_a_wrapper_gets_its_arguments():
    wrapper = import_wrapper({"name": "gymnasium.wrappers:TimeLimit", "max_episode_steps": 3})
    env = wrapper(gymnasium.make("CartPole-v1"))
    env.reset()
    assert [env.step(t % 2)[3] for t in range(3)] == [False, False, True]
    with pytest.raises(UsageError, match="is not of the form module:Class"):
        import_wrapper({"max_episode_steps": 3})
