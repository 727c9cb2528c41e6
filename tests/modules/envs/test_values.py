"""What environments give while acting: outside their space, beyond float32, beside the point; several at once."""

import itertools
import re
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple

from modules import keys
from modules.envs.base import EnvContext
from modules.envs.pixels import PixelsSpec
from modules.errors import BadValueError, NonFiniteError
from modules.spec import UsageError
from pipelines.config.check import check
from pipelines.config.composing import compose_settings
from pipelines.config.schema import read
from tests.modules.builders import FRAMES, gym_spec
from tests.modules.envs.anything import any_spec

PAIR = Box(0, 1, (2,))
STILL = torch.zeros(2, dtype=torch.int64)

SAME = {"channels": None, **FRAMES}


def pixels(env_id, **kwargs):
    return PixelsSpec(id=env_id, kwargs=kwargs, height=4, width=4, crop=(0.0, 1.0, 0.0, 1.0), **SAME)


def act(spec, steps=3):
    """Step two environments; returns what the last step led to."""
    env = spec.build(EnvContext(2))
    env.set_seed(0)
    td = env.reset()
    for _ in range(steps):
        step, td = env.step_and_maybe_reset(td.set(keys.ACTION, STILL))
    env.close()
    return step["next"]


@pytest.mark.parametrize(
    ("space", "value", "said"),
    [
        (Discrete(5), -1, "-1 as its observation, which is not in Discrete(5)"),
        (Discrete(5), 5, "5 as its observation, which is not in Discrete(5)"),
        (Discrete(3, start=7), 6, "6 as its observation, which is not in Discrete(3, start=7)"),
        (Discrete(5), np.float64(1.5), "1.5) as its observation, which is not in Discrete(5)"),
        (Discrete(5), None, "None as its observation, which is not in Discrete(5)"),
        (MultiDiscrete([4, 3]), np.array([1, 3]), "array([1, 3]) as its observation, which is not in MultiDiscrete"),
        (MultiDiscrete([4, 3]), np.array([-1, 0]), "array([-1, 0]) as its observation"),
        (MultiDiscrete([4, 3], start=[2, 2]), np.array([1, 2]), "not in MultiDiscrete([4 3], start=[2 2])"),
        (MultiDiscrete([4, 3]), np.array([1, 1, 1]), "which is [3] of int64, but its observation_space promises [2]"),
        (MultiBinary(3), np.array([0, 1, 2]), "array([0, 1, 2]) as its observation, which is not in MultiBinary(3)"),
        (Dict({"m": MultiBinary(2)}), {"m": np.array([0.5, 0])}, "array([0.5, 0. ]) as its observation['m'], "),
        (MultiBinary(3), np.array([0, 1]), "which is [2] of int64, but its observation_space promises [3] of int8"),
        (Dict({"a": Dict({"b": Discrete(9)})}), {"a": {"b": -3}}, "-3 as its observation['a']['b'], which is not"),
        (Tuple((Discrete(2), MultiBinary(1))), (0, np.array([7])), "as its observation[1], which is not in Multi"),
        (Tuple((Discrete(2), Discrete(2))), (0,), "(0,) as its observation, which is not in Tuple("),
        (Dict({"a": Box(-9, 9, (1,), np.int8)}), {"a": np.array([300])}, "array([300]) as its observation['a'],"),
        (Box(-9, 9, (1,), np.int8), np.array([300]), "array([300]) as its observation, which is not in Box"),
        (Box(0, 99, (2,), np.uint16), np.array([7, 70_000], np.uint32), "which is not in Box"),
        (PAIR, np.zeros(3), "which is [3] of float64, but its observation_space promises [2] of float32"),
        (PAIR, None, "None as its observation, which is [] of object"),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("when", [0, 2])
def test_an_observation_outside_its_space_ends_acting_with_the_environments_name(space, value, said, when):
    with pytest.raises(BadValueError, match=rf"^env.id: Any-v0 gave .*{re.escape(said)}"):
        act(any_spec(space, wrong={"observation": {when: value}}))
    if when == 0:  # known before training
        with pytest.raises(UsageError, match=rf"^env.id: the first reset of Any-v0 gives .*{re.escape(said)}"):
            list(any_spec(space, wrong={"observation": {0: value}}).needs(Dry()))


class Dry:
    video = False


def test_what_is_in_its_space_is_read_however_it_is_written():
    space = Dict({"n": Discrete(4), "m": MultiDiscrete([3, 2]), "b": MultiBinary(2), "x": Box(-1, 1, (1,))})
    value = {"n": np.array([3]), "m": [2, 1], "b": np.array([True, False]), "x": [5]}
    seen = act(any_spec(space, wrong={"observation": {2: value}}), steps=2)[keys.OBSERVATION]
    assert seen[0].tolist() == [1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 5]  # b, m, n, x


@pytest.mark.parametrize("reward", [1e39, -3.5e38, 1e300, 10**60, np.longdouble(1e200)], ids=str)
@pytest.mark.parametrize("kind", ["vector", "pixels"])
def test_a_reward_beyond_float32_ends_acting_with_the_environments_name(reward, kind):
    wrong = {"reward": {2: reward}}
    frame = np.zeros((4, 4, 3), np.uint8)
    spec = any_spec(PAIR, wrong=wrong) if kind == "vector" else pixels("Any-v0", seen=PAIR, wrong=wrong, frames=[frame])
    act(spec, steps=1)
    with pytest.raises(
        BadValueError, match=r"^env.id: Any-v0 gave .* as its reward \(environment 0 of 2\), which is more"
    ):
        act(spec)


def test_rewards_that_float32_holds_are_handed_on():
    largest = float(np.finfo(np.float32).max)
    for reward in (largest, -largest, 1e-300, np.float16(2), True, np.array(3)):
        assert act(any_spec(PAIR, wrong={"reward": {2: reward}}), steps=2)[keys.REWARD][0] == np.float32(reward)
    with pytest.raises(NonFiniteError, match=r"gave nan as its reward \(environment 0 of 2\)$"):
        act(pixels("Any-v0", seen=PAIR, wrong={"reward": {3: np.nan}}, frames=[np.zeros((4, 4), np.uint8)]))


@pytest.mark.parametrize("reward", [10**400, "two", np.zeros(2), {}], ids=["10**400", "word", "array", "dict"])
def test_a_reward_that_is_no_number_ends_acting_with_the_environments_name(reward):
    with pytest.raises(BadValueError, match=r"^env.id: Any-v0 gave a reward or an end that is no number: "):
        act(any_spec(PAIR, wrong={"reward": {2: reward}}))


INFOS = [
    {"seen": np.zeros(3)}, {"seen": np.zeros(5)}, {"seen": "word", "final_obs": 3}, {"seen": {"a": [1, {}]}},
    {"seen": {"a": None}, "_seen": []}, None, [], 7, "text", {1: 2, None: object()}, {"seen": np.zeros((2, 2), object)},
]  # fmt: skip


@pytest.mark.parametrize("make", [any_spec, lambda seen, **more: pixels("Any-v0", seen=seen, **more)])
def test_infos_may_be_anything_and_change(make):
    frame = np.zeros((4, 4, 3), np.uint8)
    without = set(act(make(PAIR, frames=[frame])).keys())
    for first in (0, 2, 5):  # which the first environment's reset gives
        after = act(make(PAIR, infos=INFOS[first:] + INFOS[:first], frames=[frame]), steps=9)
        assert set(after.keys()) == without


@pytest.mark.parametrize("space", [Text(5), Dict({}), Discrete(2**40), PAIR], ids=str)
def test_whoever_sees_pixels_is_not_asked_for_observations(space):
    wrong = {"observation": {t: object() for t in range(9)}}
    seen = act(pixels("Any-v0", seen=space, wrong=wrong, frames=[np.full((4, 4, 3), 9, np.uint8)]))
    assert (seen[keys.OBSERVATION] == 9).all()


class Counted(gymnasium.Env):
    """One of a kind: `each` says what its number changes, or from which number on it does not work."""

    made = itertools.count()
    alive = 0

    def __init__(self, each, render_mode=None):
        self.number, self.each, self.render_mode = next(Counted.made), each, render_mode
        self.observation_space = Box(0, 1, (2 + (self.number if each == "seen" else 0),))
        self.action_space = Discrete(2 + (self.number % 2 if each == "actions" else 0))
        if each == "port" and Counted.alive:
            raise OSError(98, "Address already in use")
        Counted.alive += 1

    def reset(self, *, seed=None, options=None):
        if self.each == "late" and Counted.alive > 3:
            raise ConnectionError("too many\nplayers")
        return self.observation_space.low, {}

    def step(self, action):
        return self.observation_space.low, 0.0, False, False, {}

    def close(self):
        Counted.alive -= 1


class Loose(gymnasium.Env):
    """Takes whatever is given; renders without having been asked how."""

    metadata = {"render_modes": ["rgb_array", "ansi"]}  # noqa: RUF012 - Gymnasium's own form
    observation_space, action_space = PAIR, Discrete(2)

    def __init__(self, num_envs=1, wrappers=()):
        self.given = (num_envs, wrappers)

    def reset(self, *, seed=None, options=None):
        return np.full(2, self.given[0] / 10, np.float32), {}


for kind in (Counted, Loose):
    gymnasium.register(f"{kind.__name__}-v0", kind)


@pytest.mark.parametrize(
    ("each", "said"),
    [
        ("seen", "must have the same observation_space, but one Counted-v0 has Box.* and another Box"),
        ("actions", "must have the same action_space, but one Counted-v0 has Discrete"),
        ("port", "has 8 environments at once, .* number 2 of Counted-v0 cannot be made .*Address already in use"),
        ("late", "number 4 of Counted-v0 cannot be made and reset .*ConnectionError: too many players$"),
    ],
)
def test_environments_that_cannot_live_side_by_side_are_told_before_training(each, said):
    spec = gym_spec("Counted-v0", each=each)
    spec.spaces()
    with pytest.raises(UsageError, match=f"^env.id: .*{said}"):
        spec.try_together(8, video=False)
    assert Counted.alive == 0


def test_as_many_are_tried_as_there_is_time_for_and_two_at_least(monkeypatch):
    made = []
    monkeypatch.setattr(
        Counted, "reset", lambda self, **_: made.append(self.number) or (self.observation_space.low, {})
    )
    gym_spec("Counted-v0", each="").try_together(40, video=False)
    assert len(made) == 40
    monkeypatch.setattr("modules.envs.vector.TRY_S", -1.0)
    gym_spec("Counted-v0", each="").try_together(40, video=False)
    assert len(made) == 42
    gym_spec("Counted-v0", each="").try_together(40, video=False, all_of_them=True)
    pixels("Any-v0", seen=PAIR, frames=[np.zeros((4, 4, 3), np.uint8)]).try_together(3, video=False, all_of_them=True)
    assert len(made) == 82
    assert Counted.alive == 0


@pytest.mark.parametrize(("dry", "tried"), [(True, 40 + 10 + 1), (False, 2)])
def test_a_dry_run_tries_all_however_long_it_takes(dry, tried, monkeypatch, tmp_path):
    monkeypatch.setattr("modules.envs.vector.TRY_S", -1.0)
    words = ("env.id=CartPole-v1", "collector.num_envs=40", "eval_episodes=10", "video=true", f"dry={dry}")
    run = read(compose_settings(("+exp=drqn_cartpole_masked", "device=cpu", *words))[0])
    made = []
    monkeypatch.setattr(
        "modules.envs.vector.refuse_other_spaces", lambda env, first, env_id: made.append(env.unwrapped.render_mode)
    )
    check(run, tmp_path / "run")
    assert made == [None, "rgb_array", *[None] * (tried - 2)]


def test_arguments_of_a_constructor_may_be_called_as_those_of_gymnasiums_functions():
    spec = gym_spec("Loose-v0", num_envs=7, wrappers=[1])
    env = spec.build(EnvContext(3))
    assert env.batch_size == (3,)
    assert torch.allclose(env.reset()[keys.OBSERVATION], torch.tensor(0.7))
    for name in ("num_envs", "wrappers", "vectorization_mode", "vector_kwargs", "disable_env_checker", "id"):
        with pytest.raises(UsageError, match=rf"^env: CartPole-v1 cannot be made with kwargs .*{name}"):
            replace(gym_spec("CartPole-v1"), kwargs={name: 3}).spaces()


def test_a_constructor_that_takes_no_render_mode_is_told_before_a_film():
    class Filmed:
        video = True

    assert not list(gym_spec("Counted-v0", each="").needs(Dry()))
    with pytest.raises(UsageError, match=r"^env: Loose-v0 cannot be made .*: its constructor takes no render_mode"):
        gym_spec("Loose-v0").film_problem()
