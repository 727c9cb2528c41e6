"""Pictures of the shower, in colours or as characters.

`python -m modules.envs.rendering.shower` writes docs/tasks/shower.png, an episode after its first steps.
"""

from pathlib import Path

import cv2
import numpy as np
import torch

from modules.envs.base import UNCHANGED
from modules.envs.rendering.drawing import (
    ARROWS,
    BESIDE,
    DOCS,
    GAP,
    ROBOT,
    cells,
    picture,
    save,
    single_episode,
    text,
    under,
)
from modules.envs.worlds.shower import COLDER, WARMER, Shower, ShowerSpec
from modules.envs.worlds.world import FOUND, HIT, LEFT, NOTHING, RIGHT, UP, State

LONG = 680  # pixels: about the width of a picture
LABEL, SIZE = 30, 0.5  # pixels: height of the line of text; size of its letters
MARGIN = 5  # degrees that the scale shows beyond starts and comfort
HEADINGS = (LEFT, UP, RIGHT)  # of the robot, by the last action
SAID = {NOTHING: "", HIT: ", cost 1", FOUND: ", paid 1"}  # it has drifted since
SEED, STEPS = 1, 6  # of the picture in the docs


@picture.register
def shower_picture(world: Shower, state: State, n: int) -> np.ndarray:
    """The scale, cold on the left, the comfortable band light; a robot at the temperature; the time left below.

    The robot looks where it turned the tap last; it is green if that step paid, red if it cost.
    """
    one = single_episode(state, n)
    grid, place = scale(world, one)
    image = cells(grid, LONG, (place, 0), HEADINGS[int(one["said"])], int(one["event"]))
    label = np.full((LABEL, image.shape[1], 3), BESIDE, np.uint8)
    line = f"{int(one['temperature'])} degrees, {clock(world, one)}"
    cv2.putText(label, line, (GAP, LABEL - 9), cv2.FONT_HERSHEY_SIMPLEX, SIZE, ROBOT[NOTHING], 1, cv2.LINE_AA)
    return under(np.concatenate((image, label)), 1 - int(one["time"]) / world.task.horizon)


@text.register
def shower_text(world: Shower, state: State, n: int) -> str:
    """The scale as characters: `=` comfortable, `<`, `^` or `>` the temperature after colder, stay or warmer."""
    one = single_episode(state, n)
    grid, place = scale(world, one)
    line = np.where(grid[0] == "g", "=", ".")
    line[place] = ARROWS[HEADINGS[int(one["said"])]]
    first, last = shown(world)
    below = f"{int(one['temperature'])} degrees, {clock(world, one)}{SAID[int(one['event'])]}"
    return f"{first} {''.join(line)} {last}\n{below}"


def shown(world: Shower) -> tuple[int, int]:
    """Coldest and warmest degree of the scale."""
    ends = (*world.task.start, *world.task.comfortable)
    return min(ends) - MARGIN, max(ends) + MARGIN


def scale(world: Shower, one: State) -> tuple[np.ndarray, int]:
    """The scale as characters [1, degrees], `g` comfortable, and where the temperature is, at an end if beyond."""
    first, last = shown(world)
    degrees = np.arange(first, last + 1)
    low, high = world.task.comfortable
    grid = np.where((degrees >= low) & (degrees <= high), "g", ".")
    return grid[None], int(one["temperature"].clamp(first, last)) - first


def clock(world: Shower, one: State) -> str:
    """Steps so far."""
    return f"time {int(one['time'])} of {world.task.horizon}"


def write_all(folder: Path) -> None:
    """Write `shower.png`, of an episode that is always the same."""
    rules = {**UNCHANGED, "noise": 1, "horizon": 60, "ends": "truncated", "observation": "scaled"}
    world = ShowerSpec(start=(35, 41), comfortable=(37, 39), **rules).world()  # pyright: ignore[reportArgumentType]
    world.seed(SEED)
    state = world.start(1)
    for _ in range(STEPS):
        state, *_ = world.step(state, torch.tensor([WARMER if state["temperature"] < 38 else COLDER]))
    save(folder, "shower", picture(world, state, 0))


if __name__ == "__main__":
    write_all(DOCS)
