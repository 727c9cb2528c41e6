"""How Gymnasium environments end: the time limit of their episodes, and closing them."""

import logging
from functools import partial
from typing import Any

import gymnasium
from gymnasium.wrappers import TimeLimit

from modules.envs.wrappers import Adapter
from modules.errors import close_quietly
from modules.spec import Positive, UsageError

CUT_THEMSELVES = {  # module of an environment's class → attributes of which the first that it has is its limit
    "minigrid.minigrid_env": ("max_steps",),
    "modules.envs.gymnasium_ids": ("max_steps",),
    "popgym.core.env": ("max_episode_length", "episode_length", "deck_size"),  # the deck has a card more
}
MaxSteps = Positive | None


def cut_after(max_steps: int | None, kwargs: dict[str, Any]) -> tuple[dict[str, Any], tuple[Adapter, ...]]:
    """Put a time limit of our own, if there is one, in the place of the id's; return kwargs and the last wrapper.

    It is the last one because its steps are the agent's: a wrapper of the user's may repeat actions.
    """
    if max_steps is None:
        return kwargs, ()
    if "max_episode_steps" in kwargs:
        raise UsageError(f"env.max_steps={max_steps} is the time limit: leave out env.kwargs.max_episode_steps")
    return {**kwargs, "max_episode_steps": -1}, (partial(TimeLimit, max_episode_steps=max_steps),)


def limit(env: gymnasium.Env) -> int | None:
    """Steps after which episodes of `env` are cut: by its TimeLimit, or by itself if it is known to do so."""
    assert env.spec is not None
    names = [name for kind in type(env.unwrapped).__mro__ for name in CUT_THEMSELVES.get(kind.__module__, ())]
    own = next((getattr(env.unwrapped, name) for name in names if hasattr(env.unwrapped, name)), None)
    return min((n for n in (env.spec.max_episode_steps, own) if n is not None), default=None)


def let_close_fail(env: gymnasium.Env, env_id: str, level: int) -> None:
    """Let the `close` of `env` fail, which is said once: a viewer that was never opened is no reason to stop.

    It changes the method of this one environment: a wrapper would be asked at every step.
    """
    own = env.close

    def close() -> None:
        nonlocal level
        if not close_quietly(f"env.id: {env_id}", own, level):
            level = logging.DEBUG

    env.close = close
