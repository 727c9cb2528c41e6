"""The exact optimum of the tiny exam tasks, the best return without memory and random play's, from their own steps."""

from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch

from modules.envs.worlds.tiny import DECK, SUITS
from tests.modules.envs.test_tiny import cards, chain, starts, tmaze


def rows(state):
    """The state of each episode as a tuple, without what is for pictures only."""
    columns = [state[key].reshape(len(state["time"]), -1) for key in sorted(state) if key not in ("said", "event")]
    return [tuple(row) for row in torch.cat(columns, 1).tolist()]


def optimum(spec):
    """Best mean return of an agent that remembers everything: over beliefs, sets of episodes that look alike so far."""
    world, all_starts = starts(spec)
    solved = {}

    def value(state):
        name = tuple(sorted(rows(state)))
        if name not in solved:
            solved[name] = max(gain(state, action) for action in range(world.spaces.n_actions))
        return solved[name]

    def gain(state, action):
        after, reward, terminated, _ = world.step(state, torch.full_like(state["time"], action))
        assert terminated.all() or not terminated.any()
        return reward.double().sum().item() + (0 if terminated.all() else sum(map(value, alike(world, after))))

    return sum(map(value, alike(world, all_starts))) / len(all_starts["time"])


def alike(world, state):
    """Split episodes by what is observed."""
    _, group = world.observe(state).unique(dim=0, return_inverse=True)
    return [{key: entry[group == i] for key, entry in state.items()} for i in range(int(group.max()) + 1)]


def kinds_of(spec):
    """Everything that can be observed before the last step, [K, *shape]."""
    world, state = starts(spec)
    kinds = []
    for _ in range(spec.episode_limit()):
        kinds.append(world.observe(state))
        state = every_action(world, state)[0]
        state = {key: entry[first_of(rows(state))] for key, entry in state.items()}
    return torch.cat(kinds).unique(dim=0)


def first_of(names):
    return sorted({name: i for i, name in reversed([*enumerate(names)])}.values())


def every_action(world, state):
    """Take every action in every episode: `step`, action by action."""
    n, actions = len(state["time"]), world.spaces.n_actions
    state = {key: entry.repeat(actions, *[1] * (entry.dim() - 1)) for key, entry in state.items()}
    return world.step(state, torch.arange(actions).repeat_interleave(n))


def memoryless(spec):
    """Mean returns of all maps from observations to actions, each in every episode, [M]."""
    (world, state), kinds = starts(spec), kinds_of(spec)
    n = len(state["time"])
    maps = torch.tensor([*product(range(world.spaces.n_actions), repeat=len(kinds))])
    state = {key: entry.repeat(len(maps), *[1] * (entry.dim() - 1)) for key, entry in state.items()}
    maps, total = maps.repeat_interleave(n, 0), torch.zeros(len(maps) * n, dtype=torch.float64)
    for _ in range(spec.episode_limit()):
        same = (world.observe(state)[:, None] == kinds).all(-1)
        assert same.any(1).all()
        state, reward, terminated, _ = world.step(state, maps.gather(1, same.int().argmax(1, keepdim=True)).squeeze(1))
        total += reward
    assert terminated.all()
    return total.view(-1, n).mean(1)


def random_return(spec):
    """Exact mean return of random play: probabilities of all states, step by step."""
    world, state = starts(spec)
    weight, total = torch.full((len(state["time"]),), 1 / len(state["time"]), dtype=torch.float64), 0.0
    for _ in range(spec.episode_limit()):
        state, reward, *_ = every_action(world, state)
        weight = weight.repeat(world.spaces.n_actions) / world.spaces.n_actions
        total += float(weight @ reward.double())
        names = rows(state)
        kept = first_of(names)
        place = {names[i]: j for j, i in enumerate(kept)}
        weight = torch.zeros(len(kept), dtype=torch.float64).index_add_(
            0, torch.tensor([place[name] for name in names]), weight
        )
        state = {key: entry[kept] for key, entry in state.items()}
    assert float(weight.sum()) == pytest.approx(1)
    return total


@pytest.mark.parametrize(
    ("spec", "best", "without"),
    [
        (chain(1), 1, 1),  # the bit still shows when it is asked for
        (chain(2), 1, 0),
        (chain(10), 1, 0),
        (chain(2, bits=2), 1, 0),
        (tmaze(1), 1, 0.5),
        (tmaze(10), 1, 0.5),
        (tmaze(50), 1, 0.5),
        (tmaze(10, penalty=0.0), 1, 0.5),
    ],
)
def test_only_memory_reaches_the_optimum(spec, best, without):
    assert optimum(spec) == best
    assert memoryless(spec).max().item() == pytest.approx(without, abs=1e-6)


def test_nothing_but_memory_moves_the_mean_of_memory_len():
    assert memoryless(chain(10)).abs().max() == 0


@pytest.mark.parametrize("length", [1, 2, 10, 20, 50])
def test_random_play_in_the_tmaze(length):
    """On time with probability 4⁻ᵗ after t steps, and only who is on time at the junction can be right."""
    on_time = sum(0.25**t for t in range(1, length + 1))
    assert random_return(tmaze(length)) == pytest.approx((on_time - length) / length + 0.25 ** (length + 1))


def test_random_play_says_half_of_the_bits():
    assert random_return(chain(10)) == random_return(chain(3, bits=2)) == 0


@cache
def returns_of_maps(k, length):
    """Exact mean return of each of the 256 maps from the suit that shows to a suit, in the world's own steps.

    Only the card that shows and the one asked for matter; of a shuffled deck all pairs of places are alike.
    """
    world, total = cards(k, length).world(), np.zeros((SUITS, SUITS))  # total: suit that shows × answer
    n = -(-(length + 1) // DECK) * DECK
    for now, asked in product(range(SUITS), repeat=2):
        of_a_suit = n // SUITS
        chance = Fraction(of_a_suit * (of_a_suit - (now == asked)), n * (n - 1))
        if k == 1:
            chance = Fraction(int(now == asked), SUITS)
        for time in range(length):
            suits = torch.full((SUITS, length + 1), (asked + 1) % SUITS)
            suits[:, max(time - k + 1, 0)] = asked
            suits[:, time] = now
            state = {**world.start(SUITS), "cards": suits, "time": torch.full((SUITS,), time)}
            assert (world.observe(state).argmax(1) == now).all()
            total[now] += float(chance) * world.step(state, torch.arange(SUITS))[1].double().numpy()
    return np.array(
        [sum(total[now, said] for now, said in enumerate(answers)) for answers in product(range(4), repeat=4)]
    )


@pytest.mark.parametrize(("k", "length"), [(2, 51), (4, 51), (4, 20), (32, 103)])
def test_repeat_previous_without_memory(k, length):
    """Best is to say any other suit than the one that shows: 13 of the 51 cards that are left, so −25 / 51."""
    n = -(-(length + 1) // DECK) * DECK
    best = 2 * (n / SUITS) / (n - 1) - 1
    assert returns_of_maps(k, length).max() == pytest.approx(best, abs=1e-6)
    assert returns_of_maps(k, length).mean() == pytest.approx(-0.5, abs=1e-6)  # random play
    if length == 51:
        assert best == pytest.approx(-25 / 51)


def test_repeat_previous_needs_no_memory_for_the_card_that_shows():
    assert returns_of_maps(1, 51).max() == pytest.approx(1)


@pytest.mark.parametrize(("k", "length"), [(4, 51), (32, 103), (64, 155), (7, 7)])
def test_who_remembers_k_cards_gets_all_of_repeat_previous(k, length):
    world = cards(k, length).world()
    state = world.start(50)
    seen, total, wrong = [], torch.zeros(50), torch.zeros(50)
    other = state
    for _ in range(length):
        seen.append(world.observe(state).argmax(1))
        answer = seen[-k] if len(seen) >= k else seen[-1]
        other, punished, *_ = world.step(other, (answer + 1) % SUITS)
        state, reward, terminated, _ = world.step(state, answer)
        total, wrong = total + reward, wrong + punished
    assert terminated.all()
    torch.testing.assert_close(total, torch.ones(50))
    torch.testing.assert_close(wrong, -torch.ones(50))
