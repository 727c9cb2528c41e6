"""Corridors: walk to the place where the goal was shown, and try there.

Rules after itoshin-tech's memoryRL (2019). Actions: 0 try here, which ends the episode; 1 advance by one cell. An
observation is the corridor: 3 where the goal is, as long as it shows, and 1 where the robot is.
`python -m modules.envs.corridor` writes docs/tasks/corridor.png.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from modules.envs.tour_picture import BESIDE, GAP, paint
from modules.envs.world import FOUND, HIT, NOTHING, State, WorldSpec, replaced
from modules.keys import Spaces
from modules.spec import UsageError, spec

Count = Annotated[int, Field(ge=0)]
ROBOT, GOAL = 1, 3  # in observations
RIGHT = 3  # heading of the robot in pictures
UNIT, SMALLEST = 48, 4  # pixels of a cell in pictures, even: usually, in long corridors
WIDEST = 1920  # pixels of a picture
LONGEST = WIDEST // SMALLEST  # cells
LINE = 80  # characters, for the corridor and the agent's view side by side


@dataclass(frozen=True, kw_only=True)
class Task:
    """Rules of one task.

    Attributes:
        length: cells of the corridor, up to `LONGEST`.
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


class Corridor:
    """The rules as pure functions on tensors.

    A state has `goal`, `position` (behind the last cell after walking off the end), `time` and `event` (what the last
    step did), [N] each. Every end is a termination: none comes from outside.
    """

    def __init__(self, task: Task, *, device: torch.device | str) -> None:
        refuse_nonsense(task)
        self.task, self.device = task, torch.device(device)
        self.spaces = Spaces(observation_shape=(task.length,), observation_dtype=torch.uint8, n_actions=2)
        self._goals = torch.tensor(task.goals, device=self.device)
        self._places = torch.arange(task.length, device=self.device)
        self._generator = torch.Generator(self.device)
        self.seed(0)

    def seed(self, seed: int) -> None:
        """Start the stream of goals anew."""
        self._generator.manual_seed(seed)

    def start(self, n: int) -> State:
        """Draw `n` goals."""
        which = torch.randint(len(self._goals), (n,), generator=self._generator, device=self.device)
        blank = torch.zeros(n, dtype=torch.int64, device=self.device)
        return {
            "goal": self._goals[which],
            "position": blank + self.task.start,
            "time": blank.clone(),
            "event": blank + NOTHING,
        }

    def step(self, state: State, action: Tensor) -> tuple[State, Tensor, Tensor, Tensor]:
        """Try, or advance."""
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
        goal = (self._places == state["goal"].unsqueeze(1)) & self._shows(state).unsqueeze(1)
        robot = self._places == state["position"].unsqueeze(1)
        return torch.where(robot, ROBOT, goal * GOAL).to(torch.uint8)

    def _shows(self, state: State) -> Tensor:
        """Whether the goals are to be seen, [N]."""
        hidden_after = self.task.hidden_after
        return state["time"] < hidden_after if hidden_after else torch.ones_like(state["time"], dtype=torch.bool)

    def _seen(self, state: State, n: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Episode `n`: the corridor as characters [length], what the agent sees of it [length], the robot's cell."""
        one = {key: value[n : n + 1] for key, value in state.items()}
        field = np.full(self.task.length, ".")
        if self._shows(one):
            field[int(one["goal"])] = "G"
        return field, self.observe(one)[0].cpu().numpy(), int(one["position"])

    def picture(self, state: State, n: int) -> np.ndarray:
        """Draw the corridor, and below it what the agent sees, where the robot covers the goal."""
        field, seen, x = self._seen(state, n)
        unit = min(UNIT, WIDEST // self.task.length // 2 * 2)
        view, edge = np.where(seen == GOAL, "G", "."), unit * self.task.length
        robot, event = (x, 0) if x < self.task.length else None, int(state["event"][n])
        strips = [paint(cells[None], edge, robot, RIGHT, event) for cells in (field, view)]
        return np.concatenate((strips[0], np.full((GAP, edge, 3), BESIDE, np.uint8), strips[1]))

    def text(self, state: State, n: int) -> str:
        """Write the corridor with the robot (>) and the goal (G), and the numbers that the agent sees of it."""
        field, seen, x = self._seen(state, n)
        field[x : x + 1] = ">"
        between = "   " if 2 * self.task.length + 3 <= LINE else "\n"
        shown = between.join(("".join(field), "".join(map(str, seen))))
        return f"{shown}\ntime {int(state['time'][n])} of {self.task.length}"


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
    """A corridor: `task` names the rules; every other setting that is not null replaces one of them (see `Task`)."""

    actions = ("try", "advance")

    task: TaskName
    length: Annotated[int, Field(gt=0, le=LONGEST)] | None
    goals: tuple[Count, ...] | None
    start: Count | None
    hidden_after: Count | None
    reward_goal: float | None
    reward_fail: float | None
    reward_move: float | None

    @property
    def rules(self) -> Task:
        """The named task with the settings that replace parts of it."""
        return replaced(TASKS[self.task], self)

    def max_steps(self) -> int | None:
        """Steps to the end of the corridor and off it."""
        return self.rules.length - self.rules.start

    def keys(self) -> dict[str, int]:
        """As in the original program."""
        return {"d": 0, "f": 1}

    def world(self, device: torch.device | str = "cpu") -> Corridor:
        """Make the rules."""
        return Corridor(self.rules, device=device)


def write_picture(folder: Path) -> None:
    """Write corridor.png, three moments of an episode: its start, one step later, its end at the goal."""
    world = CorridorSpec(task="L8g23", **dict.fromkeys(Task.__dataclass_fields__)).world()
    state = {**world.start(1), "goal": torch.tensor([2])}
    moments = []
    for action in (1, 1, 0, 0):
        moments.append(world.picture(state, 0))
        state, *_ = world.step(state, torch.tensor([action]))
    start, after_one_step, _, end = moments
    between = np.full((UNIT, start.shape[1], 3), 255, np.uint8)
    picture = np.concatenate((start, between, after_one_step, between, end))
    folder.mkdir(parents=True, exist_ok=True)
    png = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / "corridor.png"), png, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    write_picture(Path("docs/tasks"))
