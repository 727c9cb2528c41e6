"""Environments that go wrong while a file exists, so that the same run can be resumed once it is gone."""

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
    """Observations that are no numbers in a box, and no picture."""

    observation_space = gymnasium.spaces.Discrete(7)
    action_space = gymnasium.spaces.Discrete(2)


class FromOne(gymnasium.Env):
    """Actions that are counted from 1."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2, start=1)


for kind in (Faulty, NanReward, Continuous, Symbols, FromOne):
    if f"{kind.__name__}-v0" not in gymnasium.registry:
        gymnasium.register(f"{kind.__name__}-v0", f"{__name__}:{kind.__name__}")
