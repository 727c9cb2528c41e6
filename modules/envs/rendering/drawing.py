"""How pictures of the small worlds are drawn: a grid of characters as cells, a robot, the time left."""

from collections.abc import Iterable, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from modules.envs.worlds.world import FOUND, HIT, NOTHING, State, World

Colour = tuple[int, int, int]  # red, green, blue
Legend = Sequence[tuple[Colour, str]]  # what colours mean
INK: Colour = (24, 26, 30)
PAPER: Colour = (255, 255, 255)
FREE: Colour = (172, 176, 184)
BESIDE: Colour = (88, 92, 100)  # where no cell is
CELLS: dict[str, Colour] = {".": FREE, "#": (48, 52, 60), "G": (32, 84, 204), "g": (150, 192, 244)}
ROBOT: dict[int, Colour] = {NOTHING: (255, 255, 255), HIT: (222, 44, 36), FOUND: (40, 176, 72)}
ARROWS = "^<v>"  # the robot in texts, by heading
AHEAD = ((0, -1), (-1, 0), (0, 1), (1, 0))  # x, y of one cell further, by heading
HIGH, HIGHEST = 28, 300  # pixels: of cells that would be low, of all their rows
GAP, BAR = 12, 12  # pixels: what is between two parts of a picture, height of the bar of the time left; even
DOCS = Path("docs/tasks")  # where the pictures of the docs lie


@singledispatch
def picture(world: Any, state: State, n: int) -> np.ndarray:
    """Draw episode `n` of a world, [H, W, 3] of uint8; H and W are even and never change.

    Each world's is registered in its own file here; one of your own by `picture.register`.
    """
    del state, n
    raise NotImplementedError(f"no picture of {type(world).__name__} is registered")


@singledispatch
def text(world: Any, state: State, n: int) -> str:
    """Write episode `n` in characters; registered likewise."""
    del state, n
    raise NotImplementedError(f"no text of {type(world).__name__} is registered")


def single_episode(state: State, n: int) -> State:
    """Episode `n` alone."""
    return {key: value[n : n + 1] for key, value in state.items()}


def paint(
    grid: np.ndarray, edge: int, robot: tuple[int, int] | None, heading: int, event: int, height: int = 0
) -> np.ndarray:
    """Draw characters as cells, as large as fits into `edge` pixels, and the robot with its heading.

    Cells are squares unless their `height` in pixels is greater than their width.
    """
    rows, columns = grid.shape
    wide = edge // max(rows, columns)
    unit = max(wide, height)
    image = np.full((rows * unit, columns * wide, 3), INK, np.uint8)
    for (y, x), cell in np.ndenumerate(grid):
        image[y * unit : (y + 1) * unit - 1, x * wide : (x + 1) * wide - 1] = CELLS[cell]  # a line stays between cells
    if robot is not None:
        centre = np.array(robot) * (wide, unit) + (np.array((wide, unit)) - 1) / 2
        ahead = np.array(AHEAD[heading])
        across = ahead[::-1]
        nose = [centre + ahead * unit * 0.34, centre + across * unit * 0.16, centre - across * unit * 0.16]
        middle = (int(centre[0]), int(centre[1]))
        cv2.circle(image, middle, max(1, int(unit * 0.38)), ROBOT[event], cv2.FILLED)
        cv2.fillConvexPoly(image, np.rint(nose).astype(np.int32), INK)
    return image


def cells(grid: np.ndarray, edge: int, robot: tuple[int, int] | None, heading: int, event: int) -> np.ndarray:
    """Paint with cells of an even size, so that the picture's edges are even too; a few long rows with high ones."""
    most = max(grid.shape)
    unit = max(2, edge // most // 2 * 2)
    return paint(grid, unit * most, robot, heading, event, min(HIGH, HIGHEST // len(grid) // 2 * 2))


def clock(one: State, steps: int, said: Sequence[str] = ("", "", "")) -> str:
    """Write the time, and what the last step did: nothing, hit or found in the words of `said`."""
    return f"time {int(one['time'])} of {steps}{said[int(one['event'])]}"


def under(image: np.ndarray, one: State, steps: int) -> np.ndarray:
    """Put a bar of the time left below a picture."""
    width, left = image.shape[1], 1 - int(one["time"]) / steps
    bar = np.full((BAR, width, 3), INK, np.uint8)
    bar[:, : round(width * left)] = CELLS["g"]
    return np.concatenate((image, np.full((GAP, width, 3), BESIDE, np.uint8), bar))


def legend(width: int, meanings: Legend) -> np.ndarray:
    """Say in words what colours mean, in as many lines as that takes, [H, width, 3]."""
    font, size = cv2.FontFace("sans"), 13 * max(1, round(width / 700))
    lines, x, y = [], 0, 0
    for colour, words in meanings:
        wide = cv2.getTextSize((0, 0), words, (0, 0), font, size, 400)[2] + 3 * size
        if x and x + wide > width:
            x, y = 0, y + 2 * size
        lines.append((x, y, colour, words))
        x += wide
    image = np.full((y + 2 * size, width, 3), PAPER, np.uint8)
    for x, y, colour, words in lines:
        corner, end = (x + size // 3, y + size // 2), (x + size // 3 + size, y + size // 2 + size)
        cv2.rectangle(image, corner, end, colour, cv2.FILLED)
        cv2.rectangle(image, corner, end, BESIDE, 1)
        cv2.putText(image, words, (x + 2 * size - size // 3, y + size // 2 + size - 1), INK, font, size, 400)
    return image


def save(folder: Path, name: str, image: np.ndarray, meanings: Legend = ()) -> None:
    """Write a picture [H, W, 3] as `folder`/`name`.png, with what colours mean below it."""
    if meanings:
        image = np.concatenate((image, legend(image.shape[1], meanings)))
    folder.mkdir(parents=True, exist_ok=True)
    image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / f"{name}.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 9])


def save_after(
    folder: Path, name: str, world: World, seed: int, actions: Iterable[int] = (), meanings: Legend = ()
) -> None:
    """Write the picture after some actions in the first episode of a seed, as `save` does."""
    world.seed(seed)
    state = world.start(1)
    for action in actions:
        state, *_ = world.step(state, torch.tensor([action]))
    save(folder, name, picture(world, state, 0), meanings)
