"""Environments with odd spaces, values and frames, as Gymnasium ids for `env=gym`."""

import itertools
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple

PAIR = Box(-1, 1, (2,), np.float32)
WALL = np.zeros((6, 5, 2), np.float32)  # two channels


class Odd(gymnasium.Env):
    """Shows `value`, or zeros, of a space; with the render mode rgb_array always the same frame."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium's own form
    alive = 0

    def __init__(self, seen: Space = PAIR, value: Any = None, frame: Any = WALL, fps: Any = 5, render_mode=None):
        self.observation_space, self.action_space = seen, Discrete(2)
        self.value, self.frame, self.render_mode = value, frame, render_mode
        self.metadata = self.metadata | {"render_fps": fps}

    def reset(self, *, seed=None, options=None):
        return np.zeros(self.observation_space.shape or (), np.float32) if self.value is None else self.value, {}

    def step(self, action):
        return self.reset()[0], 0.0, False, False, {}

    def render(self):
        return self.frame


class Numbered(Odd):
    """Each shows one number more than the one before."""

    made = itertools.count(2)

    def __init__(self, render_mode=None):
        super().__init__(Box(-1, 1, (next(self.made),)))


class Port(Odd):
    """Only one can live at a time."""

    def __init__(self, render_mode=None):
        if Port.alive:
            raise OSError(98, "Address already in use")
        super().__init__()
        Port.alive += 1

    def close(self):
        Port.alive -= 1


class Modeless(Odd):
    """Its constructor takes no render mode."""

    def __init__(self):
        super().__init__()


def image(*shape: int) -> dict[str, Space]:
    return {"seen": Box(0, 255, shape, np.uint8)}


KINDS: dict[str, dict[str, Any]] = {
    "Planes": image(17, 8, 8),
    "Stack": image(9, 9, 30),
    "Below": {"seen": Discrete(4), "value": -2},
    "Beyond": {"seen": MultiDiscrete([3, 3]), "value": np.array([1, 3])},
    "Half": {"seen": Dict({"on": MultiBinary(2)}), "value": {"on": np.array([0.5, 0])}},
    "Hollow": {"seen": Dict({"near": PAIR, "far": Dict({})})},
    "Void": {"seen": Box(0, 1, (3, 0))},
    "Huge": {"seen": Tuple((Discrete(2), Discrete(3**30)))},
    "Hasty": {"fps": "fast"},
    "TwoChannels": {},
    "Unseen": {"frame": None},
}
for name, kwargs in KINDS.items():
    gymnasium.register(f"{name}-v0", Odd, kwargs=kwargs)
for kind in (Numbered, Port, Modeless):
    gymnasium.register(f"{kind.__name__}-v0", kind)
