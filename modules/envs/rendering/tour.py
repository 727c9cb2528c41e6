"""Pictures of a tour: the field beside what the agent sees, in colours or as characters.

`python -m modules.envs.rendering.tour` writes docs/tasks/<task>.png, each task at its start.
"""

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from modules.envs.rendering.drawing import ARROWS, BESIDE, DOCS, GAP, INK, paint, picture, save, single_episode, text
from modules.envs.worlds.layouts import FRESH, GOAL, WALL
from modules.envs.worlds.tour import Tour
from modules.envs.worlds.tour_tasks import TASKS
from modules.envs.worlds.world import UP, State

PANEL = 240  # pixels: a panel's edge at least; even
SEED = 3  # of the maps in the docs


@dataclass(frozen=True)
class Scene:
    """One moment: grids of characters, `.` free, `#` wall, `G` goal, `g` visited goal.

    Attributes:
        field: the map, [H, W]; without goals while they are hidden.
        robot: where the robot is on it, (x, y).
        heading: 0 up, 1 left, 2 down, 3 right.
        event: what the last step did.
        views: the parts of the window, goals and then walls, [side, side] each.
    """

    field: np.ndarray
    robot: tuple[int, int]
    heading: int
    event: int
    views: list[np.ndarray]


def scene(tour: Tour, state: State, n: int) -> Scene:
    """Read episode `n` off its state."""
    one = single_episode(state, n)
    s, hidden_after = tour.task.sight, tour.task.hidden_after
    cells = one["cells"].cpu().numpy().reshape(tour.height, tour.width)[s:-s, s:-s]
    field = np.where(cells & WALL, "#", ".")
    if not hidden_after or int(one["time"]) < hidden_after:
        field[(cells & GOAL) != 0] = "g"
        field[(cells & FRESH) != 0] = "G"
    y, x = divmod(int(one["position"]), tour.width)
    seen = tour.observe(one)[0].cpu().numpy()
    parts = np.split(seen, seen.shape[1] // seen.shape[0], axis=1)
    return Scene(
        field=field,
        robot=(x - s, y - s),
        heading=int(one["heading"]),
        event=int(one["event"]),
        views=[np.where(part, mark, ".") for part, mark in zip(parts, "G#", strict=False)],
    )


@picture.register
def tour_picture(tour: Tour, state: State, n: int) -> np.ndarray:
    """Draw the field, and beside it the parts of the agent's window, [H, W, 3] of uint8; H and W are even."""
    now, middle = scene(tour, state, n), (tour.task.sight, tour.task.sight)
    edge = max(PANEL, *(2 * max(grid.shape) for grid in (now.field, *now.views)))
    panels = [paint(now.field, edge, now.robot, now.heading, now.event)]
    panels += [paint(view, edge, middle, UP, now.event) for view in now.views]
    picture = np.full((edge, len(panels) * (edge + GAP) - GAP, 3), INK, np.uint8)
    for i, panel in enumerate(panels):
        height, width = panel.shape[:2]
        y, x = (edge - height) // 2, i * (edge + GAP) + (edge - width) // 2
        picture[:, i * (edge + GAP) : i * (edge + GAP) + edge] = BESIDE
        picture[y : y + height, x : x + width] = panel
    return picture


@text.register
def tour_text(tour: Tour, state: State, n: int) -> str:
    """Write the map with the robot (^ < v >), beside it the window as the agent sees it, below it time and goals."""
    now = scene(tour, state, n)
    field, view = now.field.copy(), now.views[0].copy()
    x, y = now.robot
    field[y, x] = ARROWS[now.heading]
    for walls in now.views[1:]:
        view[walls == "#"] = "#"
    view[tour.task.sight, tour.task.sight] = ARROWS[UP]
    below = f"time {int(state['time'][n])} of {tour.task.max_time}, goals left {int(state['left'][n])}"
    return f"{beside(field, view)}\n{below}"


def beside(left: np.ndarray, right: np.ndarray) -> str:
    """Write two grids of characters next to each other."""
    rows = zip_longest(map("".join, left), map("".join, right), fillvalue="")
    return "\n".join(f"{a:<{left.shape[1]}}   {b}".rstrip() for a, b in rows)


def write_all(folder: Path) -> None:
    """Write one picture per task, `<task>.png`, of its start on a map that is always the same."""
    for name, task in TASKS.items():
        tour = Tour(task, "original", timeout_replaces=True, device="cpu")
        tour.seed(SEED)
        save(folder, name, picture(tour, tour.start(1), 0))


if __name__ == "__main__":
    write_all(DOCS)
