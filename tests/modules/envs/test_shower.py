from pathlib import Path

import cv2
import gymnasium
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torchrl.envs import check_env_specs

from modules import keys
from modules.envs import gymnasium_ids, rendering
from modules.envs.base import UNCHANGED, EnvContext
from modules.envs.rendering import shower as shower_picture
from modules.envs.rendering.drawing import ROBOT
from modules.envs.worlds.shower import COLDER, STAY, WARMER, ShowerSpec
from modules.envs.worlds.world import FOUND, HIT
from modules.keys import Spaces
from modules.spec import UsageError
from tests.modules.envs.contract import assert_a_partial_reset_leaves_what_was_handed_out_alone

DOCS = Path(__file__).resolve().parents[3] / "docs" / "tasks"


def shower(**changes):
    rules = {"start": (35, 41), "comfortable": (37, 39), "noise": 1, "horizon": 60, "ends": "truncated"}
    return ShowerSpec(**UNCHANGED, **rules | {"observation": "scaled"} | changes)


def begun(world, temperatures, noise):
    """An episode for each first temperature; all drift alike."""
    n = len(temperatures)
    drift = torch.tensor(noise, dtype=torch.int8).repeat(n, 1)
    return {**world.start(n), "temperature": torch.tensor(temperatures), "noise": drift}


def play(world, state, actions):
    said = []
    for action in actions:
        state, *outcome = world.step(state, torch.as_tensor(action).expand(len(state["time"])))
        said.append([state["temperature"].tolist(), *(column.tolist() for column in outcome)])
    return said


@pytest.mark.parametrize("ends", ["truncated", "terminated"])
def test_by_hand(ends):
    """The step pays for where it led, before the drift: warmer from 36 pays, and the drift to 36 is seen."""
    world = shower(horizon=4, ends=ends).world()
    last = [[True, True], [False, False]] if ends == "terminated" else [[False, False], [True, True]]
    on = [[False, False], [False, False]]
    assert play(world, begun(world, [36, 40], [-1, 1, 0, -1]), [WARMER, STAY, COLDER, COLDER]) == [
        [[36, 40], [1.0, -1.0], *on],
        [[37, 41], [-1.0, -1.0], *on],
        [[36, 40], [-1.0, -1.0], *on],
        [[34, 38], [-1.0, 1.0], *last],
    ]


def test_comfort_includes_both_ends():
    world = shower().world()
    assert play(world, begun(world, [36, 37, 38, 39, 40], [0] * 60), [STAY])[0][1] == [-1, 1, 1, 1, -1]


def test_starts_and_drift_are_uniform():
    """Seven first temperatures and three drifts, ends included; within 4.5 standard errors."""
    world = shower().world()
    state = world.start(20_000)
    first = state["temperature"].bincount(minlength=42)[35:] / 20_000
    assert first.tolist() == pytest.approx([1 / 7] * 7, abs=0.0112)
    drift = (state["noise"].long() + 1).flatten().bincount(minlength=3) / 1_200_000
    assert drift.tolist() == pytest.approx([1 / 3] * 3, abs=0.002)
    assert not torch.equal(state["noise"][:, 0], state["noise"][:, 1])


def test_settings_are_rules():
    state = shower(start=(50, 50), comfortable=(0, 0), noise=0, horizon=7).world().start(5)
    assert [state["temperature"].tolist(), state["noise"].tolist()] == [[50] * 5, [[0] * 7] * 5]
    assert shower(noise=10).world().start(999)["noise"].abs().max() == 10


def test_observations():
    """Of 38, 33 and 45 degrees; the middle of the band is 0."""
    for observation, seen in (("scaled", [0.0, -1.0, 1.4]), ("raw", [38.0, 33.0, 45.0])):
        world = shower(observation=observation).world()
        assert world.observe(begun(world, [38, 33, 45], [0] * 60)).tolist() == [[pytest.approx(x)] for x in seen]
    world = shower(comfortable=(40, 43)).world()
    assert world.observe(begun(world, [44], [0] * 60)).item() == pytest.approx(0.5)


@pytest.mark.parametrize("observation", ["scaled", "raw"])
def test_the_bounds_are_what_can_be_reached(observation):
    world = shower(observation=observation).world()
    low, high = world.bounds
    for first, action, drift, bound in ((35, COLDER, -1, low), (41, WARMER, 1, high)):
        state = begun(world, [first], [drift] * 60)
        for _ in range(60):
            state, *_ = world.step(state, torch.tensor([action]))
        assert world.observe(state).item() == pytest.approx(bound)
    degrees = [low, high] if observation == "raw" else [5 * low + 38, 5 * high + 38]
    assert degrees == pytest.approx([-85, 161])


@pytest.mark.parametrize("spec", [shower(), shower(ends="terminated", observation="raw", horizon=7, noise=0)])
def test_environment_keeps_torchrls_contract(spec):
    env = spec.build(EnvContext(3))
    check_env_specs(env, seed=0)
    td = env.rollout(spec.horizon + 20, break_when_any_done=False)
    ends = td["next", keys.DONE].squeeze(-1)
    assert ends.any()
    assert (td["next", keys.STEP_COUNT][..., 0][ends] == spec.episode_limit()).all()
    cut, over = (td["next", key].squeeze(-1)[ends] for key in (keys.TRUNCATED, keys.TERMINATED))
    assert [cut.all(), over.any()] == ([True, False] if spec.ends == "truncated" else [False, True])


def test_spaces_keys_and_words():
    spec = shower()
    assert spec.spaces() == Spaces(observation_shape=(1,), observation_dtype=torch.float32, n_actions=3)
    assert {key: spec.actions[action] for key, action in spec.keys().items()} == {
        "a": "colder",
        "s": "stay",
        "d": "warmer",
    }


def test_a_partial_reset_leaves_what_was_handed_out_alone():
    assert_a_partial_reset_leaves_what_was_handed_out_alone(shower())


def test_every_random_source_follows_the_seed():
    """Starts and drift; neither draws from, nor moves, PyTorch's own generator."""

    def episodes(seed):
        env = shower().build(EnvContext(5))
        env.set_seed(seed)
        torch.manual_seed(torch.seed())
        state = torch.get_rng_state()
        td, seen = env.reset(), []
        for _ in range(130):
            _, td = env.step_and_maybe_reset(td.set(keys.ACTION, torch.full((5,), STAY)))
            seen.append(td[keys.OBSERVATION].clone())
        assert torch.equal(state, torch.get_rng_state())
        return torch.stack(seen)

    assert torch.equal(episodes(3), episodes(3))
    assert not torch.equal(episodes(3), episodes(4))


def test_gymnasium_plays_the_same():
    env = gymnasium.make("recall/Shower-v0")
    assert isinstance(env.unwrapped, gymnasium_ids.TinyGym)
    world = shower().world()
    seen, _ = env.reset(seed=5)
    world.seed(5)
    state = world.start(1)
    for step in range(1, 61):
        assert seen == world.observe(state)[0].numpy()
        state, reward, *_ = world.step(state, torch.tensor([WARMER]))
        seen, paid, terminated, truncated, _ = env.step(WARMER)
        assert [paid, terminated, truncated] == [reward.item(), False, step == 60]


@pytest.mark.parametrize(
    "bad", [{"start": (-1, 3)}, {"noise": -1}, {"horizon": 0}, {"ends": "never"}, {"observation": "pixels"}]
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError):
        shower(**bad)


def test_a_range_upside_down_is_refused():
    with pytest.raises(UsageError, match=r"^env.comfortable=\[39, 37\] must have its lower end first$"):
        shower(comfortable=(39, 37)).world()


def test_texts_and_pictures():
    """A temperature beyond the scale stands at its end; green paid, red cost."""
    world = shower(horizon=3).world()
    state, sizes = begun(world, [36], [1, 1, 1]), set()
    lines = []
    for action, colour in ((WARMER, FOUND), (WARMER, FOUND), (STAY, HIT)):
        state, *_ = world.step(state, torch.tensor([action]))
        lines.append(rendering.text(world, state, 0).splitlines())
        picture = rendering.picture(world, state, 0)
        sizes.add(picture.shape)
        assert [picture.dtype, picture.shape[0] % 2, picture.shape[1] % 2] == [np.uint8, 0, 0]
        assert [(picture == ROBOT[shown]).all(-1).any() for shown in (FOUND, HIT)] == [colour == FOUND, colour == HIT]
    assert len(sizes) == 1
    assert lines[0] == ["30 .......=>=....... 46", "38 degrees, time 1 of 3, paid 1"]
    assert lines[2] == ["30 .......===.^..... 46", "41 degrees, time 3 of 3, cost 1"]
    beyond = {**state, "temperature": torch.tensor([99])}
    assert rendering.text(world, beyond, 0).startswith("30 .......===......^ 46\n99 degrees")
    assert rendering.picture(world, beyond, 0).shape in sizes
    assert max(rendering.picture(shower(start=(0, 100)).world(), state, 0).shape) <= 700


def test_the_docs_have_its_picture(tmp_path):
    shower_picture.write_all(tmp_path)
    assert (cv2.imread(str(tmp_path / "shower.png")) == cv2.imread(str(DOCS / "shower.png"))).all()
