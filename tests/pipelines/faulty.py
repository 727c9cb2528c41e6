"""Environments that go wrong while a file exists, so that the same run can be resumed once it is gone."""

import sys
from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv


class Faulty(CartPoleEnv):
    """CartPole whose `at`-th step of all environments of the process goes wrong while the file `flag` exists."""

    steps: ClassVar[int] = 0

    def __init__(self, flag: str, at: int, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        self.flag, self.at = Path(flag), at

    def step(self, action):
        Faulty.steps += 1
        if Faulty.steps >= self.at and self.flag.exists():
            return self.fault(*super().step(action))
        return super().step(action)

    def fault(self, *step) -> tuple:
        raise RuntimeError("the motor is on fire")


class Exits(Faulty):
    """The same, which ends the process."""

    def fault(self, *step):
        sys.exit(7)


class NanReward(Faulty):
    """The same with a reward that is not a number."""

    def fault(self, *step):
        observation, _, *rest = step
        return observation, float("nan"), *rest


class Continuous(gymnasium.Env):
    """Actions that Q-learning cannot choose from."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)


class Symbols(gymnasium.Env):
    """Observations with a part that is no number."""

    observation_space = gymnasium.spaces.Dict({"place": gymnasium.spaces.Discrete(7), "said": gymnasium.spaces.Text(9)})
    action_space = gymnasium.spaces.Discrete(2)


class Levers(gymnasium.Env):
    """Many actions at once."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.MultiDiscrete([10, 10, 10])


class Liar(gymnasium.Env):
    """Gives another observation than it promises."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.zeros(3, np.float32), {}


class Old(gymnasium.Env):
    """As environments were before Gymnasium: a step gives four values."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 0.0, False, {}


class FromOne(gymnasium.Env):
    """Actions that are counted from 1."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2, start=1)


for kind in (Faulty, Exits, NanReward, Continuous, Symbols, Levers, Liar, Old, FromOne):
    if f"{kind.__name__}-v0" not in gymnasium.registry:
        gymnasium.register(f"{kind.__name__}-v0", f"{__name__}:{kind.__name__}")
