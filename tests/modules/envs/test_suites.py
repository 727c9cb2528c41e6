"""Public suites by the short names of their tasks."""

from importlib.util import find_spec

import pytest
import torch

from modules import keys
from modules.envs.base import EnvContext
from modules.spec import UsageError
from pipelines.config.composing import compose_settings
from pipelines.config.schema import read


def needs(package):
    return pytest.mark.skipif(find_spec(package) is None, reason=f"needs {package}: pip install -e '.[{package}]'")


def run_of(*words):
    return read(compose_settings(("+exp=drqn_cartpole_masked", "env.keep=null", "env.normalise=none", *words))[0])


@needs("popgym")
@pytest.mark.parametrize(
    ("task", "size", "actions", "limit"),
    [
        ("RepeatPreviousEasy", 4, 4, 51),
        ("AutoencodeEasy", 6, 4, 103),
        ("HigherLowerEasy", 13, 2, 52),
        ("ConcentrationEasy", 156, 52, 103),
        ("MineSweeperEasy", 3, 16, 14),
        ("PositionOnlyCartPoleHard", 2, 2, 600),
    ],
)
def test_popgym(task, size, actions, limit):
    env = run_of("env=popgym", f"env.id={task}").env
    spaces = env.spaces()
    assert (spaces.observation_shape, spaces.n_actions) == ((size,), actions)
    assert env.episode_limit() == pytest.approx(limit, abs=1)
    assert env.agent_rewards().scale == env.episode_limit()


@needs("popgym")
def test_popgyms_rewards_are_of_order_one_and_its_returns_as_published():
    env = run_of("env=popgym", "env.id=RepeatPreviousEasy").env.build(EnvContext(2))
    env.set_seed(0)
    found = env.rollout(200, break_when_any_done=True)
    rewards = found["next", keys.REWARD]
    assert 0.9 < rewards.abs().max() < 1.2
    assert found["next", keys.EPISODE_RETURN].abs().max() <= 1
    env.close()


@needs("minatar")
@pytest.mark.parametrize(
    ("game", "planes", "actions"),
    [("Breakout", 4, 3), ("Freeway", 7, 3), ("Asterix", 4, 5), ("SpaceInvaders", 6, 4), ("Seaquest", 10, 6)],
)
def test_minatar(game, planes, actions):
    run = run_of("env=minatar", f"env.id={game}", "network/torso=grid")
    spaces = run.env.spaces()
    assert (spaces.observation_shape, spaces.observation_dtype) == ((10, 10, planes), torch.uint8)
    assert (spaces.planes, spaces.n_actions) == (2, actions)
    assert not [*run.network.torso.problems(spaces)]
    flat = run_of("env=minatar", f"env.id={game}")  # an MLP reads the same as one vector
    assert not [*flat.network.torso.problems(spaces)]


@needs("minatar")
def test_a_name_that_no_game_has():
    with pytest.raises(UsageError, match=r"MinAtar/Brekout-v1'; did you mean .*MinAtar/Breakout-v1"):
        run_of("env=minatar", "env.id=Brekout")
