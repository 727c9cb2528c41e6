"""What the exam tasks for exploration are worth: best and random play, exactly, from the environments' own steps."""

from functools import cache

import numpy as np
import pytest
import torch

from modules.envs.worlds.explore import RandomCoinSpec
from modules.envs.worlds.explore_worlds import PAY_TIMES
from tests.modules.envs.test_explore import chain, coin, corridor, sea
from tests.modules.envs.test_tiny_optimum import every_action

BASE = 1000  # above every number in a state


def starts(spec):
    """The world, and all episodes that can begin, equally likely."""
    world = spec.world()
    if not isinstance(spec, RandomCoinSpec):
        return world, world.start(1)
    cells = torch.arange(spec.size**2)
    place, coins = torch.cartesian_prod(cells, cells).unbind(1)
    apart = place != coins
    return world, {**world.start(int(apart.sum())), "place": place[apart], "coin": coins[apart]}


def names(state):
    """One number per state; how the last step ended is for pictures only."""
    total = torch.zeros_like(state["time"])
    for key in sorted(state.keys() - {"event"}):
        total = total * BASE + state[key] + 1
    return total


@cache
def layers(spec):
    """Follow every action from all starts: per step, rewards, next states' indices and whether it continues, [A, S]."""
    (world, state), found = starts(spec), []
    for _ in range(spec.episode_limit()):
        n = len(state["time"])
        after, reward, terminated, truncated = every_action(world, state)
        goes_on = ~(terminated | truncated)
        which = goes_on.nonzero().squeeze(1)
        unique, index = names(after)[which].unique(return_inverse=True)
        first = torch.empty_like(unique).scatter_(0, index, which)  # any of those that are alike
        following = torch.zeros(len(goes_on), dtype=torch.int64)
        following[which] = index
        found.append([column.view(-1, n) for column in (reward.double(), following, goes_on)])
        if not len(unique):
            return found
        state = {key: entry[first] for key, entry in after.items()}
    raise AssertionError("an episode continues behind max_steps")


def value(spec, choose, gamma=1.0):
    """Discounted return from each start; `choose` makes the value of a state of those of its actions, [A, S] → [S]."""
    later = torch.zeros(1, dtype=torch.float64)
    for reward, following, goes_on in reversed(layers(spec)):
        later = torch.cat((choose(reward + later[following] * goes_on * gamma), torch.zeros(1, dtype=torch.float64)))
    return later[:-1]


def best(actions):
    return actions.amax(0)


def uniform(actions):
    return actions.mean(0)


@pytest.mark.parametrize("mapping_seed", [None, 42])
def test_the_far_goal_can_be_reached_but_not_by_chance(mapping_seed):
    """Random play reaches a goal 100 cells away within 200 steps once in 1.2 million million episodes."""
    spec = corridor(mapping_seed=mapping_seed)
    assert value(spec, best).tolist() == [1]
    assert value(spec, best, gamma=0.99).item() == pytest.approx(0.99**99)  # not one step more than 100
    walks = [1] + [0] * 99  # of all 2²⁰⁰ walks, those at each cell before the goal, as whole numbers
    arrived = 0
    for step in range(200):
        arrived += walks[99] << (199 - step)
        walks = [walks[0] + walks[1], *(walks[i - 1] + walks[i + 1] for i in range(1, 99)), walks[98]]
    chance = arrived / 2**200
    assert value(spec, uniform).item() == pytest.approx(chance, rel=1e-9)
    assert chance < 1e-11


def test_an_untrained_network_walks_to_the_goal_unless_the_actions_are_mapped():
    """Why mapping_seed is there: luck with the first weights is no exploration."""
    torch.manual_seed(0)
    n, cells = 200, torch.eye(101)
    greedy = []
    for _ in range(n):
        network = torch.nn.Sequential(torch.nn.Linear(101, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2))
        greedy.append(network(cells).argmax(1))
    policy, share = torch.stack(greedy), {}
    for mapping_seed in (None, 42):
        world = corridor(mapping_seed=mapping_seed).world()
        state, arrived = world.start(n), torch.zeros(n, dtype=torch.bool)
        for _ in range(200):
            state, _, terminated, _ = world.step(state, policy.gather(1, state["place"].unsqueeze(1)).squeeze(1))
            arrived |= terminated
        share[mapping_seed] = arrived.float().mean().item()
    assert share[None] > 0.1
    assert share[42] == 0


@pytest.mark.parametrize("size", [2, 10, 20])
def test_one_dive_in_two_to_the_size_finds_the_treasure(size):
    spec = sea(size)
    assert value(spec, best).item() == pytest.approx(0.99)
    assert value(sea(size, move_cost=0.0), uniform).item() == pytest.approx(0.5**size, rel=1e-9)
    assert value(spec, uniform).item() == pytest.approx(0.5**size - 0.005)  # half of the steps go right
    dives = sum(len(following[0]) for _, following, _ in layers(spec))
    assert dives == size * (size + 1) // 2  # every cell left of the diagonal, in its own row


def test_all_that_is_not_the_treasure_is_a_little_less_than_nothing():
    """The second best dive never goes right: the cost leads away from the treasure."""
    world = sea(4).world()
    state = {key: entry.repeat(16) for key, entry in world.start(1).items()}
    total = torch.zeros(16, dtype=torch.float64)
    for step in range(4):
        state, reward, *_ = world.step(state, torch.arange(16) >> step & 1)
        total += reward
    rights = np.bincount(np.rint(-(total - (total > 0.5).double()).numpy() * 400).astype(int), minlength=5)
    assert rights.tolist() == [1, 4, 6, 4, 1]
    assert (total > 0).sum() == 1
    assert total.max().item() == pytest.approx(0.99)


@pytest.mark.parametrize(("size", "horizon"), [(3, 4), (9, 200)])
def test_every_coin_can_be_taken_on_the_shortest_way(size, horizon):
    spec = coin(size, horizon)
    _, state = starts(spec)
    assert (value(spec, best) == 1).all()
    rows = (state["place"] // size - state["coin"] // size).abs()
    columns = (state["place"] % size - state["coin"] % size).abs()
    assert torch.allclose(value(spec, best, gamma=0.9), 0.9 ** (rows + columns - 1).double())
    assert (rows + columns).double().mean().item() == pytest.approx(2 * size / 3)


def test_random_play_finds_most_coins_in_a_room_of_nine():
    """To find the coin is not what is hard here; to go straight for it, having learned to look around, is."""
    assert value(coin(), uniform).mean().item() == pytest.approx(0.627, abs=5e-4)
    walk = np.zeros((9, 9))  # where a robot is that started in a corner, the coin in the opposite one
    walk[0, 0], found = 1, 0.0
    for _ in range(200):
        near = np.pad(walk, 1, mode="edge")  # at a wall it stays
        walk = (near[:-2, 1:-1] + near[2:, 1:-1] + near[1:-1, :-2] + near[1:-1, 2:]) / 4
        found, walk[8, 8] = found + walk[8, 8], 0
    _, state = starts(coin())
    corners = ((state["place"] == 0) & (state["coin"] == 80)).nonzero().item()
    assert value(coin(), uniform)[corners].item() == pytest.approx(found)


@pytest.mark.parametrize(
    ("bonus", "needed"),
    [(0, 0.0), (1, 1.1 ** (-1 / 2)), (2, 1.1 ** (-1 / 9)), (3, 1.1 ** (-1 / 29)), (4, 1.1 ** (-1 / 99))],
)
def test_which_discount_sees_the_bonus(bonus, needed):
    """Best play takes the bonus, undiscounted; with a discount only where it is worth waiting for."""
    spec = chain(bonus)
    assert value(spec, best).item() == pytest.approx(1.1)
    assert value(spec, uniform).item() == pytest.approx(1.02)
    if bonus:
        above, below = (value(spec, best, gamma=needed + change).item() for change in (1e-5, -1e-5))
        assert above == pytest.approx(1.1 * (needed + 1e-5) ** (PAY_TIMES[bonus] - 1))
        assert above > 1
        assert below == pytest.approx(1)  # the chain that pays at once
