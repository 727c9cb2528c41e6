"""Pictures of a tour: the field beside what the agent sees, in colours or as characters.

`python -m modules.envs.rendering.tour` writes docs/tasks/<task>.png, each task at its start.
"""

from itertools import zip_longest
from pathlib import Path

import numpy as np

from modules.envs.rendering import drawing
from modules.envs.rendering.drawing import picture, text
from modules.envs.worlds.layouts import FRESH, GOAL, WALL
from modules.envs.worlds.tour import Tour
from modules.envs.worlds.tour_tasks import TASKS
from modules.envs.worlds.world import NOTHING, UP, State

PANEL = 240  # pixels: a panel's edge at least; even
SEED = 3  # of the maps in the docs
MEANINGS = (
    (drawing.ROBOT[NOTHING], "robot: on the field, and in what it sees of goals and of walls"),
    (drawing.CELLS["G"], "goal"),
    (drawing.CELLS["#"], "wall"),
)


def read(tour: Tour, one: State) -> tuple[np.ndarray, tuple[int, int], list[np.ndarray]]:
    """One episode's map [H, W], the robot's (x, y) on it, and the parts of its window, [side, side] each.

    All are characters, `.` free, `#` wall, `G` goal, `g` visited goal; while goals are hidden, the map has none. The
    window's goals come before its walls.
    """
    s, hidden_after = tour.task.sight, tour.task.hidden_after
    cells = one["cells"].cpu().numpy().reshape(tour.height, tour.width)[s:-s, s:-s]
    field = np.where(cells & WALL, "#", ".")
    if not hidden_after or int(one["time"]) < hidden_after:
        field[(cells & GOAL) != 0] = "g"
        field[(cells & FRESH) != 0] = "G"
    y, x = divmod(int(one["position"]), tour.width)
    seen = tour.observe(one)[0].cpu().numpy()
    parts = np.split(seen, seen.shape[1] // seen.shape[0], axis=1)
    return field, (x - s, y - s), [np.where(part, mark, ".") for part, mark in zip(parts, "G#", strict=False)]


@picture.register
def tour_picture(tour: Tour, state: State, n: int) -> np.ndarray:
    """Draw the field, and beside it the parts of the agent's window, [H, W, 3] of uint8; H and W are even."""
    one = drawing.single_episode(state, n)
    field, robot, views = read(tour, one)
    event, middle = int(one["event"]), (tour.task.sight, tour.task.sight)
    edge = max(PANEL, *(2 * max(grid.shape) for grid in (field, *views)))
    panels = [drawing.paint(field, edge, robot, int(one["heading"]), event)]
    panels += [drawing.paint(view, edge, middle, UP, event) for view in views]
    slot = edge + drawing.GAP
    picture = np.full((edge, len(panels) * slot - drawing.GAP, 3), drawing.INK, np.uint8)
    for i, panel in enumerate(panels):
        height, width = panel.shape[:2]
        y, x = (edge - height) // 2, i * slot + (edge - width) // 2
        picture[:, i * slot : i * slot + edge] = drawing.BESIDE
        picture[y : y + height, x : x + width] = panel
    return picture


@text.register
def tour_text(tour: Tour, state: State, n: int) -> str:
    """Write the map with the robot (^ < v >), beside it the window as the agent sees it, below it time and goals."""
    one = drawing.single_episode(state, n)
    field, (x, y), (view, *others) = read(tour, one)
    field[y, x] = drawing.ARROWS[int(one["heading"])]
    for walls in others:
        view[walls == "#"] = "#"
    view[tour.task.sight, tour.task.sight] = drawing.ARROWS[UP]
    return f"{beside(field, view)}\n{drawing.clock(one, tour.task.max_time)}, goals left {int(one['left'])}"


def beside(left: np.ndarray, right: np.ndarray) -> str:
    """Write two grids of characters next to each other."""
    rows = zip_longest(map("".join, left), map("".join, right), fillvalue="")
    return "\n".join(f"{a:<{left.shape[1]}}   {b}".rstrip() for a, b in rows)


def write_all(folder: Path) -> None:
    """Write one picture per task, `<task>.png`, of its start on a map that is always the same."""
    for name, task in TASKS.items():
        drawing.save_after(
            folder, name, Tour(task, "original", timeout_replaces=True, device="cpu"), SEED, (), MEANINGS
        )


if __name__ == "__main__":
    write_all(drawing.DOCS)
