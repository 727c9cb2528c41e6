"""Environments and wrappers with running statistics, Gymnasium's and others', and one whose numbers are fixed."""

import gymnasium
import numpy as np
from gymnasium.wrappers import NormalizeObservation, NormalizeReward


class Gently(NormalizeObservation):
    """A subclass."""

    def __init__(self, env):
        super().__init__(env, epsilon=0.1)


class RunningMeanStd:
    """As it is copied from program to program."""

    def __init__(self):
        self.mean, self.var, self.count = 0.0, 1.0, 1e-4


class Copied(gymnasium.RewardWrapper):
    """Scales by such a copy."""

    def __init__(self, env):
        super().__init__(env)
        self.statistics = RunningMeanStd()

    def reward(self, reward):
        return float(reward) / self.statistics.var


class Holder(gymnasium.Env):
    """Is no wrapper, but has one."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium's own form

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        self.inner = Gently(gymnasium.make("CartPole-v1", render_mode=render_mode))
        self.observation_space, self.action_space = self.inner.observation_space, self.inner.action_space


class Fixed(NormalizeObservation):
    """Scales by numbers that stay."""

    def __init__(self, env):
        super().__init__(env)
        self.obs_rms.var = np.full(env.observation_space.shape or (), 4.0)
        self.update_running_mean = False


def paid_by_deviation(render_mode=None):
    """Make CartPole with scaled rewards."""
    return NormalizeReward(gymnasium.make("CartPole-v1", render_mode=render_mode))


for _name, _make in (("Holder-v0", Holder), ("Paid-v0", paid_by_deviation)):
    if _name not in gymnasium.registry:
        gymnasium.register(_name, _make)
