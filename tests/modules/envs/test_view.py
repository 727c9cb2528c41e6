"""What the agent sees and gets: windows of observations, scaled rewards; returns stay the environment's."""

from dataclasses import replace

import pytest
import torch

from modules import keys
from modules.callbacks.visits import Visits
from modules.envs.base import UNCHANGED, EnvContext
from modules.envs.worlds.explore import GoalCorridorSpec
from pipelines.config.composing import compose_settings
from pipelines.config.schema import read
from tests.modules.builders import gym_spec

LENGTH, STEPS, ENVS = 3, 80, 2
CORRIDOR = GoalCorridorSpec(length=3, horizon=5, mapping_seed=1, **UNCHANGED)
KINDS = {"gym": gym_spec("CartPole-v1", keep=(0, 2)), "world": CORRIDOR}


def episodes(spec):
    """Act at random, always alike: observations [STEPS + 1, N, *shape], rewards, returns, and where episodes begin."""
    env = spec.build(EnvContext(ENVS))
    env.set_seed(0)
    torch.manual_seed(0)
    now, found = env.reset(), []
    for _ in range(STEPS):
        step = env.step(now.set(keys.ACTION, torch.randint(2, (ENVS,))))
        after = step["next"]
        found.append([step[keys.OBSERVATION], after[keys.REWARD], after[keys.EPISODE_RETURN], step[keys.IS_INIT]])
        now = env.step_mdp(step)
        now = env.maybe_reset(now)
    env.close()
    return [torch.stack(column) for column in zip(*found, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_is_the_newest_observations_and_zeros_before_the_first(kind):
    single, rewards, returns, begins = episodes(KINDS[kind])
    windows, *others = episodes(replace(KINDS[kind], window_length=LENGTH))
    assert all(torch.equal(*pair) for pair in zip(others, (rewards, returns, begins), strict=True))
    assert begins.sum() > 2 * ENVS  # environments were reset one by one
    assert not torch.equal(begins[:, 0], begins[:, 1]) or kind == "world"
    size, since = single.shape[-1], torch.zeros(ENVS, dtype=torch.int64)
    for t in range(STEPS):
        since = torch.where(begins[t, :, 0], 0, since + 1)
        for n in range(ENVS):
            for back in range(LENGTH):
                entry = windows[t, n, (LENGTH - 1 - back) * size :][:size]
                expected = single[t - back, n] if back <= since[n] else torch.zeros(size)
                assert torch.equal(entry, expected), (t, n, back)


@pytest.mark.parametrize("kind", KINDS)
def test_rewards_are_scaled_and_returns_are_not(kind):
    _, rewards, returns, _ = episodes(KINDS[kind])
    _, scaled, unscaled, _ = episodes(replace(KINDS[kind], reward_scale=0.25))
    assert torch.equal(scaled, 0.25 * rewards)
    assert torch.equal(unscaled, returns)
    assert rewards.any()


def test_the_newest_observation_has_the_place_on_the_map():
    spec = replace(CORRIDOR, window_length=LENGTH)
    single, *_ = episodes(CORRIDOR)
    windows, *_ = episodes(spec)
    plain_map, agent_map = CORRIDOR.grid_map(), spec.agent_map()
    assert torch.equal(agent_map.cells(windows.flatten(0, 1)), plain_map.cells(single.flatten(0, 1)))
    assert Visits(agent_map).counts.shape == Visits(plain_map).counts.shape


def test_a_mirrored_window_is_the_window_of_the_mirrored_observations():
    spec = read(compose_settings(("+exp=tour", "env.task=ruin_2swamp"))[0]).env
    single, two = spec.symmetry(), replace(spec, window_length=2).agent_symmetry()
    assert single is not None
    observation = torch.randn(2, len(single.observation))
    mirrored = torch.cat([part[list(single.observation)] for part in observation])
    assert torch.equal(observation.flatten()[list(two.observation)], mirrored)
    assert two.action == single.action


def test_grids_have_no_window():
    run = read(compose_settings(("+exp=tour", "env.window_length=2"))[0])
    shape = run.env.spaces().observation_shape
    said = [text for text in run.env.needs(run) if "window_length" in text]
    assert len(said) == (len(shape) == 2)


@pytest.mark.parametrize("kind", KINDS)
def test_rewards_are_clipped_after_they_are_scaled(kind):
    _, rewards, returns, _ = episodes(KINDS[kind])
    _, changed, same, _ = episodes(replace(KINDS[kind], reward_scale=0.5, reward_clip=0.3))
    assert torch.equal(changed, (0.5 * rewards).clamp(-0.3, 0.3))
    assert torch.equal(same, returns)


def test_a_scale_by_the_episode_is_its_limit():
    spec = replace(KINDS["gym"], reward_scale="episode")
    assert spec.agent_rewards().scale == spec.episode_limit() == 500
    assert replace(spec, max_steps=30).agent_rewards().scale == 30


def test_a_window_of_a_grid_joins_its_planes():
    wrappers = ("tests.modules.envs.views:AsGrid",)
    single, *_ = episodes(replace(gym_spec("CartPole-v1"), wrappers=wrappers))
    spec = replace(gym_spec("CartPole-v1"), wrappers=wrappers, window_length=2)
    windows, *_ = episodes(spec)
    assert spec.agent_spaces().observation_shape == (3, 2, 8)
    assert torch.equal(windows[..., 4:], single)
    assert torch.equal(windows[1, ..., :4], single[0])
