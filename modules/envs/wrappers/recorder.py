"""What an environment itself gives and is given, episode by episode, whatever an agent sees of it."""

import copy
from dataclasses import dataclass, field
from typing import Any

import gymnasium


@dataclass(frozen=True, kw_only=True)
class RawEpisode:
    """An episode of T steps.

    Attributes:
        seed: of its reset, if that had one.
        observations: T + 1 of them, the first of the reset.
        actions: T, as `step` took them.
        rewards: T.
        infos: T + 1.
    """

    seed: int | None
    observations: list[Any] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    infos: list[dict[str, Any]] = field(default_factory=list)


class Recorder(gymnasium.Wrapper):
    """Keeps the first episodes in memory.

    Attributes:
        episodes: that were kept, the running one last.
        most: how many are kept; None: all.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.episodes: list[RawEpisode] = []
        self.most: int | None = None
        self._running: RawEpisode | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        self._running = None
        if self.most is None or len(self.episodes) < self.most:
            self._running = RawEpisode(seed=seed)
            self.episodes.append(self._running)
            self._see(observation, info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        found = observation, reward, _, _, info = super().step(action)
        if self._running is not None:
            self._running.actions.append(copy.deepcopy(action))
            self._running.rewards.append(float(reward))
            self._see(observation, info)
        return found

    def _see(self, observation: Any, info: dict[str, Any]) -> None:
        assert self._running is not None
        self._running.observations.append(copy.deepcopy(observation))  # some environments write into one array
        self._running.infos.append(copy.deepcopy(info))
