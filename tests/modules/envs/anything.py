"""An environment with observations and actions of any kind, right or wrong."""

import itertools
from dataclasses import replace

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete

from modules import keys
from modules.envs.base import EnvContext
from tests.modules.builders import gym_spec

IMAGE = Box(0, 255, (16, 12, 3), np.uint8)


class Any(gymnasium.Env):
    """Shows samples of a space; `wrong` says what is given instead at which step; keeps the actions it was sent.

    `infos` and `frames` are what steps and renderings give, one after the other.
    """

    metadata = {"render_modes": ["ansi", "rgb_array"]}  # noqa: RUF012 - Gymnasium's own form

    def __init__(self, seen, actions=None, wrong=None, infos=({},), frames=(), fps=None, render_mode=None):
        self.observation_space, self.action_space = seen, Discrete(3) if actions is None else actions
        self.wrong, self.t, self.taken = wrong or {}, 0, []
        self.infos, self.frames = itertools.cycle(infos), itertools.cycle(frames)
        self.metadata = self.metadata | {"render_fps": fps}
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.look(), next(self.infos)

    def step(self, action):
        self.t += 1
        self.taken.append(action)
        return self.look(), self.wrong.get("reward", {}).get(self.t, 1.0), self.t == 4, False, next(self.infos)

    def look(self):
        self.shown = self.wrong.get("observation", {}).get(self.t, self.observation_space.sample())
        return self.shown

    def render(self):
        return next(self.frames) if self.render_mode == "rgb_array" else f"step {self.t}\n"


class Doubled(gymnasium.ObservationWrapper):
    def observation(self, observation):
        return 2 * observation


class Shifted(gymnasium.ObservationWrapper):
    def observation(self, observation):
        return observation + 1


class Broken(gymnasium.Wrapper):
    def __init__(self, env):
        raise RuntimeError("no such\nluck")


if "Any-v0" not in gymnasium.registry:
    gymnasium.register("Any-v0", Any)


def any_spec(seen, *wrappers, actions=None, channels=None, **more):
    spec = gym_spec("Any-v0", seen=seen, actions=actions, **more)
    return replace(spec, wrappers=tuple(f"{__name__}:{name}" for name in wrappers), channels=channels)


def singles(env):
    return [single.unwrapped for single in env.base_env._env.unwrapped.envs]


def seen_and_shown(spec, num_envs=3):
    """Observations [N, …] of a few steps as TorchRL has them, and the samples that the environments gave."""
    env = spec.build(EnvContext(num_envs))
    env.set_seed(5)
    td = env.reset()
    for _ in range(3):
        yield td[keys.OBSERVATION], [single.shown for single in singles(env)]
        td = env.step(td.set(keys.ACTION, torch.zeros(num_envs, dtype=torch.int64)))["next"]
    env.close()
