"""Callbacks hear of every step of the episodes that count, and of no other."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from tensordict.nn import TensorDictModule

from modules import keys
from modules.envs.base import UNCHANGED, EnvContext, LastStep
from modules.envs.worlds.explore import DiscountingChainSpec
from modules.evaluation import Callback, run_episodes
from tests.modules.builders import always, gym_spec


class Notes(Callback):
    def __init__(self):
        self.of: dict[int, list] = {}

    def on_episode_begin(self, episode, observation):
        assert episode not in self.of
        self.of[episode] = [observation]

    def on_step_end(self, step):
        self.of[step.episode].append(step)

    def on_episode_end(self, episode, episode_return, length):
        self.of[episode].append((episode_return, length))


@pytest.mark.parametrize("episodes", [1, 3, 7])
def test_each_episode_is_told_once_from_its_beginning_to_its_end(episodes):
    """Environments take turns of 1 and of 10 steps, and continue while the slow ones end."""
    env = gym_spec("Parity-v0").build(EnvContext(min(episodes, 3)))
    notes, silent = Notes(), Callback()
    found = run_episodes(env, always(1), episodes=episodes, seed=0, callbacks=[notes, silent])
    assert sorted(notes.of) == list(range(episodes))
    assert set(found.lengths) == ({1} if episodes == 1 else {1, 10})
    for episode, (first, *steps, (episode_return, length)) in notes.of.items():
        assert episode_return == found.returns[episode] == sum(step.reward for step in steps)
        assert length == found.lengths[episode] == len(steps)
        assert [step.number for step in steps] == list(range(length))
        seen = [first, *(step.next_observation for step in steps)]
        assert [observation[0] for observation in seen] == list(range(length, -1, -1))
        assert all(np.array_equal(step.observation, before) for step, before in zip(steps, seen, strict=False))
        assert [step.terminated for step in steps] == [False] * (length - 1) + [True]
        assert not any(step.truncated for step in steps)
        assert {step.action for step in steps} == {1}


PAID = (1e9, 0.1, 1 / 3, 1e-12, 16_777_217.0)


class Fortune(gymnasium.Env):
    """Pays a fortune first, and then sums that are lost beside it."""

    observation_space, action_space = gymnasium.spaces.Box(0, 1, (1,)), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.step_number = -1
        return self.observation_space.low, {}

    def step(self, action):
        self.step_number += 1
        return self.observation_space.low, PAID[self.step_number], self.step_number == len(PAID) - 1, False, {}


gymnasium.register("Fortune-v0", Fortune)


@pytest.mark.parametrize("changed", [{}, {"reward_scale": 0.1, "window_length": 2}])
def test_rewards_are_those_that_the_environment_gave(changed):
    notes = Notes()
    env = replace(gym_spec("Fortune-v0"), **changed).build(EnvContext(2))
    found = run_episodes(env, always(1), episodes=4, seed=0, callbacks=[notes])
    for _, *steps, _ in notes.of.values():
        assert tuple(step.reward for step in steps) == PAID
    assert found.returns == [sum(PAID)] * 4


def test_the_rewards_of_a_world_are_its_own():
    notes = Notes()
    spec = DiscountingChainSpec(mapping_seed=1, **UNCHANGED)
    env = replace(spec, reward_scale=0.3).build(EnvContext(2, [LastStep(50, "eval_max_steps")]))
    found = run_episodes(env, always(0), episodes=2, seed=0, callbacks=[notes])
    assert any(found.returns)
    for episode, (_, *steps, _) in notes.of.items():
        assert all(step.reward == np.float32(step.reward).item() for step in steps)
        assert found.returns[episode] == sum(step.reward for step in steps)


def test_what_a_callback_does_to_its_arrays_changes_no_episode():
    class Spoiler(Callback):
        def on_step_end(self, step):
            step.observation[:] = np.nan
            step.next_observation[:] = np.nan

    env = gym_spec("CartPole-v1").build(EnvContext(2))
    upright = TensorDictModule(lambda seen: (seen[:, 2] > 0).long(), [keys.OBSERVATION], [keys.ACTION])
    plain = run_episodes(env, upright, episodes=4, seed=0)
    assert run_episodes(env, upright, episodes=4, seed=0, callbacks=[Spoiler()]) == plain
