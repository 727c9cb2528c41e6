"""Moments at which a process is killed from the inside, exactly there; for `before=` of `launch`."""

import os
import signal
from fnmatch import fnmatch
from functools import wraps
from pathlib import Path

from gymnasium.vector import SyncVectorEnv

from modules.envs.cartpole import CartPoles
from modules.envs.worlds.world import WorldEnv


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before_file(pattern: str, nth: int) -> None:
    """Die when the `nth` file of that name is complete, but does not have its name yet."""
    _replace(pattern, nth, before=True)


def after_file(pattern: str, nth: int) -> None:
    """Die when the `nth` file of that name has just got it."""
    _replace(pattern, nth, before=False)


def _replace(pattern: str, nth: int, *, before: bool) -> None:
    replace, count = os.replace, 0

    @wraps(replace)
    def deadly(source, target, **rest):
        nonlocal count
        count += fnmatch(Path(target).name, pattern)
        mine = fnmatch(Path(target).name, pattern) and count == nth
        if mine and before:
            die()
        replace(source, target, **rest)
        if mine:
            die()

    os.replace = deadly


def in_step(nth: int) -> None:
    """Die in the `nth` step of a run's environments, of whatever kind; those of the checks before it are none."""
    count = 0

    def counted(step, size):
        @wraps(step)
        def deadly(self, actions):
            nonlocal count
            count += size(self)
            if count >= nth:
                die()
            return step(self, actions)

        return deadly

    for kind in (SyncVectorEnv, CartPoles):
        kind.step = counted(kind.step, lambda env: env.num_envs)
    WorldEnv._step = counted(WorldEnv._step, lambda env: env.batch_size[0])
