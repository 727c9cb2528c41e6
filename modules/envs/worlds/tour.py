"""The grid tour: find all goals of a small map, seen through a window that turns with the robot.

Rules after itoshin-tech's memoryRL (2019). Actions: 0 forward, 1 turn left, 2 turn right. An observation is the
window (2·sight + 1)², robot in the centre looking up, goals beside walls.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from modules.envs.worlds.layouts import FRESH, GOAL, WALL, Layouts, Ruins, read_map
from modules.envs.worlds.tour_tasks import TASKS, Cell, Count, Maps, Task, TaskName, refuse_nonsense
from modules.envs.worlds.world import FOUND, HIT, NOTHING, State, WorldSpec, replace_rules
from modules.keys import Spaces, Symmetry
from modules.spec import Positive, RunConfig, UsageError, spec


class Tour:
    """The rules as pure functions on tensors.

    A state has `cells` [N, P] (bits of the map, padded by `sight` walls, row by row), `position` [N] in it, `heading`,
    `time`, `left` (goals still to visit) and `event` (what the last step did), [N] each.
    """

    def __init__(
        self, task: Task, layout: Literal["original", "uniform"], *, timeout_replaces: bool, device: torch.device | str
    ) -> None:
        refuse_nonsense(task)
        self.task, self.device = task, torch.device(device)
        self.timeout_replaces = timeout_replaces
        source, start = self._source()
        height, width = (task.size[1], task.size[0]) if isinstance(source, Ruins) else source.shape[1:]
        s = task.sight
        self.width, self.height = width + 2 * s, height + 2 * s  # padded
        self.start_at = (start[1] + s) * self.width + start[0] + s
        self.layouts = Layouts(source, layout, self.device)
        self._ahead = torch.tensor([-self.width, -1, self.width, 1], device=self.device)
        self._turn = torch.tensor([0, 1, 3], device=self.device)
        self._window = window(s, self.width).to(self.device)
        side = 2 * s + 1
        self.bounds = (0.0, 1.0)
        self._side = side
        self.spaces = Spaces(
            observation_shape=(side, side * (2 if task.walls_show else 1)), observation_dtype=torch.uint8, n_actions=3
        )

    def _source(self) -> tuple[Tensor | Ruins, Cell]:
        task = self.task
        if not task.maps:
            width, height = task.size
            return Ruins(width, height, task.start, task.goals, task.walls), task.start
        read = [read_map(rows) for rows in task.maps]
        starts = {start for _, start in read}
        if len(starts) > 1 or len({cells.shape for cells, _ in read}) > 1:
            raise UsageError(f"env.maps: all maps must have the same size and start, not {list(task.maps)}")
        return torch.stack([cells for cells, _ in read]), starts.pop()

    def seed(self, seed: int) -> None:
        self.layouts.seed(seed)

    def start(self, n: int) -> State:
        """Put the robots at the start of `n` maps."""
        s, maps = self.task.sight, self.layouts.draw(n)
        cells = torch.nn.functional.pad(maps, (s, s, s, s), value=WALL).flatten(1)
        blank = torch.zeros(n, dtype=torch.int64, device=self.device)
        return {
            "cells": cells,
            "position": blank + self.start_at,
            "heading": blank + self.task.heading,
            "time": blank,
            "left": ((cells & FRESH) != 0).sum(1),
            "event": blank.clone(),
        }

    def step(self, state: State, action: Tensor) -> tuple[State, Tensor, Tensor, Tensor]:
        """Move; `cells` are changed in place."""
        task, cells, position, heading = self.task, state["cells"], state["position"], state["heading"]
        ahead = position + self._ahead[heading]
        there = cells.gather(1, ahead.unsqueeze(1)).squeeze(1)
        goes = action == 0
        barred = (there & WALL) != 0
        if task.block_visited:
            barred |= (there & (GOAL | FRESH)) == GOAL
        bumps, moves = goes & barred, goes & ~barred
        found = moves & ((there & FRESH) != 0)
        gone = (FRESH | GOAL) if task.erase_visited else FRESH
        cells.scatter_(1, ahead.unsqueeze(1), (there & ~(found * gone).to(torch.uint8)).unsqueeze(1))

        left, time = state["left"] - found.long(), state["time"] + 1
        heading, position = (heading + self._turn[action]) % 4, torch.where(moves, ahead, position)
        if task.reset_after_goal:
            back = found & (left > 0)
            position = torch.where(back, self.start_at, position)
            heading = torch.where(back, task.heading, heading)
        reward = torch.full_like(action, task.reward_move, dtype=torch.float32)
        reward = torch.where(bumps, task.reward_bump, torch.where(found, task.reward_goal, reward))
        late, terminated = time >= task.max_time, found & (left == 0)
        if self.timeout_replaces:
            reward = torch.where(late, task.reward_timeout, reward)
        state = {
            "cells": cells,
            "position": position,
            "heading": heading,
            "time": time,
            "left": left,
            "event": torch.where(found, FOUND, torch.where(bumps | late, HIT, NOTHING)),
        }
        return state, reward, terminated, late & ~terminated

    def observe(self, state: State) -> Tensor:
        """[N, side, 2·side]: 1 where a goal is, and beside it where a wall is."""
        n, side = state["position"].shape[0], self._side
        index = state["position"].unsqueeze(1) + self._window[state["heading"]]
        seen = state["cells"].gather(1, index).view(n, side, side)
        goals = seen & GOAL
        if self.task.hidden_after:
            goals *= (state["time"] < self.task.hidden_after).view(n, 1, 1)
        return torch.cat((goals, (seen & WALL) >> 1), 2) if self.task.walls_show else goals


def window(sight: int, width: int) -> Tensor:
    """Offsets of the cells in view from the robot's, for each heading, [4, (2·sight+1)²]."""
    near = torch.arange(-sight, sight + 1)
    down, right = (grid.reshape(-1) for grid in torch.meshgrid(near, near, indexing="ij"))
    turned = [(down, right), (-right, down), (-down, -right), (right, -down)]  # (dy, dx) of what is seen (down, right)
    return torch.stack([dy * width + dx for dy, dx in turned])


@spec
class TourSpec(WorldSpec):
    """A grid tour: `task` names the rules; every other setting that is not null replaces one of them.

    Attributes:
        task: name of the rules.
        layout: random maps as the original draws them (biased: it rejects most maps with goals above or left), or
            uniformly among all solvable ones.
        timeout: `original` gives reward_timeout at the time limit, whatever that step did; `keep` its own reward.
    """

    actions = ("forward", "left", "right")
    keyboard = "esf"  # where the fingers of a left hand lie
    replaces = Task

    task: TaskName
    layout: Literal["original", "uniform"]
    timeout: Literal["original", "keep"]
    maps: Annotated[Maps, Field(min_length=1)] | None
    size: tuple[Positive, Positive] | None
    start: Cell | None
    heading: Annotated[int, Field(ge=0, le=3)] | None
    goals: Positive | None
    walls: Count | None
    sight: Positive | None
    max_time: Annotated[int, Field(gt=1)] | None
    hidden_after: Count | None
    reset_after_goal: bool | None
    erase_visited: bool | None
    block_visited: bool | None
    walls_show: bool | None
    reward_goal: float | None
    reward_bump: float | None
    reward_move: float | None
    reward_timeout: float | None

    @property
    def rules(self) -> Task:
        """The named task with the settings that replace parts of it."""
        return replace_rules(TASKS[self.task], self)

    def needs(self, run: RunConfig) -> Iterator[str]:
        """Random maps must have paths, which only a draw can tell; fixed maps have their own size, start and goals."""
        yield from super().needs(run)
        if self.rules.maps:
            for name in ("size", "start", "goals", "walls"):
                if getattr(self, name) is not None:
                    yield f"env.{name} is for random maps, but these are fixed: leave it null"
        try:
            self.world().start(1)
        except UsageError as error:
            yield str(error)

    def episode_limit(self) -> int | None:
        return self.rules.max_time

    def symmetry(self) -> Symmetry:
        """Left and right: each part of the window is flipped, and the turns change places."""
        height, width = self.world().spaces.observation_shape
        parts = torch.arange(height * width).view(height, width // height, height).flip(-1)
        return Symmetry(observation=tuple(parts.flatten().tolist()), action=(0, 2, 1))

    def world(self, device: torch.device | str = "cpu") -> Tour:
        return Tour(self.rules, self.layout, timeout_replaces=self.timeout == "original", device=device)
