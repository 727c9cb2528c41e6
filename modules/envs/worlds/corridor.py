"""Corridors: walk to the place where the goal was shown, and try there.

Rules after itoshin-tech's memoryRL (2019). Actions: 0 try here, which ends the episode; 1 advance by one cell. An
observation is the corridor: 3 where the goal is, as long as it shows, and 1 where the robot is.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from modules.envs.worlds.world import FOUND, HIT, NOTHING, SmallWorld, State, WorldSpec, replace_rules
from modules.keys import Spaces
from modules.spec import Count, UsageError, spec

ROBOT, GOAL = 1, 3  # in observations


@dataclass(frozen=True, kw_only=True)
class Task:
    """Rules of one task.

    Attributes:
        length: cells of the corridor.
        goals: cells of which one, drawn per episode, has the goal.
        start: the robot's first cell.
        hidden_after: steps after which the goal no longer shows; 0 = it always shows.
        reward_goal: for trying at the goal.
        reward_fail: for trying elsewhere, and for walking off the end.
        reward_move: for any other step.
    """

    length: int = 8
    goals: tuple[int, ...]
    start: int = 0
    hidden_after: int = 1
    reward_goal: float = 1.0
    reward_fail: float = 0.0
    reward_move: float = 0.0


TASKS = {
    "L8g23v": Task(goals=(2, 3), hidden_after=0),
    "L8g23": Task(goals=(2, 3)),
    "L8g34": Task(goals=(3, 4)),
    "L8g67": Task(goals=(6, 7)),
    "L8g34567": Task(goals=(3, 4, 5, 6, 7)),
}
TaskName = Literal["L8g23v", "L8g23", "L8g34", "L8g67", "L8g34567"]


class Corridor(SmallWorld):
    """The rules as pure functions on tensors.

    A state has `goal`, `position` (behind the last cell after walking off the end), `time` and `event` (what the last
    step did), [N] each. Every end is a termination: none comes from outside.
    """

    def __init__(self, task: Task, *, device: torch.device | str) -> None:
        refuse_nonsense(task)
        self.task = task
        spaces = Spaces(observation_shape=(task.length,), observation_dtype=torch.uint8, n_actions=2)
        super().__init__(spaces, bounds=(0.0, float(GOAL)), device=device)
        self._goals = torch.tensor(task.goals, device=self.device)
        self._places = torch.arange(task.length, device=self.device)

    def start(self, n: int) -> State:
        return {
            "goal": self._goals[self._draw(len(self._goals), (n,))],
            "position": self._all(n, self.task.start),
            "time": self._all(n, 0),
            "event": self._all(n, NOTHING),
        }

    def step(self, state: State, action: Tensor) -> tuple[State, Tensor, Tensor, Tensor]:
        task, tries = self.task, action == 0
        position = state["position"] + (~tries).long()
        found = tries & (position == state["goal"])
        ends = tries | (position >= task.length)
        reward = torch.full_like(action, task.reward_move, dtype=torch.float32)
        reward = torch.where(found, task.reward_goal, torch.where(ends, task.reward_fail, reward))
        state = {
            "goal": state["goal"],
            "position": position,
            "time": state["time"] + 1,
            "event": torch.where(found, FOUND, torch.where(ends, HIT, NOTHING)),
        }
        return state, reward, ends, torch.zeros_like(ends)

    def observe(self, state: State) -> Tensor:
        """[N, length]; the robot covers the goal."""
        goal = (self._places == state["goal"].unsqueeze(1)) & self.shows(state).unsqueeze(1)
        robot = self._places == state["position"].unsqueeze(1)
        return torch.where(robot, ROBOT, goal * GOAL).to(torch.uint8)

    def shows(self, state: State) -> Tensor:
        """Whether the goals are to be seen, [N]."""
        hidden_after = self.task.hidden_after
        return state["time"] < hidden_after if hidden_after else torch.ones_like(state["time"], dtype=torch.bool)


def refuse_nonsense(task: Task) -> None:
    """Raise `UsageError` for rules under which some goal cannot be reached."""
    if task.start >= task.length:
        raise UsageError(f"env.start={task.start} must be smaller than env.length={task.length}")
    if not task.goals or not all(task.start <= goal < task.length for goal in task.goals):
        raise UsageError(
            f"env.goals={list(task.goals)} must list cells from env.start={task.start} to {task.length - 1}, "
            "the end of the corridor"
        )


@spec
class CorridorSpec(WorldSpec):
    """A corridor: `task` names the rules; every other setting that is not null replaces one of them.

    Attributes:
        task: name of the rules.
    """

    actions = ("try", "advance")
    keyboard = "df"  # as in the original program
    replaces = Task

    task: TaskName
    length: Annotated[int, Field(gt=0, le=100_000)] | None
    goals: tuple[Count, ...] | None
    start: Count | None
    hidden_after: Count | None
    reward_goal: float | None
    reward_fail: float | None
    reward_move: float | None

    @property
    def rules(self) -> Task:
        """The named task with the settings that replace parts of it."""
        return replace_rules(TASKS[self.task], self)

    def episode_limit(self) -> int | None:
        return self.rules.length - self.rules.start

    def world(self, device: torch.device | str = "cpu") -> Corridor:
        return Corridor(self.rules, device=device)
