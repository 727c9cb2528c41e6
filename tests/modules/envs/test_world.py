"""The environment around small worlds: many independent episodes, resets of some, seeds, specs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict import TensorDict
from torchrl.envs.utils import check_env_specs

from modules import keys
from modules.envs.base import EnvContext
from modules.envs.worlds.tour_tasks import TASKS
from modules.envs.worlds.world import WorldEnv, world_env
from tests.modules.envs.contract import assert_a_batch_steps_like_each_of_its_episodes_alone
from tests.modules.envs.optimum import tour_spec

FLAGS = (keys.DONE, keys.TERMINATED, keys.TRUNCATED)


def make(task="ruin_2swamp", n=5, seed=0, **rules):
    env = WorldEnv(tour_spec(task, **rules).world(), n)
    env.set_seed(seed)
    return env


def act(env, td, *actions):
    """Step, and reset what ended; returns the step and where it continues."""
    return env.step_and_maybe_reset(td.set(keys.ACTION, torch.tensor(actions)))


def copy(state):
    return {key: value.clone() for key, value in state.items()}


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("n", [1, 5])
def test_specs(task, n):
    check_env_specs(WorldEnv(tour_spec(task).world(), n))
    env = tour_spec(task).build(EnvContext(n))
    check_env_specs(env)
    shape = (n, *tour_spec(task).spaces().observation_shape)
    td = env.reset()
    assert td[keys.OBSERVATION].shape == shape
    assert td[keys.OBSERVATION].dtype == torch.uint8
    assert env.action_spec_unbatched.n == 3
    assert td.device == torch.device("cpu")


def test_device_argument():
    world = tour_spec("many_swamp").world("cpu")
    env = WorldEnv(world, 3, device="cpu")
    td = env.rollout(4)
    assert env.device == world.device == td.device == torch.device("cpu")
    assert {value.device for value in env.state.values()} == {torch.device("cpu")}
    other = WorldEnv(tour_spec("many_swamp").world(torch.device("cpu")), 3, device=torch.device("cpu"))
    assert other.device == env.device


@pytest.mark.parametrize("task", ["tmaze_either", "ruin_2swamp"])
def test_same_seed_same_episodes(task):
    def record(seed):
        env = make(task, seed=seed)
        generator = torch.Generator().manual_seed(1)
        td, steps = env.reset(), []
        for _ in range(60):
            step, td = act(env, td, *torch.randint(3, (5,), generator=generator).tolist())
            steps.append(step)
        return torch.stack(steps, 1)

    first = record(3)
    assert (first == record(3)).all()
    assert (first != record(4)).any()
    assert first["next", keys.DONE].sum() >= 10  # later episodes are compared too


def test_seeding_starts_the_stream_anew():
    env = make()
    first = env.reset()[keys.OBSERVATION]
    assert not torch.equal(env.reset()[keys.OBSERVATION], first)
    env.set_seed(0)
    assert torch.equal(env.reset()[keys.OBSERVATION], first)


def test_partial_reset_touches_only_what_it_is_asked_for():
    env = make(n=4)
    td = env.reset()
    for _ in range(3):
        _, td = act(env, td, 1, 2, 1, 2)
    before = copy(env.state)
    which = torch.tensor([False, True, False, True])
    after = env.reset(td.clone().set("_reset", which.unsqueeze(1)))
    for key, value in env.state.items():
        assert torch.equal(value[~which], before[key][~which])
    assert env.state["time"].tolist() == [3, 0, 3, 0]
    assert env.state["heading"].tolist() == [3, 0, 3, 0]
    assert not torch.equal(env.state["cells"][which], before["cells"][which])  # other maps
    assert torch.equal(after[keys.OBSERVATION], env.world.observe(env.state))
    assert not any(after[name].any() for name in FLAGS)


def test_a_whole_reset_begins_everywhere():
    env = make(n=3)
    td = env.reset()
    _, td = act(env, td, 0, 0, 0)
    env.reset()
    assert env.state["time"].tolist() == [0, 0, 0]
    env.reset(td.set("_reset", torch.ones(3, 1, dtype=torch.bool)))
    assert env.state["time"].tolist() == [0, 0, 0]


def test_episodes_end_one_by_one():
    """Two robots on the same map: one finds the goal, the other runs out of time; the flags tell which."""
    env = make("open_field", n=2, maps=(("#G#", "#.#", "#S#"),), max_time=3, sight=2, seed=0)
    td = env.reset()
    step, td = act(env, td, 0, 1)
    assert not step["next", keys.DONE].any()
    step, td = act(env, td, 0, 1)
    assert [step["next", name].flatten().tolist() for name in FLAGS] == [[True, False], [True, False], [False, False]]
    assert step["next", keys.REWARD].flatten().tolist() == pytest.approx([1, -0.1])
    assert env.state["time"].tolist() == [0, 2]
    step, td = act(env, td, 1, 1)
    assert [step["next", name].flatten().tolist() for name in FLAGS] == [[False, True], [False, False], [False, True]]
    assert env.state["time"].tolist() == [1, 0]


def test_what_was_returned_does_not_change_later():
    """Cells are changed in place; observations must not be views of them."""
    for walls_show in (True, False):
        env = make("many_swamp", n=3, walls_show=walls_show)
        td = env.reset()
        kept = []
        for _ in range(12):
            step, td = act(env, td, 0, 1, 0)
            kept.append((step, step.clone()))
        assert all((now == then).all() for now, then in kept)


TASK_NAMES = st.sampled_from(["silent_ruin", "many_swamp", "tmaze_either", "ruin_2swamp"])


@settings(max_examples=20)
@given(TASK_NAMES, st.integers(0, 1000))
def test_a_batch_steps_like_each_of_its_episodes_alone(task, seed):
    world = tour_spec(task).world()
    generator = torch.Generator().manual_seed(seed)
    actions = (torch.randint(6, (world.task.max_time, 6), generator=generator) - 3).clamp(min=0)  # mostly forward
    assert_a_batch_steps_like_each_of_its_episodes_alone(world, actions, seed=seed)


def test_neither_step_nor_observe_draws():
    """Only `start` may, so that acting does not change which maps come next."""
    world = tour_spec("ruin_1swamp").world()
    world.seed(0)
    one, expected = world.start(4), world.start(4)
    world.seed(0)
    state, before = world.start(4), torch.get_rng_state()
    assert same(one, state)
    for _ in range(5):
        state, *_ = world.step(state, torch.zeros(4, dtype=torch.int64))
        world.observe(state)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(world.start(4), expected)


def test_the_world_is_found_inside_the_wrappers():
    env = tour_spec("tmaze_both").build(EnvContext(2))
    assert world_env(env) is env.base_env
    assert world_env(env.base_env) is env.base_env
    assert isinstance(env.rollout(3), TensorDict)
