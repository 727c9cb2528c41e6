"""Time limits of Gymnasium environments, whoever sets them."""

from dataclasses import replace

import gymnasium
import pytest
import torch
from pydantic import ValidationError

from modules import keys
from modules.envs.base import EnvContext
from modules.spec import UsageError
from tests.modules.builders import gym_spec
from tests.modules.envs.test_pixels import pixels


class Endless(gymnasium.Env):
    """Never ends an episode; `max_steps` is an attribute if it is given."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, max_steps=None, shape=""):
        if max_steps is not None:
            self.max_steps = max_steps

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


class Twice(gymnasium.Wrapper):
    """Does everything twice."""

    def step(self, action):
        self.env.step(action)
        return self.env.step(action)


for name, limit in (("Endless-v0", None), ("Limited-v0", 6)):
    if name not in gymnasium.registry:
        gymnasium.register(name, Endless, max_episode_steps=limit)


def lengths(spec, steps):
    """Lengths of the episodes of one environment that ended within some steps; all of them by truncation."""
    env = spec.build(EnvContext(1))
    td, found = env.reset(), []
    for _ in range(steps):
        stepped, td = env.step_and_maybe_reset(td.set(keys.ACTION, torch.zeros(1, dtype=torch.int64)))
        if stepped["next", keys.DONE].item():
            assert stepped["next", keys.TRUNCATED].item()
            assert not stepped["next", keys.TERMINATED].item()
            found.append(stepped["next", keys.STEP_COUNT].item())
    env.close()
    return found


@pytest.mark.parametrize(
    ("env_id", "max_steps", "wrappers", "expected"),
    [
        ("Endless-v0", None, (), None),
        ("Endless-v0", 4, (), 4),
        ("Limited-v0", None, (), 6),
        ("Limited-v0", 3, (), 3),
        ("Limited-v0", 9, (), 9),  # longer than that of the id
        ("Limited-v0", 5, (f"{__name__}:Twice",), 5),  # the agent's steps
    ],
)
def test_max_steps_takes_the_place_of_the_limit_of_the_id(env_id, max_steps, wrappers, expected):
    spec = replace(gym_spec(env_id), max_steps=max_steps, wrappers=wrappers)
    assert spec.episode_limit() == expected
    assert lengths(spec, 20) == ([] if expected is None else [expected] * (20 // expected))


@pytest.mark.parametrize(
    ("own", "max_steps", "expected"), [(7, None, None), (7, 5, 5), (5, 7, 7), ("seven", None, None), (0, 8, 8)]
)
def test_an_attribute_of_that_name_may_mean_anything(own, max_steps, expected):
    assert replace(gym_spec("Endless-v0", max_steps=own), max_steps=max_steps).episode_limit() == expected


def test_the_worlds_say_it_as_gymnasium_ids_too():
    assert [gym_spec(f"recall/{name}-v0").episode_limit() for name in ("TmazeBoth", "Shower", "DeepSea")] == [
        20,
        60,
        10,
    ]


def test_pixels_are_cut_too():
    spec = replace(pixels(), max_steps=3)
    assert (spec.episode_limit(), lengths(spec, 7)) == (3, [3, 3])
    assert pixels().episode_limit() == 500


@pytest.mark.parametrize("bad", [0, -3, 2.5, "many", True])
def test_it_is_a_number_of_steps(bad):
    with pytest.raises(ValidationError):
        replace(gym_spec("Endless-v0"), max_steps=bad)


def test_two_limits_at_once_are_refused():
    spec = replace(gym_spec("Limited-v0", max_episode_steps=4), max_steps=3)
    for ask in (spec.spaces, spec.episode_limit, lambda: spec.build(EnvContext(1))):
        with pytest.raises(UsageError, match=r"env\.max_steps=3 is the time limit: leave out env\.kwargs\.max_episode"):
            ask()
    assert gym_spec("Limited-v0", max_episode_steps=4).episode_limit() == 4
