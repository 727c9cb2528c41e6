"""Environments of users, right and wrong: wrappers, files, the first step, numbers that are none."""

import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete

from modules import keys
from modules.envs.base import EnvContext
from modules.errors import NonFiniteError
from modules.spec import UsageError
from tests.modules.builders import gym_spec
from tests.modules.envs import anything
from tests.modules.envs.anything import IMAGE, any_spec, seen_and_shown


def test_wrappers_are_put_around_each_environment_in_their_order():
    space = Box(0, 1, (2,))
    for wrappers, expected in (
        (("Doubled", "Shifted"), lambda x: 2 * x + 1),
        (("Shifted", "Doubled"), lambda x: 2 * (x + 1)),
    ):
        for seen, shown in seen_and_shown(any_spec(space, *wrappers)):
            np.testing.assert_array_equal(seen.numpy(), np.stack([expected(one) for one in shown]))


def test_a_wrapper_may_change_what_is_seen_and_how_long_an_episode_lasts(tmp_path, monkeypatch):
    (tmp_path / "short_and_flat.py").write_text(
        "from gymnasium.wrappers import FlattenObservation, TimeLimit\n"
        "class Short(TimeLimit):\n    def __init__(self, env):\n        super().__init__(env, 2)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    names = ("gymnasium.wrappers:FlattenObservation", "short_and_flat:Short")
    spec = replace(any_spec(Box(0, 1, (2, 3))), wrappers=names)
    assert (spec.spaces().observation_shape, spec.episode_limit()) == ((6,), 2)
    sys.modules.pop("short_and_flat")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (f"{anything.__name__}:Broken", "env.wrappers: Broken cannot be put around CartPole-v1: no such luck"),
        (f"{anything.__name__}:Missing", f"{anything.__name__} has no such class"),
        (f"{anything.__name__}:Any", "has it, but it is no gymnasium.Wrapper"),
        ("Doubled", "'Doubled' is not of the form module:Class"),
        ("no_such_module:Doubled", "env.wrappers: there is no module 'no_such_module'"),
    ],
)
def test_wrappers_that_cannot_be_used_are_one_sentence(name, said):
    with pytest.raises(UsageError) as refused:
        replace(gym_spec("CartPole-v1"), wrappers=(name,)).spaces()
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("env_id", "wrappers", "named"),
    [
        ("CartPole-v1", ("gymnasium.wrappers:NormalizeObservation",), "NormalizeObservation in CartPole-v1"),
        (
            "Acrobot-v1",
            ("gymnasium.wrappers:NormalizeReward", "gymnasium.wrappers:FlattenObservation"),
            "NormalizeReward in",
        ),
        ("CartPole-v1", ("tests.pipelines.scaled:Gently",), "Gently in CartPole-v1"),
        ("CartPole-v1", ("tests.pipelines.scaled:Copied",), "Copied in CartPole-v1"),
        ("tests.pipelines.scaled:Paid-v0", (), "NormalizeReward in tests.pipelines.scaled:Paid-v0"),
        ("tests.pipelines.scaled:Holder-v0", (), "Gently in tests.pipelines.scaled:Holder-v0"),
    ],
)
def test_running_statistics_are_refused_wherever_they_are(env_id, wrappers, named, monkeypatch):
    closed = []
    monkeypatch.setattr("gymnasium.Wrapper.close", lambda self: closed.append(self))
    for ask in ("spaces", "episode_limit"):
        closed.clear()
        with pytest.raises(UsageError, match=f"^env: {named}.* scales by running statistics") as said:
            getattr(replace(gym_spec(env_id), wrappers=wrappers), ask)()
        assert "\n" not in str(said.value)
        assert closed


def test_statistics_that_stay_as_they_are_are_no_running_ones():
    spec = replace(gym_spec("CartPole-v1"), wrappers=("tests.pipelines.scaled:Fixed",))
    env = spec.build(EnvContext(2))
    env.set_seed(0)
    first = env.reset()[keys.OBSERVATION]
    plain = gym_spec("CartPole-v1").build(EnvContext(2))
    plain.set_seed(0)
    torch.testing.assert_close(first, plain.reset()[keys.OBSERVATION] / 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import not_installed_anywhere", "there is no module 'not_installed_anywhere'|No module named 'not_installed"),
        ("def f(:", r"SyntaxError: .*\(own_file.py, line 1\)"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_sentence(text, said, tmp_path, monkeypatch):
    (tmp_path / "own_file.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError) as refused:
        gym_spec("own_file:Mine-v0").spaces()
    assert re.match(rf"env.id: the module 'own_file' cannot be imported: .*({said})", str(refused.value))
    sys.modules.pop("own_file", None)


@pytest.mark.parametrize(
    ("space", "wrong", "said"),
    [
        (
            Box(0, 1, (2,)),
            {"observation": {0: np.zeros(3)}},
            "first reset .*gives array(.*) as its observation, which is [3] of float64, .*promises [2]",
        ),
        (
            Box(0, 1, (2,)),
            {"observation": {1: np.zeros(1)}},
            "step .*gives array(.*) as its observation, which is [1] of float64",
        ),
        (IMAGE, {"observation": {0: np.zeros(IMAGE.shape)}}, "[16, 12, 3] of float64, .*promises [16, 12, 3] of uint8"),
        (Discrete(2), {"observation": {0: 2}}, "reset of Any-v0 gives 2 as its observation, .*not in Discrete(2)"),
        (
            Dict({"a": Discrete(2)}),
            {"observation": {1: {}}},
            "step of Any-v0 gives {} as its observation, .* not in Dict",
        ),
        (
            Box(0, 1, (2,)),
            {"reward": {1: "much"}},
            "step of Any-v0 fails: ValueError: could not convert string to float",
        ),
    ],
    ids=["reset", "step", "type", "index", "key", "reward"],
)
def test_a_first_step_that_cannot_work_is_one_sentence_before_training(space, wrong, said):
    class RunConfig:
        video = False

    with pytest.raises(UsageError, match=re.sub(r"([\[\](){}])", r"\\\1", said)):
        list(any_spec(space, wrong=wrong).needs(RunConfig()))
    assert not list(any_spec(space).needs(RunConfig()))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_names_the_environment_and_where_it_stands(value):
    wrong = {"reward": {2: value}}
    env = any_spec(Box(0, 1, (2,)), wrong=wrong).build(EnvContext(2))
    td = env.step(env.reset().set(keys.ACTION, torch.zeros(2, dtype=torch.int64)))["next"]
    with pytest.raises(NonFiniteError, match=rf"Any-v0 gave {value} as its reward \(environment 0 of 2\)"):
        env.step(td.set(keys.ACTION, torch.zeros(2, dtype=torch.int64)))
    wrong = {"observation": {1: np.array([0.5, value])}}
    env = any_spec(Box(0, 1, (2,)), wrong=wrong).build(EnvContext(2))
    with pytest.raises(NonFiniteError, match=rf"gave {value} as entry \[1\] of its observation \(environment 0 of 2\)"):
        env.step(env.reset().set(keys.ACTION, torch.zeros(2, dtype=torch.int64)))
    large = np.full(2, np.finfo(np.float32).max, np.float32)  # the sum overflows, no number does
    env = any_spec(Box(0, 1, (2,)), wrong={"observation": {0: large}}).build(EnvContext(2))
    assert env.reset()[keys.OBSERVATION].isfinite().all()


def test_an_environment_that_renders_characters_has_a_text_view():
    spec = any_spec(Box(0, 1, (2,))).as_text()
    env = spec.build(EnvContext(1))
    td = env.reset()
    assert spec.text(env) == "step 0"
    env.step(td.set(keys.ACTION, torch.zeros(1, dtype=torch.int64)))
    assert spec.text(env) == "step 1"
    without = gym_spec("CartPole-v1").as_text()
    with pytest.raises(UsageError, match="no text view"):
        without.text(without.build(EnvContext(1)))
