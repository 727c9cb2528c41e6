from collections import Counter, deque
from itertools import combinations, product
from math import comb

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from modules.envs.worlds.layouts import (
    BATCH,
    FRESH,
    GOAL,
    WALL,
    Layouts,
    Ruins,
    candidates,
    flood_fill,
    reachable,
    read_map,
    swept,
    to_bits,
)
from modules.envs.worlds.tour_tasks import TASKS
from modules.spec import UsageError

NEXT = ((0, -1), (0, 1), (-1, 0), (1, 0))


def recipe(task, **changes):
    rules = TASKS[task]
    base = {"width": rules.size[0], "height": rules.size[1], "start": rules.start}
    return Ruins(**{**base, "goals": rules.goals, "walls": rules.walls, **changes})


def sweep(field, start):
    """Goals that the original check misses, cell by cell; `field` maps (x, y) to '.', 'G' or '#'."""
    width, height = (max(p[i] for p in field) + 1 for i in (0, 1))
    cell = {(x, y): field.get((x, y), ".") for x in range(-1, width + 1) for y in range(-1, height + 1)}
    cell[start] = "open"
    another = True
    while another:
        another = False
        for y, x in product(range(height), range(width)):
            if cell[x, y] == "open":
                near = [(x + dx, y + dy) for dx, dy in NEXT]
                another = any(cell[p] in (".", "G") for p in near)  # overwrites what the cells before found
                cell.update({p: {".": "open", "G": "counted", "counted": "open"}.get(cell[p], cell[p]) for p in near})
    return {p for p, what in cell.items() if what == "G"}


def reach(field, start):
    """Cells connected with the start."""
    found, queue = {start}, deque([start])
    while queue:
        x, y = queue.popleft()
        for near in ((x + dx, y + dy) for dx, dy in NEXT):
            if near not in found and field.get(near, "#") != "#":
                found.add(near)
                queue.append(near)
    return found


def as_dict(cells):
    """Maps [H, W] of bits as a dictionary."""
    names = {0: ".", WALL: "#", GOAL | FRESH: "G"}
    return {(x, y): names[bits] for y, row in enumerate(cells.tolist()) for x, bits in enumerate(row)}


@st.composite
def fields(draw):
    """30 maps [30, H, W], and the start on them; large enough for long ways round."""
    width, height = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    kinds = torch.tensor([0, 0, 0, 0, 0, WALL, WALL, WALL, GOAL | FRESH], dtype=torch.uint8)
    seed = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    cells = kinds[torch.randint(len(kinds), (30, height, width), generator=seed)]
    cells[:, y, x] = 0
    return cells, (x, y)


def as_sets(rows):
    """Integers [M] of each row as M sets of cells (x, y)."""
    columns = [[{x for x in range(n.bit_length()) if n >> x & 1} for n in row.tolist()] for row in rows]
    return [{(x, y) for y, row in enumerate(columns) for x in row[m]} for m in range(len(columns[0]))]


def goals_of(field):
    return {p for p, what in field.items() if what == "G"}


@given(fields())
def test_original_check_sweeps_like_a_loop_over_cells(case):
    cells, start = case
    expected = [sweep(as_dict(one), start) for one in cells]
    free, goals = to_bits((cells & WALL) == 0), to_bits((cells & GOAL) != 0)
    assert as_sets(swept(free, goals, start, cells.shape[2])) == expected
    assert reachable(cells, start, original=True).tolist() == [not missed for missed in expected]


@given(fields())
def test_flooding_is_breadth_first_search(case):
    cells, start = case
    fields = [as_dict(one) for one in cells]
    expected = [reach(field, start) for field in fields]
    assert as_sets(flood_fill(to_bits((cells & WALL) == 0), start[1], start[0])) == expected
    solvable = [goals_of(field) <= found for field, found in zip(fields, expected, strict=True)]
    assert reachable(cells, start, original=False).tolist() == solvable
    assert not (reachable(cells, start, original=True) & ~torch.tensor(solvable)).any()  # it only refuses too much


@pytest.mark.parametrize(("below", "accepted"), [(["#####"], False), ([], True)])
def test_original_check_gives_up_where_two_ways_meet(below, accepted):
    """All around the last cell swept, below right, was opened before; so nobody looks for the goal above left.

    Without the walls below, the cell beyond the border is news.
    """
    cells, start = read_map(["G.###", "#S..#", "#.#.#", "#...#", *below])
    assert reachable(cells.unsqueeze(0), start, original=False).item()
    assert reachable(cells.unsqueeze(0), start, original=True).item() is accepted
    assert sweep(as_dict(cells), start) == (set() if accepted else {(0, 0)})


@pytest.mark.parametrize("task", ["many_swamp", "ruin_2swamp", "mytask"])
def test_sweeping_many_maps_at_once(task):
    """The maps of a batch need unequally many sweeps."""
    rules = recipe(task)
    maps = candidates(rules, 300, torch.Generator().manual_seed(1))
    expected = [not sweep(as_dict(cells), rules.start) for cells in maps]
    assert reachable(maps, rules.start, original=True).tolist() == expected
    assert 10 < sum(expected) < 290


@pytest.mark.parametrize(
    ("task", "original", "solvable"),
    [
        ("open_field", 21 / 24, 1),
        ("many_swamp", 0.175, 0.997),
        ("ruin_1swamp", 0.698, 0.873),
        ("ruin_2swamp", 0.48, 0.77),
    ],
)
def test_acceptance(task, original, solvable):
    """Rates of the original program, from some 3000 maps each; open_field's follows from its 21 cells."""
    rules, n = recipe(task), 4000
    maps = candidates(rules, n, torch.Generator().manual_seed(2))
    for rate, check in ((original, True), (solvable, False)):
        spread = (rate * (1 - rate) * (1 / n + 1 / 3000)) ** 0.5
        rounding = 0.005 if task == "ruin_2swamp" else 0.0005
        assert abs(reachable(maps, rules.start, original=check).float().mean() - rate) <= 3 * spread + rounding


def test_candidates_are_what_the_recipe_says():
    rules = Ruins(width=4, height=3, start=(3, 1), goals=2, walls=9)
    maps = candidates(rules, 50, torch.Generator().manual_seed(0))
    assert maps.shape == (50, 3, 4)
    assert ((maps == (GOAL | FRESH)).sum((1, 2)) == 2).all()
    assert ((maps == WALL).sum((1, 2)) == 9).all()
    assert (maps[:, 1, 3] == 0).all()


def draw(source, layout, n, seed=0):
    layouts = Layouts(source, layout, torch.device("cpu"))
    layouts.seed(seed)
    return layouts.draw(n)


@pytest.mark.parametrize("layout", ["original", "uniform"])
def test_all_accepted_maps_are_equally_likely(layout):
    rules = Ruins(width=3, height=2, start=(1, 0), goals=2, walls=2)
    free = [p for p in product(range(3), range(2)) if p != rules.start]
    accepted = set()
    for goals in combinations(free, 2):
        for walls in combinations(set(free) - set(goals), 2):
            field = {p: "G" if p in goals else "#" if p in walls else "." for p in [*free, rules.start]}
            missed = sweep(field, rules.start) if layout == "original" else set(goals) - reach(field, rules.start)
            if not missed:
                accepted.add("".join(field[x, y] for y in range(2) for x in range(3)))
    assert 3 < len(accepted) < comb(5, 2) * comb(3, 2)
    seen = Counter("".join(field[x, y] for y in range(2) for x in range(3))
                   for field in map(as_dict, draw(rules, layout, 5000)))  # fmt: skip
    assert set(seen) == accepted
    assert chisquare(list(seen.values())).pvalue > 0.01


def goals_at(task, layout):
    """How often each cell of 5000 maps is a goal, [H, W]."""
    return ((draw(recipe(task), layout, 5000) & GOAL) != 0).sum(0)


def test_original_bias():
    """On the open field the goal is never in the corner above left; with walls seldom near it."""
    open_field = goals_at("open_field", "original")
    seen = open_field[open_field > 0]
    assert len(seen) == 21
    assert open_field[[0, 0, 1], [0, 1, 0]].tolist() == [0, 0, 0]
    assert chisquare(seen.tolist()).pvalue > 0.01
    ruin = goals_at("ruin_1swamp", "original")
    assert ruin[0, 0] < 0.003 * 5000
    assert max(ruin[0, 1], ruin[1, 0]) < 0.015 * 5000
    uniform = goals_at("ruin_1swamp", "uniform")
    assert (uniform - uniform.flip(1)).abs().max() < 4 * (2 * uniform.max()) ** 0.5  # left is like right


FIXED = torch.stack([read_map(("SG",))[0], read_map(("S#", "G."))[0][:1] | GOAL])


@pytest.mark.parametrize("layout", ["original", "uniform"])
@pytest.mark.parametrize("source", [recipe("ruin_2swamp"), FIXED])
def test_maps_do_not_depend_on_how_many_are_drawn_at_once(source, layout):
    sizes = [1, 3, BATCH, 2, 700]
    layouts = Layouts(source, layout, torch.device("cpu"))
    layouts.seed(4)
    parts = torch.cat([layouts.draw(n) for n in sizes])
    assert torch.equal(parts, draw(source, layout, sum(sizes), seed=4))
    layouts.seed(4)  # starts again, whatever was in stock
    assert torch.equal(layouts.draw(5), parts[:5])
    assert not torch.equal(parts[:200], parts[200:400])
    assert not torch.equal(parts[:200], draw(source, layout, 200, seed=5))


def test_fixed_maps_have_equal_probability():
    first = (draw(FIXED, "original", 4000) == FIXED[0]).flatten(1).all(1).float().mean()
    assert abs(first - 0.5) < 3 * 0.5 / 4000**0.5


def test_maps_that_were_drawn_stay_as_they_are():
    """Stepping changes the cells of a state in place; the stock must not notice."""
    layouts = Layouts(recipe("ruin_1swamp"), "original", torch.device("cpu"))
    before = layouts.draw(3)
    copy = before.clone()
    layouts.draw(10).fill_(0)
    assert torch.equal(before, copy)
    fixed = Layouts(FIXED, "original", torch.device("cpu"))
    fixed.draw(4).fill_(0)
    assert fixed.draw(4).any()


def test_reading_a_map():
    cells, start = read_map(("#G.", ".S#"))
    assert cells.tolist() == [[WALL, GOAL | FRESH, 0], [0, 0, WALL]]
    assert start == (1, 1)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (("SG", "G"), "rows of equal length"),
        (("SG", "x."), "characters # G S ."),
        ((), "rows of equal length"),
        (("S.S", "..G"), "exactly one S"),
        (("...", "..G"), "exactly one S"),
        (("S..", "..."), "at least one G"),
    ],
)
def test_maps_that_cannot_be_read(rows, sentence):
    with pytest.raises(UsageError, match=sentence):
        read_map(rows)


def test_hopeless_recipe_is_refused():
    hopeless = Layouts(Ruins(9, 9, (0, 0), 10, 70), "uniform", torch.device("cpu"))
    with pytest.raises(UsageError, match="none of 204800 random maps with 70 walls has a path to all 10 goals"):
        hopeless.draw(1)
