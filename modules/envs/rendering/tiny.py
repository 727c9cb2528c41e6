"""Pictures of the tiny exam tasks, in colours or as characters; like the agents, they hide what must be remembered.

`python -m modules.envs.rendering.tiny` writes docs/tasks/<task>.png, each task after its first steps.
"""

from pathlib import Path

import numpy as np

from modules.envs.base import UNCHANGED
from modules.envs.rendering.drawing import (
    CELLS,
    DOCS,
    ROBOT,
    cells,
    clock,
    picture,
    save_after,
    single_episode,
    text,
    under,
)
from modules.envs.worlds import tiny
from modules.envs.worlds.tiny import MemoryLen, PassiveTmaze, RepeatPrevious
from modules.envs.worlds.world import DOWN, FOUND, HIT, NOTHING, RIGHT, UP, State

EDGE, LONG = 240, 480  # pixels: about the longer edge of a picture, of the maze's
SUIT_NAMES = "CDHS"
VERDICT = ("", ", wrong", ", right")  # by what the last step earned
SEED = 2  # of the pictures in the docs


@picture.register
def memory_len(world: MemoryLen, state: State, n: int) -> np.ndarray:
    """Bits in columns: the upper cell is 1, the lower 0; light cells are asked for; a robot says the answer."""
    one = single_episode(state, n)
    _, first, last = world.shows(one)
    query, said, event = (int(one[key]) for key in ("query", "said", "event"))
    grid = np.full((2, world.task.bits), ".")
    if last:
        grid[:, query] = "g"
    if first:
        grid[1 - one["bits"][0].cpu().numpy(), np.arange(world.task.bits)] = "G"
    robot = (query, 1 - said) if event else None
    return under(cells(grid, EDGE, robot, RIGHT, event), one, world.task.length + 1)


@text.register
def memory_len_text(world: MemoryLen, state: State, n: int) -> str:
    """Bits as + and −, below them ^ where one is asked for."""
    one = single_episode(state, n)
    _, first, last = world.shows(one)
    bits = "".join("+" if bit else "-" for bit in one["bits"][0].tolist()) if first else "." * world.task.bits
    mark = " " * int(one["query"]) + "^" if last else ""
    return f"{bits}\n{mark}\n{clock(one, world.task.length + 1, VERDICT)}"


@picture.register
def passive_tmaze(world: PassiveTmaze, state: State, n: int) -> np.ndarray:
    """The maze; red is a robot that is late or lost, green one that has arrived."""
    grid, (x, y) = maze(world, single_episode(state, n))
    heading = {-1: DOWN, 0: RIGHT, 1: UP}[1 - y]
    return cells(grid, LONG, (x, y), heading, int(state["event"][n]))


@text.register
def passive_tmaze_text(world: PassiveTmaze, state: State, n: int) -> str:
    """The maze, with > for the robot."""
    one = single_episode(state, n)
    grid, (x, y) = maze(world, one)
    grid[y, x] = ">"
    return "\n".join(["".join(row) for row in grid] + [clock(one, world.task.length + 1, VERDICT)])


def maze(world: PassiveTmaze, one: State) -> tuple[np.ndarray, tuple[int, int]]:
    """The map as characters [3, length + 1], above is y = 1; the robot's column and row on it."""
    grid = np.full((3, world.task.length + 1), "#")
    grid[1, :] = grid[:, -1] = "."
    if int(one["time"]) == 0:
        grid[1 - int(one["goal"]), -1] = "G"
    return grid, (int(one["x"]), 1 - int(one["y"]))


@picture.register
def repeat_previous(world: RepeatPrevious, state: State, n: int) -> np.ndarray:
    """Above the suit that shows; below a robot at the suit that was said, green if right, red if wrong."""
    one = single_episode(state, n)
    grid = np.stack((np.full(len(SUIT_NAMES), "."), np.full(len(SUIT_NAMES), "#")))
    grid[0, int(world.card(one))] = "G"
    said = int(one["said"])
    robot = (said, 1) if said >= 0 else None
    return under(cells(grid, EDGE, robot, UP, int(one["event"])), one, world.task.length)


@text.register
def repeat_previous_text(world: RepeatPrevious, state: State, n: int) -> str:
    """Suits as letters."""
    one = single_episode(state, n)
    said = int(one["said"])
    answer = SUIT_NAMES[said] if said >= 0 else "."
    return f"card {SUIT_NAMES[int(world.card(one))]}, said {answer}\n{clock(one, world.task.length, VERDICT)}"


def write_all(folder: Path) -> None:
    """Write one picture per task, `<task>.png`, of an episode that is always the same."""
    chain = tiny.MemoryLenSpec(length=10, bits=1, **UNCHANGED)
    tmaze = tiny.PassiveTmazeSpec(length=10, reward_goal=1.0, penalty=1.0, **UNCHANGED)
    cards = tiny.RepeatPreviousSpec(k=2, length=51, **UNCHANGED)
    left = (CELLS["g"], "bar: time left")
    maze = ((ROBOT[NOTHING], "robot"), (CELLS["G"], "cue, at the start"), (CELLS["#"], "wall"))
    said = ((CELLS["G"], "suit that shows"), (ROBOT[FOUND], "answer: right"), (ROBOT[HIT], "wrong"))
    save_after(folder, "memory_len", chain.world(), SEED, (), ((CELLS["G"], "up 1, down 0"), left))
    save_after(folder, "passive_tmaze", tmaze.world(), SEED, (), maze)
    save_after(folder, "repeat_previous", cards.world(), SEED, (1, 1), (*said, left))


if __name__ == "__main__":
    write_all(DOCS)
