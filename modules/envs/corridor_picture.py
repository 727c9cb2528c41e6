"""Pictures of a corridor, in colours or as characters: the corridor, and what the agent sees of it.

`python -m modules.envs.corridor_picture` writes docs/tasks/corridor.png.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from modules.envs.drawing import ARROWS, BESIDE, DOCS, GAP, RIGHT, only, paint, save
from modules.envs.world import State

if TYPE_CHECKING:  # it imports this file
    from modules.envs.corridor import Corridor

UNIT, SMALLEST = 48, 4  # pixels of a cell, even: usually, in long corridors
WIDEST = 1920  # pixels of a picture
LONGEST = WIDEST // SMALLEST  # cells
LINE = 80  # characters, for the corridor and the agent's view side by side


def read(world: "Corridor", state: State, n: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Episode `n`: the corridor as characters [length], what the agent sees of it [length], the robot's cell."""
    one = only(state, n)
    field = np.full(world.task.length, ".")
    if world.shows(one):
        field[int(one["goal"])] = "G"
    return field, world.observe(one)[0].cpu().numpy(), int(one["position"])


def picture(world: "Corridor", state: State, n: int) -> np.ndarray:
    """The corridor, below it the agent's view, [H, W, 3] of uint8; a robot that has walked off is not there."""
    from modules.envs.corridor import GOAL  # it imports this file

    field, seen, x = read(world, state, n)
    length = world.task.length
    unit = min(UNIT, WIDEST // length // 2 * 2)
    view, edge = np.where(seen == GOAL, "G", "."), unit * length
    robot, event = (x, 0) if x < length else None, int(state["event"][n])
    strips = [paint(cells[None], edge, robot, RIGHT, event) for cells in (field, view)]
    return np.concatenate((strips[0], np.full((GAP, edge, 3), BESIDE, np.uint8), strips[1]))


def text(world: "Corridor", state: State, n: int) -> str:
    """The corridor as characters, the agent's view as numbers, and the time."""
    field, seen, x = read(world, state, n)
    field[x : x + 1] = ARROWS[RIGHT]
    between = "   " if 2 * world.task.length + 3 <= LINE else "\n"
    shown = between.join(("".join(field), "".join(map(str, seen))))
    return f"{shown}\ntime {int(state['time'][n])} of {world.task.length}"


def write_all(folder: Path) -> None:
    """Write `corridor.png`, three moments of an episode: its start, one step later, its end at the goal."""
    from modules.envs.corridor import TASKS, Corridor  # it imports this file

    world = Corridor(TASKS["L8g23"], device="cpu")
    state = {**world.start(1), "goal": torch.tensor([2])}
    moments = []
    for action in (1, 1, 0, 0):
        moments.append(world.picture(state, 0))
        state, *_ = world.step(state, torch.tensor([action]))
    start, after_one_step, _, end = moments
    between = np.full((UNIT, start.shape[1], 3), 255, np.uint8)
    save(folder, "corridor", np.concatenate((start, between, after_one_step, between, end)))


if __name__ == "__main__":
    write_all(DOCS)
