"""Optimum, memoryless limit and random play of the tours, against what was computed with the original program."""

from itertools import product

import pytest
import torch

from modules.envs.worlds.tour import Tour
from modules.envs.worlds.world import State
from tests.modules.envs.optimum import UNIT, best_reactive, optima, optimum, tour_spec


def kinds_of_maps(world: Tour, draws: int = 500) -> State:
    """One start on each map that a world has."""
    world.seed(0)
    states = world.start(draws)
    _, kind = torch.unique(states["cells"], dim=0, return_inverse=True)
    first = [int((kind == k).nonzero()[0]) for k in range(int(kind.max()) + 1)]
    return {key: value[first] for key, value in states.items()}


@pytest.mark.parametrize(
    ("task", "layout", "maps", "total", "steps"),
    [
        ("silent_ruin", "original", 1, 0.80, 14),
        ("open_field", "original", 21, 15.2, 79),  # mean 0.72381 in 3.762 steps
        ("open_field", "uniform", 24, 17.2, 92),  # mean 0.71667 in 3.833 steps
        ("tmaze_both", "original", 1, 1.20, 10),
        ("tmaze_either", "original", 2, 2 * 0.70, 2 * 4),
    ],
)
def test_exact_optimum(task, layout, maps, total, steps):
    world = tour_spec(task, layout=layout).world()
    best = optimum(world, kinds_of_maps(world))
    assert len(best.returns) == maps
    assert best.cleared.all()
    assert int(best.returns.sum()) == round(total * UNIT)
    assert int(best.steps.sum()) == steps


RANDOM_MAPS = [  # return of the optimum and its standard error (that of the uniform ruins: from as many maps), steps, …
    ("ruin_1swamp", "original", 0.694, 0.003, 4.01, 0.996),
    ("ruin_1swamp", "uniform", 0.630, 0.0043, 4.42, 0.977),
    ("ruin_2swamp", "original", 1.380, 0.004, 8.20, 0.999),
    ("ruin_2swamp", "uniform", 1.283, 0.0059, 9.02, 0.988),
    ("many_swamp", "original", 2.786, 0.015, 16.1, 0.997),
    ("many_swamp", "uniform", 2.520, 0.025, 18.7, None),
]
ORIGINAL_MAPS = {"ruin_1swamp": 6000, "ruin_2swamp": 4000, "many_swamp": 600}  # … share of maps cleared


def compare(task, layout, maps, expected, error, steps, cleared):
    world = tour_spec(task, layout=layout).world()
    world.seed(3)
    best = optima(world, maps)
    theirs = ORIGINAL_MAPS[task]
    returns, lengths = best.returns.double() / UNIT, best.steps.double()
    se = float(returns.std()) / maps**0.5
    assert abs(float(returns.mean()) - expected) < 3 * (se**2 + error**2) ** 0.5
    spread = float(lengths.std()) * (1 / maps + 1 / theirs) ** 0.5
    assert abs(float(lengths.mean()) - steps) < 3 * spread + 0.05  # as it was rounded
    if cleared is not None:
        spread = (cleared * (1 - cleared) * (1 / maps + 1 / theirs)) ** 0.5
        assert abs(float(best.cleared.double().mean()) - cleared) < 3 * spread + 0.0005
    return se


@pytest.mark.parametrize(("task", "layout", "expected", "error", "steps", "cleared"), RANDOM_MAPS)
def test_optimum_of_random_maps(task, layout, expected, error, steps, cleared):
    maps = {"ruin_1swamp": 1000, "ruin_2swamp": 500, "many_swamp": 100}[task]
    assert compare(task, layout, maps, expected, error, steps, cleared) > 0


@pytest.mark.slow
@pytest.mark.parametrize(("task", "layout", "expected", "error", "steps", "cleared"), RANDOM_MAPS)
def test_optimum_of_many_random_maps(task, layout, expected, error, steps, cleared):
    se = compare(task, layout, 2 * ORIGINAL_MAPS[task], expected, error, steps, cleared)
    assert se < error


@pytest.mark.parametrize(("task", "rules"), [("tmaze_either", {}), ("ruin_2swamp", {"max_time": 8, "walls": 3})])
@pytest.mark.parametrize("timeout", ["original", "keep"])
def test_optimum_is_that_of_all_sequences_of_actions(task, rules, timeout):
    """Nothing but `start` and `step`: the best of all sequences, cut where the episode ends."""
    world = tour_spec(task, timeout=timeout, **rules).world()
    world.seed(5)
    maps = world.start(12)
    best = optimum(world, maps)
    sequences = torch.tensor(list(product(range(3), repeat=world.task.max_time)))
    found = []
    for m in range(12):
        state = {key: value[[m]].expand(len(sequences), *value.shape[1:]).clone() for key, value in maps.items()}
        found.append(play(world, state, sequences))
        world_best = max(zip(found[-1][0].tolist(), (-found[-1][1]).tolist(), strict=True))
        assert world_best == (int(best.returns[m]), -int(best.steps[m]))
    if task == "ruin_2swamp":
        assert len(best.returns.unique()) > 3  # the maps differ


def play(world: Tour, state: State, actions: torch.Tensor):
    """Return in 1 / UNIT and steps of each row of actions [N, max_time]; whether all goals were visited."""
    n = len(actions)
    total, steps, won = torch.zeros(n), torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.bool)
    running = torch.ones(n, dtype=torch.bool)
    for action in actions.unbind(1):
        state, reward, terminated, truncated = world.step(state, action)
        total += reward * running
        steps += running
        won |= terminated & running
        running &= ~(terminated | truncated)
    assert not running.any()
    return (total * UNIT).round().long(), steps, won


@pytest.mark.parametrize(
    ("task", "mean", "steps"),
    [
        ("tmaze_either", 0.05, 4.5),  # a guess: 0.7 or -0.6
        ("tmaze_both", 0.60, 16.0),  # left, back over the old goal, right
        ("silent_ruin", 0.80, 14.0),
        ("open_field", 15.2 / 21, 79 / 21),  # everything is seen
    ],
)
def test_best_deterministic_policy_without_memory(task, mean, steps):
    world = tour_spec(task).world()
    assert best_reactive(world, kinds_of_maps(world)) == pytest.approx((mean, steps))


@pytest.mark.parametrize(
    ("task", "mean", "steps", "solved"),
    [
        ("silent_ruin", -3.00, 25.0, 0.0),
        ("open_field", -1.37, 13.7, 0.147),
        ("many_swamp", -2.61, 30.0, 0.001),
        ("tmaze_both", -2.32, 20.0, 0.002),
        ("tmaze_either", -0.65, 5.0, 0.011),
        ("ruin_1swamp", -1.01, 9.4, 0.12),
        ("ruin_2swamp", -1.88, 19.7, 0.04),
    ],
)
def test_random_play(task, mean, steps, solved):
    """4000 episodes, as many as were played in the original; differences within three standard errors."""
    n = 4000
    world = tour_spec(task).world()
    world.seed(7)
    actions = torch.randint(3, (n, world.task.max_time), generator=torch.Generator().manual_seed(7))
    returns, lengths, won = play(world, world.start(n), actions)
    won &= lengths < world.task.max_time
    rounded = 0.006 if solved >= 0.04 else 0.0006
    for ours, theirs, rounding in ((returns / UNIT, mean, 0.005), (lengths, steps, 0.05), (won, solved, rounded)):
        spread = float(ours.double().std()) * (2 / n) ** 0.5
        assert abs(float(ours.double().mean()) - theirs) < 3 * spread + rounding
