"""The small worlds as Gymnasium ids, for any library: importing this file registers them.

Gymnasium 1.0 dropped plugins, so nothing registers them by itself: import this file, or name it in the id, as in
`gymnasium.make("modules.envs.gymnasium_ids:recall/TmazeBoth-v0")`. In our own pipeline `env=gym` does the former.
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from pydantic import ValidationError

from modules.envs.base import UNCHANGED
from modules.envs.rendering import picture, text
from modules.envs.worlds import corridor, explore, shower, tiny, tour
from modules.envs.worlds.world import FPS, State, World, WorldSpec
from modules.spec import UsageError, sentences


class WorldGym(gymnasium.Env[np.ndarray, np.int64]):
    """One episode at a time of any world; observations have the world's shape and dtype."""

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": FPS}  # noqa: RUF012 - Gymnasium's own form

    def __init__(self, world: World, max_steps: int | None, *, render_mode: str | None = None) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode must be one of {self.metadata['render_modes']} or None, not {render_mode!r}")
        self.world, self.max_steps, self.render_mode = world, max_steps, render_mode
        self._state: State = {}
        spaces = world.spaces
        dtype = np.uint8 if spaces.observation_dtype == torch.uint8 else np.float32
        self.observation_space = gymnasium.spaces.Box(*world.bounds, spaces.observation_shape, dtype)
        self.action_space = gymnasium.spaces.Discrete(spaces.n_actions)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Begin an episode; without a seed the first one starts a stream of its own."""
        super().reset(seed=seed, options=options)
        if seed is None and not self._state:
            seed = int(self.np_random.integers(2**31))
        if seed is not None:
            self.world.seed(seed)
        self._state = self.world.start(1)
        return self._observation(), {}

    def step(self, action: np.int64 | int) -> tuple[np.ndarray, float, bool, bool, dict]:
        if not self.action_space.contains(action):
            raise gymnasium.error.InvalidAction(f"the action must be in {self.action_space}, not {action!r}")
        self._state, reward, terminated, truncated = self.world.step(self._state, torch.tensor([int(action)]))
        return self._observation(), reward.item(), bool(terminated), bool(truncated), {}

    def _observation(self) -> np.ndarray:
        return self.world.observe(self._state)[0].numpy().copy()

    def render(self) -> Any:
        """A picture [H, W, 3] of uint8, or a text; None without a render mode."""
        if self.render_mode == "rgb_array":
            return picture(self.world, self._state, 0)
        return text(self.world, self._state, 0) if self.render_mode == "ansi" else None


EXAMS: dict[str, type[WorldSpec]] = {**tiny.SPECS, **explore.SPECS, **shower.SPECS}


def make_world(kind: type[WorldSpec], settings: Mapping[str, Any]) -> tuple[World, int | None]:
    """Make the rules of a world and its time limit; raises `UsageError`, one sentence, for what makes no sense.

    Settings that may replace rules of a task leave them as they are if they are not given.
    """
    if given := [name for name in settings if name in UNCHANGED]:
        raise UsageError(f"{given[0]}: no such setting of a Gymnasium id; use Gymnasium's wrappers")
    unchanged = dict.fromkeys(field.name for field in fields(kind.replaces)) if kind.replaces else {}
    try:
        task = kind(**UNCHANGED, **{**unchanged, **settings})
        return task.world(), task.episode_limit()
    except ValidationError as error:
        text = "; ".join(sentences(error, kind)).replace(f"{', '.join(UNCHANGED)}, ", "")  # those of a run's settings
    except UsageError as error:
        text = re.sub(r"\benv(\.|: )", "", str(error))  # here they are keyword arguments
    raise UsageError(text)


class TourGym(WorldGym):
    """A grid tour; `rules` are its settings and replace those of the task, see `modules.envs.worlds.tour`."""

    def __init__(self, task: tour.TaskName, *, render_mode: str | None = None, **rules: Any) -> None:
        settings = {"task": task, "layout": "original", "timeout": "original", **rules}
        super().__init__(*make_world(tour.TourSpec, settings), render_mode=render_mode)


class CorridorGym(WorldGym):
    """A corridor; `rules` replace those of the task, see `modules.envs.worlds.corridor.Task`."""

    def __init__(self, task: corridor.TaskName, *, render_mode: str | None = None, **rules: Any) -> None:
        super().__init__(*make_world(corridor.CorridorSpec, {"task": task, **rules}), render_mode=render_mode)


class TinyGym(WorldGym):
    """A tiny exam task; `rules` are its settings, see `modules.envs.worlds.tiny`, `explore` and `shower`."""

    def __init__(self, task: str, *, render_mode: str | None = None, **rules: Any) -> None:
        if task not in EXAMS:
            raise UsageError(f"task: it should be {' or '.join(map(repr, EXAMS))}, not {task!r}")
        super().__init__(*make_world(EXAMS[task], rules), render_mode=render_mode)


def id_of(settings: WorldSpec) -> EnvSpec:
    """Say how Gymnasium makes the world of a run's `settings`, for `gymnasium.make`."""
    given = {field.name: getattr(settings, field.name) for field in fields(settings)}
    rules = {name: value for name, value in given.items() if name not in UNCHANGED and value is not None}
    name = type(settings).__name__.removesuffix("Spec")
    kind = {tour.TourSpec: TourGym, corridor.CorridorSpec: CorridorGym}.get(type(settings), TinyGym)
    if kind is TinyGym:
        rules["task"] = next(task for task, exam in EXAMS.items() if exam is type(settings))
    return EnvSpec(f"recall/{name}-v0", f"{__name__}:{kind.__name__}", kwargs=rules)


for _task in tour.TASKS:
    _name = "".join(word.capitalize() for word in _task.split("_"))
    gymnasium.register(f"recall/{_name}-v0", f"{__name__}:TourGym", kwargs={"task": _task})
for _task in corridor.TASKS:
    gymnasium.register(f"recall/Corridor{_task}-v0", f"{__name__}:CorridorGym", kwargs={"task": _task})
for _name, _settings in {
    "MemoryLen": {"task": "memory_len", "length": 10, "bits": 1},
    "PassiveTmaze": {"task": "passive_tmaze", "length": 20, "reward_goal": 1.0, "penalty": 1.0},
    "RepeatPrevious": {"task": "repeat_previous", "k": 4, "length": 51},
    "GoalCorridor": {"task": "goal_corridor", "length": 100, "horizon": 200, "mapping_seed": 42},
    "DeepSea": {"task": "deep_sea", "size": 10, "mapping_seed": 42, "move_cost": 0.01},
    "RandomCoin": {"task": "random_coin", "size": 9, "horizon": 200},
    "DiscountingChain": {"task": "discounting_chain", "mapping_seed": 4},
    "Shower": {
        "task": "shower",
        "start": (35, 41),
        "comfortable": (37, 39),
        "noise": 1,
        "horizon": 60,
        "ends": "truncated",
        "observation": "scaled",
    },
}.items():
    gymnasium.register(f"recall/{_name}-v0", f"{__name__}:TinyGym", kwargs=_settings)
