"""An environment that ends, and lets itself be closed, as it is told."""

import ctypes
import sys
from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np


class Odd(gymnasium.Env):
    """Goes on for ever; `wrong` says what goes wrong in which of its methods: "exit in step and error in close".

    `at` is the step, of each instance, at which a step does it; the file `flag` appears at the 50th.
    """

    metadata: ClassVar[dict] = {"render_modes": ["rgb_array"]}
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, wrong="", at=0, flag=None, render_mode=None):
        self.wrong = wrong
        self.flag, self.at, self.t, self.viewer, self.render_mode = flag, at, 0, None, render_mode
        self.go_wrong("make")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.go_wrong("reset")
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        if self.t >= self.at:
            self.go_wrong("step")
        if self.t == 50 and self.flag is not None:
            Path(self.flag).touch()
        return np.zeros(2, np.float32), 1.0, False, False, {}

    def render(self):
        return np.zeros((32, 32, 3), np.uint8)

    def close(self):
        self.go_wrong("close")

    def go_wrong(self, where):
        for wrong in self.wrong.split(" and "):
            what, _, place = wrong.partition(" in ")
            if place == where:
                WAYS[what](self)


def no_way(env):
    raise RuntimeError("not\ntoday")


WAYS = {
    "exit": lambda env: sys.exit(7),
    "crash": lambda env: ctypes.string_at(0),
    "viewer": lambda env: env.viewer.close(),
    "error": no_way,
}


if "Odd-v0" not in gymnasium.registry:
    gymnasium.register("Odd-v0", Odd)
