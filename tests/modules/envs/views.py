"""Wrappers that show more than a vector: pictures beside it, and which actions are allowed."""

import gymnasium
import numpy as np
from gymnasium import spaces


class WithPicture(gymnasium.ObservationWrapper):
    """CartPole's positions, and a picture [5, 6, 1] that tells the velocities."""

    def __init__(self, env):
        super().__init__(env)
        entries = {
            "at": spaces.Box(-9, 9, (2,), np.float32),
            "picture": spaces.Box(0, 255, (6, 8, 1), np.uint8),
            "side": spaces.Discrete(2),
        }
        self.observation_space = spaces.Dict(entries)

    def observation(self, observation):
        speeds = np.clip(observation[[1, 3]] * 20 + 128, 0, 255).astype(np.uint8)
        picture = np.zeros((6, 8, 1), np.uint8)
        picture[1:3, 2:5, 0], picture[4, 3:, 0] = speeds
        return {"at": observation[[0, 2]], "picture": picture, "side": int(observation[2] > 0)}


class SomeAllowed(gymnasium.Wrapper):
    """Allows only pushing left at every third step, only right at every fifth; says so in both ways."""

    def __init__(self, env):
        super().__init__(env)
        inner = env.observation_space
        own = inner.spaces if isinstance(inner, spaces.Dict) else {"observation": inner}
        self.observation_space = spaces.Dict({**own, "action_mask": spaces.MultiBinary(2)})
        self.inner, self.t = inner, 0

    def shown(self, observation):
        mask = np.array([self.t % 5 != 4, self.t % 3 != 2 or self.t % 5 == 4], np.int8)
        own = observation if isinstance(self.inner, spaces.Dict) else {"observation": observation}
        return {**own, "action_mask": mask}, {"action_mask": mask}

    def reset(self, **words):
        self.t = 0
        observation, _ = self.env.reset(**words)
        return self.shown(observation)

    def step(self, action):
        self.t += 1
        observation, reward, terminated, truncated, _ = self.env.step(action)
        seen, info = self.shown(observation)
        return seen, reward, terminated, truncated, info


class AsGrid(gymnasium.ObservationWrapper):
    """CartPole's numbers as a grid [3, 2, 4] of floats."""

    def __init__(self, env):
        super().__init__(env)
        self.observation_space = spaces.Box(-np.inf, np.inf, (3, 2, 4), np.float32)

    def observation(self, observation):
        return np.arange(6, dtype=np.float32).reshape(3, 2, 1) * observation
