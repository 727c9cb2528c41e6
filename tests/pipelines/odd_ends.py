"""An environment that ends, and lets itself be closed, as it is told."""

import ctypes
import sys
from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np


class Odd(gymnasium.Env):
    """Goes on for ever; what is named in `wrong` happens in the instance number `instance` of the process, or later.

    `at` is the step, of each instance, at which a step does it; the file `flag` appears at the 50th.
    """

    metadata: ClassVar[dict] = {"render_modes": ["rgb_array"]}
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    made: ClassVar[int] = 0

    def __init__(self, wrong="nothing", instance=0, at=0, flag=None, render_mode=None):
        Odd.made += 1
        self.wrong = wrong if Odd.made >= instance else "nothing"
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
        if self.wrong == "viewer":
            self.viewer.close()
        self.go_wrong("close")

    def go_wrong(self, where):
        what, _, place = self.wrong.partition(" in ")
        if place != where:
            return
        if what == "exit":
            sys.exit(7)
        if what == "crash":
            ctypes.string_at(0)
        raise RuntimeError(f"no {where} today")


if "Odd-v0" not in gymnasium.registry:
    gymnasium.register("Odd-v0", Odd)
