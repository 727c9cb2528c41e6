"""Pictures of the exam tasks for exploration, in colours or as characters: the map on which visits are counted.

`python -m modules.envs.rendering.explore` writes docs/tasks/<task>.png, each task after a few steps.
"""

from pathlib import Path

import numpy as np
import torch

from modules.envs.base import UNCHANGED
from modules.envs.rendering.drawing import ARROWS, DOCS, cells, picture, save, single_episode, text, under
from modules.envs.worlds import explore
from modules.envs.worlds.explore_worlds import Explore
from modules.envs.worlds.world import FOUND, HIT, NOTHING, State

UNIT, WIDEST = 48, 1010  # pixels: of a cell at most, of a picture about
LINE = 80  # characters; of wider maps the part around the robot is written
SAID = {NOTHING: "", HIT: ", over", FOUND: ", found"}
SEED = 1  # of the pictures in the docs


@picture.register
def explore_picture(world: Explore, state: State, n: int) -> np.ndarray:
    """The map with the robot, green when it finds, red when it is too late; below it a bar of the time left."""
    one = single_episode(state, n)
    grid, (row, column) = world.field(one), robot(world, one)
    edge = min(WIDEST, UNIT * max(grid.shape))
    image = cells(grid, edge, (column, row), world.heading, int(one["event"]))
    return under(image, 1 - int(one["time"]) / world.steps)


@text.register
def explore_text(world: Explore, state: State, n: int) -> str:
    """The map with the robot as an arrow, and the time."""
    one = single_episode(state, n)
    grid, (row, column) = world.field(one).copy(), robot(world, one)
    grid[row, column] = ARROWS[world.heading]
    first = max(0, min(column - LINE // 2, grid.shape[1] - LINE))
    lines = ["".join(cells_of_row[first : first + LINE]) for cells_of_row in grid]
    return "\n".join([*lines, f"time {int(one['time'])} of {world.steps}{SAID[int(one['event'])]}"])


def robot(world: Explore, one: State) -> tuple[int, int]:
    """Row and column of the robot."""
    return divmod(int(world.cells(one)), world.grid_shape[1])


def write_all(folder: Path) -> None:
    """Write one picture per task, `<task>.png`, of an episode that is always the same."""
    corridor = explore.GoalCorridorSpec(length=20, horizon=40, mapping_seed=None, **UNCHANGED).world()
    sea = explore.DeepSeaSpec(size=10, mapping_seed=42, move_cost=0.01, **UNCHANGED).world()
    coin = explore.RandomCoinSpec(size=9, horizon=200, **UNCHANGED).world()
    chain = explore.DiscountingChainSpec(mapping_seed=4, **UNCHANGED).world()
    for name, world, action, steps in (
        ("goal_corridor", corridor, 1, 5),
        ("deep_sea", sea, 1, 6),
        ("random_coin", coin, 1, 2),
        ("discounting_chain", chain, 3, 12),
    ):
        world.seed(SEED)
        state = world.start(1)
        for _ in range(steps):
            state, *_ = world.step(state, torch.tensor([action]))
        save(folder, name, picture(world, state, 0))


if __name__ == "__main__":
    write_all(DOCS)
