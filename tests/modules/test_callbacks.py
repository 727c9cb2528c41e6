"""Callbacks hear of every step of the episodes that count, and of no other."""

import numpy as np
import pytest
from tensordict.nn import TensorDictModule

from modules import keys
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
    """Environments take turns of 1 and of 10 steps, and go on while the slow ones end."""
    env = gym_spec("Parity-v0").build(min(episodes, 3), None)
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


def test_what_a_callback_does_to_its_arrays_changes_no_episode():
    class Spoiler(Callback):
        def on_step_end(self, step):
            step.observation[:] = np.nan
            step.next_observation[:] = np.nan

    env = gym_spec("CartPole-v1").build(2, None)
    upright = TensorDictModule(lambda seen: (seen[:, 2] > 0).long(), [keys.OBSERVATION], [keys.ACTION])
    plain = run_episodes(env, upright, episodes=4, seed=0)
    assert run_episodes(env, upright, episodes=4, seed=0, callbacks=[Spoiler()]) == plain
