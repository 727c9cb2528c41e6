"""Pictures of a corridor, in colours or as characters: the corridor, and what the agent sees of it.

`python -m modules.envs.rendering.corridor` writes docs/tasks/corridor.png.
"""

from pathlib import Path

import numpy as np
import torch

from modules.envs.rendering.drawing import (
    ARROWS,
    BESIDE,
    CELLS,
    DOCS,
    GAP,
    ROBOT,
    clock,
    paint,
    picture,
    save,
    single_episode,
    text,
)
from modules.envs.worlds.corridor import GOAL, TASKS, Corridor
from modules.envs.worlds.world import FOUND, NOTHING, RIGHT, State

UNIT, SMALLEST = 48, 4  # pixels of a cell, even: usually, in long corridors
WIDEST = 1920  # pixels of a picture
LONGEST = WIDEST // SMALLEST  # cells that are shown
LINE = 80  # characters, for the corridor and the agent's view side by side


def read(world: Corridor, one: State) -> tuple[np.ndarray, np.ndarray, int]:
    """One episode: the corridor as characters, what the agent sees of it, the robot's cell; of long ones a part."""
    field = np.full(world.task.length, ".")
    if world.shows(one):
        field[int(one["goal"])] = "G"
    seen, x = world.observe(one)[0].cpu().numpy(), int(one["position"])
    first = max(0, min(x - LONGEST // 2, len(field) - LONGEST))
    return field[first : first + LONGEST], seen[first : first + LONGEST], x - first


@picture.register
def corridor_picture(world: Corridor, state: State, n: int) -> np.ndarray:
    """The corridor, below it the agent's view, [H, W, 3] of uint8; a robot that has walked off is not there."""
    one = single_episode(state, n)
    field, seen, x = read(world, one)
    length = len(field)
    unit = min(UNIT, WIDEST // length // 2 * 2)
    view, edge = np.where(seen == GOAL, "G", "."), unit * length
    robot, event = (x, 0) if x < length else None, int(one["event"])
    strips = [paint(cells[None], edge, robot, RIGHT, event) for cells in (field, view)]
    return np.concatenate((strips[0], np.full((GAP, edge, 3), BESIDE, np.uint8), strips[1]))


@text.register
def corridor_text(world: Corridor, state: State, n: int) -> str:
    """The corridor as characters, the agent's view as numbers, and the time."""
    one = single_episode(state, n)
    field, seen, x = read(world, one)
    field[x : x + 1] = ARROWS[RIGHT]
    between = "   " if 2 * len(field) + 3 <= LINE else "\n"
    shown = between.join(("".join(field), "".join(map(str, seen))))
    return f"{shown}\n{clock(one, world.task.length)}"


def write_all(folder: Path) -> None:
    """Write `corridor.png`, three moments of an episode: its start, one step later, its end at the goal."""
    world = Corridor(TASKS["L8g23"], device="cpu")
    state = {**world.start(1), "goal": torch.tensor([2])}
    moments = []
    for action in (1, 1, 0, 0):
        moments.append(picture(world, state, 0))
        state, *_ = world.step(state, torch.tensor([action]))
    start, after_one_step, _, end = moments
    between = np.full((UNIT, start.shape[1], 3), 255, np.uint8)
    meanings = ((ROBOT[NOTHING], "robot"), (ROBOT[FOUND], "robot at the goal"), (CELLS["G"], "goal, while it shows"))
    moments = np.concatenate((start, between, after_one_step, between, end, between[:GAP]))
    save(folder, "corridor", moments, meanings)


if __name__ == "__main__":
    write_all(DOCS)
