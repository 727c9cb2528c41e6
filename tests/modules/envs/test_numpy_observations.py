"""Plain observations and actions of every kind are those that the environments of a run have."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector.utils import concatenate, create_empty_array

from modules.spec import UsageError
from pipelines.config.composing import compose_settings
from pipelines.config.schema import read
from tests.modules.envs.anything import IMAGE, any_spec, seen_and_shown

SPACES = (
    Box(-5, 5, (3,), np.float64),
    Box(-5, 5, (), np.float64),
    IMAGE,
    Discrete(4, start=-2),
    MultiBinary(3),
    MultiDiscrete([[2, 3], [4, 2]]),
    Tuple((Discrete(3), Box(-1, 1, (2,)))),
    Dict({"inner": Dict({"one": Discrete(2), "two": Tuple((Discrete(3),))}), "n": Box(0, 9, (1,), np.int64)}),
)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_one_observation_or_several_are_seen_as_in_training(space):
    spec = any_spec(space)
    plain = spec.numpy_observations(spec.spaces())
    for seen, shown in seen_and_shown(spec):
        for row, one in zip(seen.numpy(), shown, strict=True):
            found, single = plain.rows(one)
            assert single
            assert found.dtype == row.dtype
            np.testing.assert_array_equal(found, row[None])
        together = concatenate(space, shown, create_empty_array(space, len(shown)))
        found, single = plain.rows(together)
        assert not single
        np.testing.assert_array_equal(found, seen.numpy())


def test_wrappers_and_entries_that_are_left_out_count():
    spec = any_spec(Box(-5, 5, (3,)), "Doubled")
    plain = spec.numpy_observations(spec.spaces())
    doubled = gymnasium.make("Any-v0", seen=Box(-10, 10, (3,))).observation_space.sample()
    np.testing.assert_array_equal(plain.rows(doubled)[0][0], doubled)


@pytest.mark.parametrize(
    ("actions", "number", "taken"),
    [
        (Discrete(3), 2, 2),
        (MultiDiscrete([2, 3]), 5, [1, 2]),
        (MultiBinary(2), 1, [0, 1]),
    ],
    ids=str,
)
def test_an_action_is_what_the_environment_takes(actions, number, taken):
    spec = any_spec(Discrete(2), actions=actions)
    action = spec.numpy_observations(spec.spaces()).action(number)
    np.testing.assert_array_equal(action, taken)
    assert actions.contains(action)


@pytest.mark.parametrize(
    ("space", "observation"),
    [
        (SPACES[0], np.zeros(2)),
        (SPACES[0], np.zeros((0, 3))),
        (SPACES[0], ["a", "b", "c"]),
        (IMAGE, np.zeros((6, 5, 3))),  # not uint8: perhaps scaled to 0 … 1
        (SPACES[-1], {"n": np.zeros(1)}),
        (SPACES[-1], np.zeros(6)),
        (SPACES[-2], (1,)),
    ],
)
def test_what_is_no_observation_is_one_sentence(space, observation):
    spec = any_spec(space)
    with pytest.raises(UsageError, match=r"^observation: ") as said:
        spec.numpy_observations(spec.spaces()).rows(observation)
    assert "\n" not in str(said.value)


def test_a_small_world_is_seen_as_its_gymnasium_id_shows_it():
    run = read(compose_settings(("+exp=tour", "env.task=tmaze_both"))[0])
    env = gymnasium.make("modules.envs.gymnasium_ids:recall/TmazeBoth-v0")
    observation, _ = env.reset(seed=0)
    plain = run.env.numpy_observations(run.spaces)
    found, single = plain.rows(observation)
    assert single
    assert found.shape == (1, *run.spaces.observation_shape)
    np.testing.assert_array_equal(found[0], observation)
    with pytest.raises(UsageError, match="numbers must be"):
        plain.rows(observation + 0.5)
    with pytest.raises(UsageError, match="several at once have one axis more"):
        plain.rows(observation[1:])
