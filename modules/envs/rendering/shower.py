"""Pictures of the shower, in colours or as characters.

`python -m modules.envs.rendering.shower` writes docs/tasks/shower.png, an episode after its first steps.
"""

from pathlib import Path

import cv2
import numpy as np

from modules.envs.base import UNCHANGED
from modules.envs.rendering import drawing
from modules.envs.rendering.drawing import picture, text
from modules.envs.worlds.shower import COLDER, WARMER, Shower, ShowerSpec
from modules.envs.worlds.world import FOUND, HIT, LEFT, NOTHING, RIGHT, UP, State

LONG = 680  # pixels: about the width of a picture
LABEL, SIZE = 30, 0.5  # pixels: height of the line of text; size of its letters
MARGIN = 5  # degrees that the scale shows beyond starts and comfort
HEADINGS = (LEFT, UP, RIGHT)  # of the robot, by the last action
SAID = ("", ", cost 1", ", paid 1")  # by what the last step did; it has drifted since
SEED = 1  # of the picture in the docs
MEANINGS = (
    (drawing.ROBOT[NOTHING], "temperature"),
    (drawing.ROBOT[FOUND], "that paid"),
    (drawing.ROBOT[HIT], "that cost"),
    (drawing.CELLS["g"], "comfortable; bar: time left"),
)


@picture.register
def shower_picture(world: Shower, state: State, n: int) -> np.ndarray:
    """The scale, cold on the left, the comfortable band light; a robot at the temperature; the time left below.

    The robot looks where it turned the tap last; it is green if that step paid, red if it cost.
    """
    one = drawing.single_episode(state, n)
    grid, place = scale(world, one)
    image = drawing.cells(grid, LONG, (place, 0), HEADINGS[int(one["said"])], int(one["event"]))
    label = np.full((LABEL, image.shape[1], 3), drawing.BESIDE, np.uint8)
    line = f"{int(one['temperature'])} degrees, {drawing.clock(one, world.task.horizon)}"
    place_of_line, white = (drawing.GAP, LABEL - 9), drawing.ROBOT[NOTHING]
    cv2.putText(label, line, place_of_line, cv2.FONT_HERSHEY_SIMPLEX, SIZE, white, 1, cv2.LINE_AA)
    return drawing.under(np.concatenate((image, label)), one, world.task.horizon)


@text.register
def shower_text(world: Shower, state: State, n: int) -> str:
    """The scale as characters: `=` comfortable, `<`, `^` or `>` the temperature after colder, stay or warmer."""
    one = drawing.single_episode(state, n)
    grid, place = scale(world, one)
    line = np.where(grid[0] == "g", "=", ".")
    line[place] = drawing.ARROWS[HEADINGS[int(one["said"])]]
    first, last = shown(world)
    below = f"{int(one['temperature'])} degrees, {drawing.clock(one, world.task.horizon, SAID)}"
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


def write_all(folder: Path) -> None:
    """Write `shower.png`, of an episode that is always the same."""
    rules = {**UNCHANGED, "noise": 1, "horizon": 60, "ends": "truncated", "observation": "scaled"}
    world = ShowerSpec(start=(35, 41), comfortable=(37, 39), **rules).world()  # pyright: ignore[reportArgumentType]
    turns = (WARMER, WARMER, WARMER, COLDER, COLDER, WARMER)
    drawing.save_after(folder, "shower", world, SEED, turns, MEANINGS)


if __name__ == "__main__":
    write_all(drawing.DOCS)
