"""Which actions are allowed now, as environments say it: in the observation or in `info`."""

from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from modules.envs.gym_spaces import MASK, action_count
from modules.envs.wrappers import Adapter
from modules.errors import BadValueError
from modules.spec import UsageError

MaskSource = Literal["none", "observation", "info"]


class MaskInObservation(gymnasium.Wrapper):
    """Watches over the entry `action_mask` of a Dict: before an episode's end, at least one action must be allowed."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.actions = action_count(env.action_space, str(env.spec.id if env.spec else env))
        space = env.observation_space
        mask = space.spaces.get(MASK) if isinstance(space, spaces.Dict) else None
        if np.prod(getattr(mask, "shape", None) or (0,)) != self.actions:
            raise UsageError(
                f"env.action_mask=observation needs a Dict observation with an entry {MASK} of {self.actions} numbers, "
                f"one for each action, not {space}"
            )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        refuse_nothing_allowed(observation[MASK], self.actions)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if not terminated and not truncated:
            refuse_nothing_allowed(observation[MASK], self.actions)
        return observation, reward, terminated, truncated, info


class MaskFromInfo(gymnasium.Wrapper):
    """Puts `info["action_mask"]` beside the observation; where an ended episode gives none, all are allowed."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.actions = action_count(env.action_space, str(env.spec.id if env.spec else env))
        entries = {MASK: spaces.MultiBinary(self.actions), "observation": env.observation_space}
        self.observation_space = spaces.Dict(entries)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_mask(observation, info, ended=False), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        seen = self._with_mask(observation, info, ended=bool(terminated or truncated))
        return seen, reward, terminated, truncated, info

    def _with_mask(self, observation: Any, info: dict[str, Any], *, ended: bool) -> dict[str, Any]:
        found = info.get(MASK)
        if found is None and not ended:
            raise BadValueError(f"an info without {MASK}, which env.action_mask=info asks for")
        mask = np.ones(self.actions) if found is None else np.asarray(found).reshape(-1)
        if len(mask) != self.actions:
            raise BadValueError(f"info[{MASK!r}] with {len(mask)} numbers for {self.actions} actions")
        if not ended:
            refuse_nothing_allowed(mask, self.actions)
        return {MASK: (mask != 0).astype(np.int8), "observation": observation}


def masking(source: MaskSource) -> tuple[Adapter, ...]:
    """List the wrapper that a source of allowed actions needs."""
    return {"none": (), "observation": (MaskInObservation,), "info": (MaskFromInfo,)}[source]


def refuse_nothing_allowed(mask: Any, actions: int) -> None:
    """Raise `BadValueError` if none of the actions is allowed."""
    if not np.any(mask):
        raise BadValueError(f"an {MASK} that allows none of the {actions} actions, although the episode goes on")
