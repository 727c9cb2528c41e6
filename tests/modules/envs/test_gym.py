import sys
from dataclasses import replace
from importlib.util import find_spec

import gymnasium
import numpy as np
import pytest
import torch
from torchrl.data import Unbounded
from torchrl.envs import (
    Compose,
    InitTracker,
    RewardSum,
    StepCounter,
    TensorDictPrimer,
    TransformedEnv,
    check_env_specs,
)

from modules import keys
from modules.envs.base import EnvContext
from modules.keys import Spaces
from modules.networks.recurrent import GRU_STATE, LSTM_STATE
from modules.spec import UsageError
from modules.torchrl_internals import wrapped_by
from tests.modules.builders import MEMORIES, gym_spec, network_spec


class Counting(gymnasium.Env):
    """Observations of any type and shape that count the steps."""

    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, dtype: str, shape: tuple[int, ...]) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 100, tuple(shape), np.dtype(dtype).type)
        self.t = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.seen(), {}

    def step(self, action):
        self.t += 1
        return self.seen(), 1.0, self.t == 3, False, {}

    def seen(self):
        return np.full(self.observation_space.shape, 10 * self.t, self.observation_space.dtype)


if "Counting-v0" not in gymnasium.registry:
    gymnasium.register("Counting-v0", Counting)

CARTPOLE = gym_spec("CartPole-v1")
MASKED = gym_spec("CartPole-v1", keep=(0, 2))


@pytest.mark.parametrize("spec", [CARTPOLE, MASKED, gym_spec("Parity-v0"), gym_spec("Parity-v0", keep=(1,))], ids=str)
@pytest.mark.parametrize("memory", MEMORIES)
def test_environment_keeps_torchrls_contract(spec, memory):
    env = spec.build(EnvContext(2, network_spec(memory).transforms()))
    check_env_specs(env, seed=0)
    spaces = spec.spaces()
    td = env.reset()
    assert td[keys.OBSERVATION].shape == (2, *spaces.observation_shape)
    assert td[keys.OBSERVATION].dtype == spaces.observation_dtype == torch.float32
    assert env.action_spec_unbatched.n == spaces.n_actions
    primed = {key: td[key] for key in LSTM_STATE + GRU_STATE if key in td}
    expected = {key: (2, *entry.shape) for key, entry in network_spec(memory).state().items()}
    assert {key: value.shape for key, value in primed.items()} == expected
    assert not any(value.any() for value in primed.values())
    env.close()


@pytest.mark.parametrize("memory", MEMORIES)
def test_tracker_and_zero_state_write_what_torchrls_transforms_write(memory):
    """Short episodes, resets of single environments, and a policy that leaves states behind."""
    spec, ours = gym_spec("CartPole-v1"), network_spec(memory).transforms()
    state = network_spec(memory).state()
    theirs = TensorDictPrimer({key: Unbounded(entry.shape) for key, entry in state.items()}, expand_specs=True)
    tracked = spec.build(EnvContext(4, ours))
    record = RewardSum(in_keys=[keys.REWARD], out_keys=[keys.EPISODE_RETURN])
    same = TransformedEnv(spec.build(EnvContext(4)).base_env, Compose(InitTracker(), StepCounter(), record, theirs))
    tds = []
    for env in (tracked, same):
        env.set_seed(1)
        tds.append(env.reset())
    generator, resets = torch.Generator().manual_seed(0), 0
    for _ in range(80):
        action = torch.randint(2, (4,), generator=generator)
        steps = []
        for i, env in enumerate((tracked, same)):
            td = tds[i].set(keys.ACTION, action)
            for key in network_spec(memory).state():
                td["next", key] = td[key] + 1
            step, tds[i] = env.step_and_maybe_reset(td)
            steps.append(step)
        for a, b in (steps, tds):
            assert set(a.keys(True, True)) == set(b.keys(True, True))
            for key in a.keys(True, True):
                written = b[key].float() if keys.REWARD in key else b[key]  # the environment gives float64
                assert torch.equal(a[key], written)
                assert a[key].dtype == written.dtype
        resets += int(steps[0]["next", keys.DONE].sum())
    assert resets > 4


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "uint16", "float32", "float64"])
@pytest.mark.parametrize(("shape", "keep"), [((3,), None), ((3,), (2, 0)), ((), None), ((2, 4, 4), None)], ids=str)
def test_observations_have_the_type_and_shape_that_spaces_promises(dtype, shape, keep):
    spec = gym_spec("Counting-v0", keep=keep, dtype=dtype, shape=shape)
    spaces, image = spec.spaces(), dtype == "uint8"
    assert spaces.observation_dtype == (torch.uint8 if image else torch.float32)
    assert spaces.observation_shape == (
        (2,)
        if keep
        else {
            (): (1,),
        }.get(shape, shape)
    )
    env = spec.build(EnvContext(2))
    check_env_specs(env, seed=0)
    td = env.reset()
    for t in range(1, 4):
        step, td = env.step_and_maybe_reset(td.set(keys.ACTION, torch.tensor([0, 1])))
        seen = step["next", keys.OBSERVATION]
        assert (seen.dtype, seen.shape) == (spaces.observation_dtype, (2, *spaces.observation_shape))
        assert (seen == 10 * t).all()
        assert (td[keys.OBSERVATION] == 10 * (t % 3)).all()
    env.close()


def test_masked_observations_are_the_kept_entries():
    whole, masked = CARTPOLE.build(EnvContext(3)), MASKED.build(EnvContext(3))
    for env in (whole, masked):
        env.set_seed(3)
    a, b = whole.reset(), masked.reset()
    for _ in range(5):
        assert torch.equal(a[keys.OBSERVATION][:, [0, 2]], b[keys.OBSERVATION])
        action = torch.tensor([0, 1, 1])
        (sa, a), (sb, b) = (e.step_and_maybe_reset(td.set(keys.ACTION, action)) for e, td in ((whole, a), (masked, b)))
        assert torch.equal(sa["next", keys.OBSERVATION][:, [0, 2]], sb["next", keys.OBSERVATION])


def test_one_environment_ends_and_the_others_go_on():
    env = MASKED.build(EnvContext(3, network_spec("lstm").transforms()))
    env.set_seed(0)
    td = env.reset()
    carts = wrapped_by(env.base_env).env
    for t in range(3):
        if t == 2:
            carts._state[:, 1] = (3.0, 0.0, 0.0, 0.0)  # beyond the end of the track
        td[keys.ACTION] = torch.tensor([0, 1, 0])
        td["next"] = {key: td[key] + 1 for key in LSTM_STATE}
        step, td = env.step_and_maybe_reset(td)
    assert step["next", keys.DONE].flatten().tolist() == [False, True, False]
    assert step["next", keys.TERMINATED].flatten().tolist() == [False, True, False]
    # The ended one shows its real final observation, and starts again behind it.
    assert step["next", keys.OBSERVATION][1, 0] > 2.4
    assert td[keys.OBSERVATION][1].abs().max() <= 0.05
    assert torch.equal(td[keys.OBSERVATION][[0, 2]], step["next", keys.OBSERVATION][[0, 2]])
    assert td[keys.IS_INIT].flatten().tolist() == [False, True, False]
    assert td[keys.STEP_COUNT].flatten().tolist() == [3, 0, 3]
    assert step["next", keys.EPISODE_RETURN].flatten().tolist() == [3, 3, 3]
    assert td[LSTM_STATE[0]].flatten(1).unique(dim=1).flatten().tolist() == [3, 0, 3]
    step, _ = env.step_and_maybe_reset(td.set(keys.ACTION, torch.tensor([0, 1, 0])))
    assert step["next", keys.EPISODE_RETURN].flatten().tolist() == [4, 1, 4]


def test_time_limit_truncates_and_does_not_terminate():
    env = gym_spec("CartPole-v1", max_episode_steps=3).build(EnvContext(2))
    td = env.reset()
    for _ in range(3):
        step, td = env.step_and_maybe_reset(td.set(keys.ACTION, torch.tensor([0, 1])))
    assert step["next", keys.TRUNCATED].all()
    assert not step["next", keys.TERMINATED].any()
    assert step["next", keys.DONE].all()


def test_a_seed_makes_the_next_reset_of_all_and_no_reset_of_its_own():
    env = CARTPOLE.build(EnvContext(3))
    env.set_seed(5)
    td = env.reset()
    alone = [gymnasium.make("CartPole-v1") for _ in range(3)]
    first = np.stack([single.reset(seed=5 + i)[0] for i, single in enumerate(alone)])
    assert np.array_equal(td[keys.OBSERVATION].numpy(), first)
    env.set_seed(90)  # a reset of some environments leaves it to the next one of all
    some = env.reset(td.set("_reset", torch.tensor([[False], [True], [False]])))
    assert np.array_equal(some[keys.OBSERVATION][1].numpy(), alone[1].reset()[0])
    fresh = np.stack([single.reset(seed=90 + i)[0] for i, single in enumerate(alone)])
    assert np.array_equal(env.reset()[keys.OBSERVATION].numpy(), fresh)
    fresh = np.stack([single.reset()[0] for single in alone])
    assert np.array_equal(env.reset()[keys.OBSERVATION].numpy(), fresh)


def test_seed_decides_the_episode_and_environments_differ():
    def first(seed):
        env = CARTPOLE.build(EnvContext(3))
        env.set_seed(seed)
        return env.reset()[keys.OBSERVATION]

    assert torch.equal(first(5), first(5))
    assert not torch.equal(first(5), first(50))
    assert first(5).unique(dim=0).shape[0] == 3


def test_spaces():
    assert CARTPOLE.spaces() == Spaces(observation_shape=(4,), observation_dtype=torch.float32, n_actions=2)
    assert MASKED.spaces() == Spaces(observation_shape=(2,), observation_dtype=torch.float32, n_actions=2)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (gym_spec("CartPole-v7"), "env.id: Gymnasium knows no environment 'CartPole-v7'; did you mean CartPole-v1"),
        (gym_spec("CartPol-v1"), "did you mean CartPole-v1"),
        (gym_spec("PongNoFrameskip-v0"), "Atari games are env=atari env.id=ALE/Pong-v5"),
        (gym_spec("Breakout-ram-v4"), "Atari games are env=atari env.id=ALE/Breakout-v5"),
        (gym_spec("nothing like it"), "Gymnasium knows no environment 'nothing like it'"),
        (gym_spec(""), "Gymnasium knows no environment ''"),
        (gym_spec("no_such_module:CartPole-v1"), "env.id: there is no module 'no_such_module', neither in the current"),
        (
            gym_spec("Pendulum-v1"),
            "those of Pendulum-v1 are continuous (Box(-2.0, 2.0, (1,), float32)): offer a few of",
        ),
        (gym_spec("CartPole-v1", gravity_constant=1), "CartPole-v1 cannot be made with kwargs"),
        (gym_spec("CartPole-v1", keep=()), "env.keep: [] must list entries"),
        (gym_spec("CartPole-v1", keep=(0, 4)), "env.keep: [0, 4] must list entries"),
        (gym_spec("CartPole-v1", keep=(-1,)), "env.keep: [-1] must list entries"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(spec, message, monkeypatch):
    for name in [name for name in gymnasium.registry if "NoFrameskip" in name or "-ram" in name]:
        monkeypatch.delitem(gymnasium.registry, name)  # another test has imported ale_py
    with pytest.raises(UsageError) as caught:
        spec.spaces()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("env_id", "package"),
    [
        ("MiniGrid-Empty-5x5-v0", "minigrid"),
        ("BabyAI-GoToObj-v0", "minigrid"),
        ("popgym-AutoencodeMedium-v0", "popgym"),
        ("MinAtar/Freeway-v0", "minatar"),
    ],
)
def test_without_an_extra_one_sentence_says_what_to_install(env_id, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)  # import fails
    spec = gym_spec(env_id)
    for ask in (spec.spaces, spec.episode_limit):
        with pytest.raises(
            UsageError, match=rf"^env.id: {env_id} needs the package {package} .*pip install .*\[{package}\]'`$"
        ):
            ask()


@pytest.mark.skipif(find_spec("minigrid") is None, reason="needs minigrid: pip install -e '.[minigrid]'")
def test_minigrids_dict_of_image_direction_and_text_cannot_be_read():
    with pytest.raises(UsageError, match=r"observation\['mission'\] of MiniGrid-Empty-5x5-v0 is a MissionSpace"):
        gym_spec("MiniGrid-Empty-5x5-v0").spaces()


def test_picture_is_drawn_on_request():
    env = MASKED.build(EnvContext(1, video=True))
    env.reset()
    picture = MASKED.picture(env)
    assert picture.dtype.name == "uint8"
    assert picture.shape == (400, 600, 3)
    env.close()


def test_where_the_channels_of_an_image_beside_others_are_is_a_setting_too():
    spec = replace(gym_spec("CartPole-v1"), wrappers=("tests.modules.envs.views:WithPicture",))
    for channels, axis in (("last", 2), ("first", 0)):
        env = replace(spec, channels=channels)
        (image,) = (part for part, _ in env.spaces().places("image"))
        assert image.channels == axis
        assert env.build(EnvContext(2)).reset()[keys.OBSERVATION].shape == (2, 52)
