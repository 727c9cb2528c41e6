"""What the shower is worth: best, random and constant play, exactly, by dynamic programming over its own steps."""

from functools import cache

import pytest
import torch

from modules.envs.worlds.shower import COLDER, STAY, WARMER
from tests.modules.envs.test_shower import shower

FIRST, LAST = -100, 180  # degrees; nobody gets further than −85 or 161
DEGREES = torch.arange(FIRST, LAST + 1)


@cache
def actions_of(spec, choose, gamma=1.0):
    """Values of every action in every temperature at each time, [T][A, S]; `choose` makes of them that of the state."""
    world, later, values = spec.world(), torch.zeros(len(DEGREES), dtype=torch.float64), []
    for time in reversed(range(spec.horizon)):
        now = torch.stack([mean_over_drift(world, spec, time, action, later, gamma) for action in range(3)])
        values.append(now)
        later = choose(now)
    return values[::-1]


def mean_over_drift(world, spec, time, action, later, gamma):
    """Reward of an action in every temperature, and what follows."""
    n, total = len(DEGREES), torch.zeros(len(DEGREES), dtype=torch.float64)
    for drift in range(-spec.noise, spec.noise + 1):
        noise = torch.full((n, spec.horizon), 99, dtype=torch.int8)  # what other times have must not matter
        noise[:, time] = drift
        state = {**world.start(n), "temperature": DEGREES, "noise": noise, "time": torch.full((n,), time)}
        after, reward, terminated, truncated = world.step(state, torch.full((n,), action))
        over = terminated | truncated
        assert over.tolist() == [time == spec.horizon - 1] * n
        following = (after["temperature"] - FIRST).clamp(0, n - 1)  # nothing outside is reached from a start
        total += reward.double() + gamma * later[following] * ~over
    return total / (2 * spec.noise + 1)


def best(values):
    return values.amax(0)


def uniform(values):
    return values.mean(0)


def constant(action):
    return lambda values: values[action]


def start_values(spec, choose):
    low, high = spec.start
    return choose(actions_of(spec, choose)[0])[low - FIRST : high - FIRST + 1]


@pytest.mark.parametrize("ends", ["truncated", "terminated"])
def test_the_optimum(ends):
    """From 36 to 40 every step can pay; from 35 and 41 the first one and, depending on the drift, others cannot."""
    values = start_values(shower(ends=ends), best)
    assert values[1:6].tolist() == pytest.approx([60] * 5)
    assert values.mean().item() == pytest.approx(59.142857, abs=1e-6)
    assert values[[0, 6]].tolist() == pytest.approx([57, 57])


def test_play_that_learned_nothing():
    spec = shower()
    assert start_values(spec, uniform).mean().item() == pytest.approx(-35.2705, abs=1e-4)
    assert start_values(spec, constant(STAY)).mean().item() == pytest.approx(-28.3206, abs=1e-4)
    for action in (COLDER, WARMER):
        assert start_values(spec, constant(action)).mean().item() == pytest.approx(-57.1607, abs=1e-4)


def test_the_clock_need_not_show():
    """Some best action is the same at all times; so it is with the discount of learning, for which ends is a choice."""
    for gamma in (1.0, 0.99):
        always = torch.ones(3, len(DEGREES), dtype=torch.bool)
        for values in actions_of(shower(), best, gamma):
            always &= values >= values.amax(0) - 1e-9
        near = {degrees: always[:, degrees - FIRST].nonzero().flatten().tolist() for degrees in range(34, 43)}
        assert all(near.values())
        assert [near[36], near[40]] == [[WARMER], [COLDER]]
        assert [near[37], near[39]] == [[STAY, WARMER], [COLDER, STAY]]


def test_without_drift_it_is_easier():
    """From 35 and 41 one step costs; no state but these is met by chance."""
    assert start_values(shower(noise=0), best).tolist() == pytest.approx([58, 60, 60, 60, 60, 60, 58])
