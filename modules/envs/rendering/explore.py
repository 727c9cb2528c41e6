"""Pictures of the exam tasks for exploration, in colours or as characters: the map on which visits are counted.

`python -m modules.envs.rendering.explore` writes docs/tasks/<task>.png, each task after a few steps.
"""

from pathlib import Path

import numpy as np

from modules.envs.base import UNCHANGED
from modules.envs.rendering.drawing import (
    ARROWS,
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
from modules.envs.worlds import explore
from modules.envs.worlds.explore_worlds import Explore
from modules.envs.worlds.world import NOTHING, State

UNIT, WIDEST = 48, 1010  # pixels: of a cell at most, of a picture about
LINE = 80  # characters; of wider maps the part around the robot is written
SAID = ("", ", over", ", found")  # by what the last step did
SEED = 1  # of the pictures in the docs


@picture.register
def explore_picture(world: Explore, state: State, n: int) -> np.ndarray:
    """The map with the robot, green when it finds, red when it is too late; below it a bar of the time left."""
    one = single_episode(state, n)
    grid, (row, column) = world.field(one), robot(world, one)
    edge = min(WIDEST, UNIT * max(grid.shape))
    return under(cells(grid, edge, (column, row), world.heading, int(one["event"])), one, world.steps)


@text.register
def explore_text(world: Explore, state: State, n: int) -> str:
    """The map with the robot as an arrow, and the time."""
    one = single_episode(state, n)
    grid, (row, column) = world.field(one).copy(), robot(world, one)
    grid[row, column] = ARROWS[world.heading]
    first = max(0, min(column - LINE // 2, grid.shape[1] - LINE))
    lines = ["".join(cells_of_row[first : first + LINE]) for cells_of_row in grid]
    return "\n".join([*lines, clock(one, world.steps, SAID)])


def robot(world: Explore, one: State) -> tuple[int, int]:
    """Row and column of the robot."""
    return divmod(int(world.cells(one)), world.grid_shape[1])


def write_all(folder: Path) -> None:
    """Write one picture per task, `<task>.png`, of an episode that is always the same."""
    corridor = explore.GoalCorridorSpec(length=20, horizon=40, mapping_seed=None, **UNCHANGED)
    sea = explore.DeepSeaSpec(size=10, mapping_seed=42, move_cost=0.01, **UNCHANGED)
    coin = explore.RandomCoinSpec(size=9, horizon=200, **UNCHANGED)
    chain = explore.DiscountingChainSpec(mapping_seed=4, **UNCHANGED)
    pays, left = (CELLS["G"], "pays"), (CELLS["g"], "bar: time left")
    wall = (CELLS["#"], "out of reach")
    robots = ((ROBOT[NOTHING], "robot"),)
    chains = ((CELLS["G"], "pays most"), (CELLS["g"], "pays; bar: time left"), (CELLS["#"], "before the choice"))
    save_after(folder, "goal_corridor", corridor.world(), SEED, [1] * 5, (*robots, pays, left))
    save_after(folder, "deep_sea", sea.world(), SEED, [1] * 6, (*robots, pays, wall, left))
    save_after(folder, "random_coin", coin.world(), SEED, [1] * 2, (*robots, pays, left))
    save_after(folder, "discounting_chain", chain.world(), SEED, [3] * 12, (*robots, *chains))


if __name__ == "__main__":
    write_all(DOCS)
