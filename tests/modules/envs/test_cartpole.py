"""CartPole stepped as arrays: the same bytes as Gymnasium's own, one environment after the other."""

from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeAwareObservation, TimeLimit

from modules.envs.cartpole import CartPoles
from modules.envs.ends import cut_after
from modules.envs.gym import make_one, make_vec


def gymnasiums(count, **kwargs):
    makers = [partial(gymnasium.make, "CartPole-v1", **kwargs)] * count
    return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED)


@pytest.mark.parametrize(("count", "steps"), [(1, None), (3, 40), (16, None), (67, 120)])
def test_every_number_is_that_of_gymnasium(count, steps):
    """Through falls, time limits and resets of some, with a policy that balances half of the time."""
    kwargs = {} if steps is None else {"max_episode_steps": steps}
    ours, theirs = make_vec("CartPole-v1", count, kwargs, ()), gymnasiums(count, **kwargs)
    assert type(ours) is CartPoles
    assert ours.single_observation_space == theirs.single_observation_space
    random, fell, cut = np.random.default_rng(count), 0, 0
    for begin in (7, 8):
        seen = ours.reset(seed=begin)[0]
        assert seen.tobytes() == theirs.reset(seed=begin)[0].tobytes()
        for _ in range(600):
            balanced = seen[:, 2] + seen[:, 3] > 0
            chance = random.random(count) < (0.5 if _ % 100 > 90 else 0.05)
            action = np.where(chance, random.integers(2, size=count), balanced)
            found, wanted = ours.step(action)[:4], theirs.step(action)[:4]
            assert found[0].flags.c_contiguous
            for mine, its in zip(found, wanted, strict=True):
                assert (mine.dtype, mine.tobytes()) == (its.dtype, its.tobytes())
            seen, _, terminated, truncated = found
            fell, cut = fell + terminated.sum(), cut + truncated.sum()
            if (done := terminated | truncated).any():
                seen = ours.reset(options={"reset_mask": done})[0]
                assert seen.tobytes() == theirs.reset(options={"reset_mask": done})[0].tobytes()
    assert fell
    assert cut


@pytest.mark.parametrize(
    ("kwargs", "wrappers"),
    [
        ({"render_mode": "rgb_array"}, ()),  # somebody looks
        ({"sutton_barto_reward": True}, ()),
        ({}, (TimeAwareObservation,)),
        ({}, (partial(TimeLimit, max_episode_steps=1000),)),  # two limits
    ],
)
def test_what_is_not_plain_is_stepped_by_gymnasium(kwargs, wrappers):
    envs = make_vec("CartPole-v1", 2, kwargs, wrappers)
    assert not isinstance(envs, CartPoles)
    envs.close()


def test_a_limit_of_the_settings_ends_episodes():
    envs = make_vec("CartPole-v1", 2, *cut_after(3, {}))
    assert type(envs) is CartPoles
    envs.reset(seed=0)
    assert [envs.step(np.array([0, 1]))[3].tolist() for _ in range(3)] == [[False] * 2, [False] * 2, [True] * 2]


def test_seeds_may_be_a_list():
    ours, theirs = make_vec("CartPole-v1", 3, {}, ()), gymnasiums(3)
    for seed in ([5, 3, 9], [4, None, 2], None):
        seen, wanted = ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0]
        assert seen.tobytes() == wanted.tobytes()


def test_another_environment_is_stepped_by_gymnasium():
    assert not CartPoles.fits(make_one("Acrobot-v1", {}, ()))


def test_one_that_another_library_registered_under_the_name_is_stepped_by_gymnasium(monkeypatch):
    """A subclass may change anything."""

    class Heavier(gymnasium.envs.classic_control.CartPoleEnv):
        pass

    spec = gymnasium.envs.registration.EnvSpec("CartPole-v1", entry_point=Heavier, max_episode_steps=500)
    monkeypatch.setitem(gymnasium.registry, "CartPole-v1", spec)
    assert not isinstance(make_vec("CartPole-v1", 2, {}, ()), CartPoles)
