"""The rules of each grid tour, and which rules make no sense."""

from dataclasses import dataclass
from typing import Literal

from modules.envs.worlds.layouts import reachable, read_map
from modules.spec import Count, UsageError

Cell = tuple[Count, Count]
Maps = tuple[tuple[str, ...], ...]
WIDEST = 61  # cells; a row and its border are the bits of one integer


@dataclass(frozen=True, kw_only=True)
class Task:
    """Rules of one task.

    Attributes:
        maps: fixed maps, one of which is drawn per episode, rows of `#` wall, `G` goal, `S` start, `.` free; empty:
            random maps.
        size: width and height of random maps.
        start: where the robot starts on random maps, (x, y); y grows downwards.
        heading: 0 up, 1 left, 2 down, 3 right.
        goals: goals of random maps.
        walls: walls of random maps.
        sight: cells that the robot sees in each direction.
        max_time: steps of an episode at most.
        hidden_after: steps after which goals no longer show; 0 = they always show.
        reset_after_goal: whether a goal that is not the last moves the robot back to the start.
        erase_visited: whether a visited goal vanishes; otherwise it looks like an unvisited one.
        block_visited: whether a visited goal is like a wall (whether the others can then be reached is not checked).
        walls_show: whether the window has a part for walls.
        reward_goal: for entering an unvisited goal.
        reward_bump: for running into a wall or the border.
        reward_move: for any other step.
        reward_timeout: replaces the reward of the step that runs out of time.
    """

    maps: Maps = ()
    size: tuple[int, int] = (5, 5)
    start: Cell = (2, 2)
    heading: int = 0
    goals: int = 1
    walls: int = 0
    sight: int = 2
    max_time: int
    hidden_after: int = 0
    reset_after_goal: bool = False
    erase_visited: bool = False
    block_visited: bool = False
    walls_show: bool = True
    reward_goal: float = 1.0
    reward_bump: float = -0.2
    reward_move: float = -0.1
    reward_timeout: float = -0.2


RUIN = ("##G..", ".#..#", ".G..#", "###..", "#...S")
T_BOTH = ("#####", "G...G", "##.##", "##S##", "#####")
T_LEFT = ("#####", "#G..#", "##.##", "##S##", "#####")
T_RIGHT = ("#####", "#..G#", "##.##", "##S##", "#####")
T_LARGE = ("G...G", "##.##", "##.##", "##.##", "##S##")
TASKS = {
    "silent_ruin": Task(maps=(RUIN,), sight=2, max_time=25, erase_visited=True),
    "open_field": Task(sight=4, max_time=15, reset_after_goal=True, walls_show=False),
    "many_swamp": Task(size=(7, 7), start=(3, 3), goals=4, walls=4, sight=2, max_time=30, erase_visited=True),
    "tmaze_both": Task(maps=(T_BOTH,), sight=3, max_time=20, reset_after_goal=True),
    "tmaze_either": Task(maps=(T_LEFT, T_RIGHT), sight=2, max_time=5, hidden_after=2, reset_after_goal=True),
    "ruin_1swamp": Task(walls=8, sight=2, max_time=10, reset_after_goal=True),
    "ruin_2swamp": Task(goals=2, walls=8, sight=2, max_time=20, reset_after_goal=True),
    "tmaze_large": Task(maps=(T_LARGE,), sight=3, max_time=30, reset_after_goal=True),
    "mytask": Task(size=(10, 10), start=(4, 4), goals=5, walls=10, sight=3, max_time=200),
}
TaskName = Literal[
    "silent_ruin", "open_field", "many_swamp", "tmaze_both", "tmaze_either", "ruin_1swamp", "ruin_2swamp",
    "tmaze_large", "mytask",
]  # fmt: skip


def refuse_nonsense(task: Task) -> None:
    """Raise `UsageError` for rules under which no episode can be played."""
    width, height = task.size
    widest = max(width, height, *(len(row) for rows in task.maps for row in rows))
    if widest > WIDEST:
        raise UsageError(f"env: a field may be up to {WIDEST} cells wide and, if random, high, not {widest}")
    if task.maps:
        for rows in task.maps:
            cells, start = read_map(rows)
            height, width = cells.shape
            if not reachable(cells.unsqueeze(0), start, original=False):
                raise UsageError(f"env.maps: no path leads from S to every G in {list(rows)}")
    else:
        (x, y), free = task.start, width * height - 1
        if x >= width or y >= height:
            raise UsageError(f"env.start: {list(task.start)} is outside the field of {width} x {height} cells")
        if task.goals + task.walls > free:
            raise UsageError(
                f"env.goals={task.goals} and env.walls={task.walls} need {task.goals + task.walls} cells, but a field "
                f"of {width} x {height} has {free} beside the start"
            )
    if task.sight >= max(width, height):
        raise UsageError(f"env.sight={task.sight} must be smaller than the field of {width} x {height} cells")
