"""Grid maps: fixed ones, and random ones whose goals can be reached."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from modules.spec import UsageError

GOAL, WALL, FRESH = 1, 2, 4  # bits of a cell: a goal that shows, a wall, a goal not yet visited
BATCH = 4096  # random maps drawn at once
PATIENCE = 50  # batches without a single map that can be solved, then it is given up


@dataclass(frozen=True)
class Ruins:
    """Recipe of random maps: distinct cells, none of them the start, become goals and walls."""

    width: int
    height: int
    start: tuple[int, int]
    goals: int
    walls: int


def read_map(rows: Sequence[str]) -> tuple[Tensor, tuple[int, int]]:
    """Read `#` wall, `G` goal, `S` start, `.` free: cells [H, W] and the start (x, y)."""
    bits = {"#": WALL, "G": GOAL | FRESH, "S": 0, ".": 0}
    if len({len(row) for row in rows}) != 1 or set("".join(rows)) - set(bits):
        raise UsageError(f"env.maps: rows of equal length of the characters # G S . are needed, not {list(rows)}")
    starts = [(x, y) for y, row in enumerate(rows) for x, cell in enumerate(row) if cell == "S"]
    if len(starts) != 1 or "G" not in "".join(rows):
        raise UsageError(f"env.maps: exactly one S and at least one G are needed in {list(rows)}")
    return torch.tensor([[bits[cell] for cell in row] for row in rows], dtype=torch.uint8), starts[0]


def to_bits(cells: Tensor) -> list[Tensor]:
    """Turn [M, H, W] booleans into H integers [M]; column x is bit x."""
    place = torch.arange(cells.shape[2], device=cells.device)
    return list((cells.long() << place).sum(-1).unbind(1))


def swept(free: list[Tensor], goals: list[Tensor], start: tuple[int, int], width: int) -> list[Tensor]:
    """Goals that the original program's check does not find, H integers [M]; it gives up early.

    It sweeps row by row, left to right; each open cell opens its free neighbours, those beyond the border too, which
    open nothing. A goal is only counted at the first touch and opened at the second. What the LAST open cell of a
    sweep did decides whether there is another sweep, whatever the others did.
    """
    x, y = start
    columns = ((1 << width) - 1) << 1  # bit c + 1 is column c
    border = torch.full_like(free[0], (1 << (width + 2)) - 1)
    blank = [border, *((f & ~g) << 1 | border & ~columns for f, g in zip(free, goals, strict=True)), border.clone()]
    fresh = [torch.zeros_like(border), *(g << 1 for g in goals), torch.zeros_like(border)]
    seen = [torch.zeros_like(border) for _ in blank]
    opened = [torch.zeros_like(border) for _ in blank]
    opened[y + 1] = opened[y + 1] | (2 << x)
    blank[y + 1] = blank[y + 1] & ~(2 << x)
    again = torch.ones_like(border, dtype=torch.bool)

    def touch(row: int, by: Tensor) -> None:
        """Open blank and seen cells of `row`, see fresh goals."""
        opened[row] = opened[row] | (by & (blank[row] | seen[row]))
        seen[row] = (seen[row] & ~by) | (fresh[row] & by)
        blank[row], fresh[row] = blank[row] & ~by, fresh[row] & ~by

    while again.any():
        changed = torch.zeros_like(again)
        for r in range(1, len(blank) - 1):
            active = opened[r] & columns & -again.long()
            for _ in range(width - 1):  # what a cell opens to its right is swept in the same row
                active = active | ((blank[r] | seen[r]) & columns & (active << 1) & -again.long())
            left = (blank[r] & ~active) | (fresh[r] & ~(active << 1))
            news = blank[r - 1] | fresh[r - 1] | blank[r + 1] | fresh[r + 1] | (left << 1)
            news = active & (news | ((blank[r] | fresh[r]) >> 1))
            changed = torch.where(active != 0, (news << 1) > active, changed)  # has the highest bit news?
            touch(r - 1, active)
            touch(r, active << 1)
            touch(r, active >> 1)
            touch(r + 1, active)
        again = again & changed
    return [row >> 1 for row in fresh[1:-1]]


def flood_fill(free: list[Tensor], seed_row: int, seed_column: int) -> list[Tensor]:
    """Reach everything that is connected with the seed."""
    reach = [torch.zeros_like(row) for row in free]
    reach[seed_row] = reach[seed_row] | (1 << seed_column)
    while True:
        old = list(reach)
        for order in (range(len(free)), reversed(range(len(free)))):
            for y in order:
                row = reach[y] | (reach[y] << 1) | (reach[y] >> 1)
                for near in (y - 1, y + 1):
                    if 0 <= near < len(free):
                        row = row | reach[near]
                reach[y] = reach[y] | (row & free[y])
        if all(torch.equal(a, b) for a, b in zip(old, reach, strict=True)):
            return reach


def reachable(cells: Tensor, start: tuple[int, int], *, original: bool) -> Tensor:
    """Tell of maps [M, H, W] whether every goal is found from `start`, [M]."""
    free, goals = to_bits((cells & WALL) == 0), to_bits((cells & GOAL) != 0)
    if original:
        missed = swept(free, goals, start, cells.shape[2])
    else:
        missed = [goal & ~row for goal, row in zip(goals, flood_fill(free, start[1], start[0]), strict=True)]
    return (torch.stack(missed) == 0).all(0)


def candidates(recipe: Ruins, n: int, generator: torch.Generator) -> Tensor:
    """Draw `n` maps [n, H, W], solvable or not."""
    device = generator.device
    x, y = recipe.start
    order = torch.rand(n, recipe.width * recipe.height, generator=generator, device=device)
    order[:, y * recipe.width + x] = -1
    chosen = order.topk(recipe.goals + recipe.walls, 1).indices
    cells = torch.zeros(n, recipe.width * recipe.height, dtype=torch.uint8, device=device)
    cells.scatter_(1, chosen[:, : recipe.goals], GOAL | FRESH)
    cells.scatter_(1, chosen[:, recipe.goals :], WALL)
    return cells.view(n, recipe.height, recipe.width)


class Layouts:
    """Endless maps [n, H, W]: one of several fixed ones with equal probability, or random ones from a stock.

    `original` draws with the original program's generator, which rejects most maps with goals above or left of
    what it swept; `uniform` draws among all solvable maps alike.
    """

    def __init__(self, source: Tensor | Ruins, layout: Literal["original", "uniform"], device: torch.device) -> None:
        self._source = source if isinstance(source, Ruins) else source.to(device)
        self._original = layout == "original"
        self._generator = torch.Generator(device)
        self.seed(0)

    def seed(self, seed: int) -> None:
        """Start the stream of maps again."""
        self._generator.manual_seed(seed)
        self._stock: list[Tensor] = []

    def draw(self, n: int) -> Tensor:
        """Take the next `n` maps."""
        source = self._source
        if not isinstance(source, Ruins):
            which = torch.randint(len(source), (n,), generator=self._generator, device=source.device)
            return source[which]
        empty = 0
        while sum(map(len, self._stock)) < max(n, 1):
            maps = candidates(source, BATCH, self._generator)
            maps = maps[reachable(maps, source.start, original=self._original)]
            empty = empty + 1 if len(maps) == 0 else 0
            if empty == PATIENCE:
                raise UsageError(
                    f"env: none of {PATIENCE * BATCH} random maps with {source.walls} walls "
                    f"has a path to all {source.goals} goals"
                )
            self._stock.append(maps)
        stock = torch.cat(self._stock)
        self._stock = [stock[n:]]
        return stock[:n]
