import gymnasium
import numpy as np
import pytest
import torch

from modules import keys
from modules.envs.base import EnvContext, LastStep
from modules.evaluation import Episodes, run_episodes
from modules.networks.tensordict_modules import Policy
from modules.seeding import random_state
from tests.modules.builders import always, gym_spec, network_spec

PARITY, CARTPOLE = gym_spec("Parity-v0"), gym_spec("CartPole-v1")


@pytest.mark.parametrize(
    ("num_envs", "episodes", "lengths"),
    [
        # Under seed 0, every second environment takes 10 steps an episode, the others 1. Whoever takes what ends
        # first would see hardly any long one.
        (2, 2, [1, 10]),
        (2, 6, [1, 1, 1, 10, 10, 10]),
        (2, 5, [1, 1, 1, 10, 10]),
        (4, 6, [1, 1, 1, 10, 10, 10]),
        (4, 3, [1, 10, 1]),
        (1, 3, [1, 1, 1]),
    ],
)
def test_each_environment_contributes_its_share(num_envs, episodes, lengths):
    result = run_episodes(PARITY.build(EnvContext(num_envs)), always(0), episodes=episodes, seed=0)
    assert sorted(result.lengths) == sorted(lengths)
    assert result.returns == [float(length) for length in result.lengths]


def test_the_long_episodes_come_first_when_the_seed_is_odd():
    result = run_episodes(PARITY.build(EnvContext(2)), always(0), episodes=3, seed=1)
    assert sorted(result.lengths) == [1, 10, 10]


def test_returns_are_those_of_gymnasium():
    """Replay the same actions in bare environments: first episode each, under the seeds 7, 8, 9."""
    result = run_episodes(CARTPOLE.build(EnvContext(3)), always(1), episodes=3, seed=7)
    expected = []
    for seed in (7, 8, 9):
        env = gymnasium.make("CartPole-v1")
        env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            _, reward, terminated, truncated, _ = env.step(1)
            total, over = total + float(reward), terminated or truncated
        expected.append(total)
    assert result.returns == expected


def test_same_seed_same_result_whatever_ran_before():
    env = CARTPOLE.build(EnvContext(3))
    first = run_episodes(env, always(1), episodes=7, seed=3)
    other = run_episodes(env, always(1), episodes=7, seed=4)
    assert run_episodes(env, always(1), episodes=7, seed=3) == first
    assert run_episodes(CARTPOLE.build(EnvContext(3)), always(1), episodes=7, seed=3) == first
    assert other != first


def test_evaluation_disturbs_no_random_stream():
    """In a fork of PyTorch's generator, as the loop calls it."""

    def flat(state):
        return state["python"], state["numpy"][1].tolist(), state["numpy"][2:], state["torch"].tolist()

    before = flat(random_state())
    with torch.random.fork_rng(devices=[]):
        run_episodes(CARTPOLE.build(EnvContext(2)), always(1), episodes=3, seed=0)
    assert flat(random_state()) == before


def test_no_graph_is_kept():
    network = network_spec("lstm").build(CARTPOLE.spaces())
    graphs = []
    network.head.layers.register_forward_hook(lambda module, args, out: graphs.append(out.requires_grad))
    run_episodes(CARTPOLE.build(EnvContext(2, network_spec("lstm").transforms())), Policy(network), episodes=4, seed=0)
    assert graphs
    assert not any(graphs)


@pytest.mark.parametrize(("longest", "lengths"), [(8, [1, 1, 8, 8]), (10, [1, 1, 10, 10]), (1, [1, 1, 1, 1])])
def test_an_episode_that_goes_on_is_cut_off_which_is_said_once_and_the_next_begins_anew(longest, lengths, caplog):
    env = PARITY.build(EnvContext(2, [LastStep(longest, "eval_max_steps")]))
    found = run_episodes(env, always(0), episodes=4, seed=0)
    assert (found.lengths, found.returns) == (lengths, [float(n) for n in lengths])
    assert len(caplog.messages) == (longest < 10)
    assert all(f"cut off after {longest} steps (eval_max_steps)" in message for message in caplog.messages)


def test_what_is_cut_off_is_truncated_and_what_ends_at_the_last_step_is_not():
    env = PARITY.build(EnvContext(2, [LastStep(1, "x")]))
    env.set_seed(0)
    after = env.step(always(0)(env.reset()))["next"]
    flags = [after[key].flatten().tolist() for key in (keys.DONE, keys.TERMINATED, keys.TRUNCATED)]
    assert flags == [[True, True], [True, False], [False, True]]


def test_whoever_watches_hears_how_far_it_is_and_can_end_it_before_any_step():
    seen = []

    def watch(ended, episodes):
        seen.append((ended, episodes))
        if len(seen) == 4:
            raise KeyError("enough")

    env = PARITY.build(EnvContext(2))
    with pytest.raises(KeyError, match="enough"):
        run_episodes(env, always(0), episodes=4, seed=0, watch=watch)
    assert seen == [(0, 4), (1, 4), (2, 4), (2, 4)]
    assert sorted(run_episodes(env, always(0), episodes=2, seed=0).lengths) == [1, 10]  # it can be used again


def test_look_sees_the_reset_and_each_step():
    seen = []
    env = PARITY.build(EnvContext(1))
    run_episodes(env, always(0), episodes=1, seed=1, look=lambda where, td: seen.append((where, "next" in td)))
    assert seen == [(env, False)] + [(env, True)] * 10


class Wages(gymnasium.Env):
    """Pays 0.1 a step."""

    observation_space = gymnasium.spaces.Box(0, 1, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = self.steps
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.zeros(1, np.float32), 0.1, self.left == 0, False, {}


if "Wages-v0" not in gymnasium.registry:
    gymnasium.register("Wages-v0", Wages)


def test_many_small_rewards_add_up():
    """In float32 they would miss by 1e-3, and 200 000 of them by 41."""
    episodes = run_episodes(gym_spec("Wages-v0", steps=1_500).build(EnvContext(1)), always(0), episodes=1, seed=0)
    assert episodes.returns == [pytest.approx(150, abs=1e-6)]
    assert episodes.metrics()["eval/return_mean"] == episodes.returns[0]


def test_metrics_by_hand():
    metrics = Episodes(returns=[1.0, 2.0, 6.0], lengths=[1, 2, 6]).metrics()
    assert metrics == {
        "eval/return_mean": 3.0,
        "eval/return_std": pytest.approx((14 / 3) ** 0.5),
        "eval/return_min": 1.0,
        "eval/return_max": 6.0,
        "eval/length_mean": 3.0,
        "eval/episodes": 3,
    }
