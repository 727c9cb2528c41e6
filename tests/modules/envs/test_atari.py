"""Pre-processing of Atari games, on a game of our own where the emulator is not installed."""

import importlib.util
import json
import sys
from types import ModuleType

import cv2
import gymnasium
import numpy as np
import pytest
import torch
from torchrl.envs import check_env_specs

from modules import keys
from modules.envs.atari import AtariSpec
from modules.envs.base import EnvContext
from modules.envs.gym import vector_env
from modules.keys import Spaces
from modules.spec import UsageError
from tests.cases import later
from tests.modules.builders import FRAMES, network_spec
from tests.pipelines.launch import run

INSTALLED = importlib.util.find_spec("ale_py") is not None
LAST = 403  # the frame of the game after which it is over
PER_FRAME = 3.0  # reward
BASE = {
    "frame_skip": 4, "frame_stack": 4, "screen_size": 84, "noop_max": 30, "full_action_space": True,
    "repeat_action_probability": 0.0, "terminal_on_life_loss": False, "max_frames": 108_000,
}  # fmt: skip


def screen(frame: int) -> np.ndarray:
    """A ball that moves, on the left half in even and on the right half in odd frames, as sprites that flicker do."""
    picture = np.zeros((210, 160), np.uint8)
    picture[frame % 200 : frame % 200 + 10, 80 * (frame % 2) : 80 * (frame % 2) + 40] = 50 + frame % 200
    return picture


class Emulator:
    """What the wrappers ask of the Arcade Learning Environment."""

    frame = 0

    def getScreenGrayscale(self, out: np.ndarray) -> None:  # noqa: N802 - its name there
        out[...] = screen(self.frame)

    def lives(self) -> int:
        return 3 - self.frame // 100


class Flicker(gymnasium.Env):
    """The game; its constructor is that of ale-py's."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(0, 255, (210, 160, 3), np.uint8)

    def __init__(
        self, frameskip, repeat_action_probability, full_action_space, max_num_frames_per_episode, render_mode=None
    ):
        self.action_space = gymnasium.spaces.Discrete(18 if full_action_space else 6)
        self.ale, self.render_mode, self._frameskip = Emulator(), render_mode, frameskip
        self.limit, self.sticky, self.acted = max_num_frames_per_episode, repeat_action_probability, []

    def get_action_meanings(self):
        return ["NOOP", "FIRE"]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.ale.frame, self.acted = 0, []
        return self.render(), {}

    def step(self, action):
        assert self._frameskip == 1
        self.ale.frame += 1
        self.acted.append(int(action))
        frame = self.ale.frame
        return self.render(), PER_FRAME, frame >= LAST, frame >= self.limit, {}

    def render(self):
        return np.repeat(screen(self.ale.frame)[..., None], 3, 2)


if "ALE/Flicker-v5" not in gymnasium.registry:
    gymnasium.register("ALE/Flicker-v5", Flicker)


def pretend() -> None:
    """Let it seem that ale-py is installed."""
    if not INSTALLED:
        sys.modules["ale_py"] = ModuleType("ale_py")


@pytest.fixture
def ale(monkeypatch):
    if not INSTALLED:
        monkeypatch.setitem(sys.modules, "ale_py", ModuleType("ale_py"))


def atari(env_id="ALE/Flicker-v5", **changes):
    return AtariSpec(id=env_id, **{**FRAMES, **BASE, **changes})


def seen(frame: int) -> np.ndarray:
    """What the agent should see of a step that ended with `frame`."""
    return cv2.resize(np.maximum(screen(frame), screen(frame - 1)), (84, 84), interpolation=cv2.INTER_AREA)


def play(spec, steps, *, num_envs=1, seed=0):
    """Step with action 1; returns the first tensordict, those of all steps, and the games."""
    env = spec.build(EnvContext(num_envs))
    env.set_seed(seed)
    td = first = env.reset()
    done = []
    for _ in range(steps):
        step, td = env.step_and_maybe_reset(td.set(keys.ACTION, torch.ones(num_envs, dtype=torch.int64)))
        done.append(step["next"].clone())
    return first, done, [game.unwrapped for game in vector_env(env).envs]


@pytest.mark.usefixtures("ale")
def test_environment_keeps_torchrls_contract():
    env = atari().build(EnvContext(2, network_spec("lstm").transforms()))
    check_env_specs(env, seed=0)
    spaces = Spaces(observation_shape=(4, 84, 84), observation_dtype=torch.uint8, n_actions=18)
    assert atari().spaces() == spaces
    assert env.reset()[keys.OBSERVATION].shape == (2, 4, 84, 84)
    small = atari(full_action_space=False, frame_stack=1, screen_size=42)
    assert small.spaces() == Spaces(observation_shape=(1, 42, 42), observation_dtype=torch.uint8, n_actions=6)
    assert small.build(EnvContext(3)).reset()[keys.OBSERVATION].shape == (3, 1, 42, 42)


@pytest.mark.usefixtures("ale")
def test_a_step_is_four_frames_of_which_the_brighter_of_the_last_two_is_seen():
    first, steps, (game,) = play(atari(noop_max=0), 6)
    start = cv2.resize(screen(0), (84, 84), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(first[keys.OBSERVATION][0].numpy(), np.stack([start] * 4))
    history = [start] * 4
    for number, step in enumerate(steps, 1):
        history = [*history[1:], seen(4 * number)]
        np.testing.assert_array_equal(step[keys.OBSERVATION][0].numpy(), np.stack(history))
        assert step[keys.OBSERVATION].dtype == torch.uint8
    assert game.acted == [1] * 24


@pytest.mark.usefixtures("ale")
def test_rewards_are_summed_and_not_clipped():
    _, steps, _ = play(atari(noop_max=0), 3)
    assert [step[keys.REWARD].item() for step in steps] == [4 * PER_FRAME] * 3


@pytest.mark.usefixtures("ale")
@pytest.mark.parametrize("noop_max", [0, 5, 30])
def test_episodes_start_with_up_to_that_many_no_ops(noop_max):
    games = [game for seed in (0, 1000) for game in play(atari(noop_max=noop_max), 0, num_envs=40, seed=seed)[2]]
    counts = {len(game.acted) for game in games}
    assert all(game.acted == [0] * len(game.acted) for game in games)
    assert counts <= ({0} if noop_max == 0 else set(range(1, noop_max + 1)))
    assert len(counts) > noop_max / 2
    again = play(atari(noop_max=noop_max), 0, num_envs=40)[2]
    assert [game.acted for game in again] == [game.acted for game in games[:40]]


@pytest.mark.usefixtures("ale")
@pytest.mark.parametrize(
    ("changes", "length", "terminated"),
    [
        ({}, 101, True),  # the game's own end, in the third frame of step 101; two lives were lost on the way
        ({"terminal_on_life_loss": True}, 25, True),
        ({"max_frames": 202}, 51, False),
        ({"max_frames": 202, "frame_skip": 1}, 202, False),
    ],
)
def test_how_episodes_end(changes, length, terminated):
    spec = atari(noop_max=0, **changes)
    _, steps, _ = play(spec, length + 1)
    ends = [step[keys.DONE].item() for step in steps]
    assert ends == [False] * (length - 1) + [True, False]
    assert steps[length - 1][keys.TERMINATED].item() is terminated
    assert steps[length - 1][keys.TRUNCATED].item() is not terminated
    assert steps[length - 1][keys.STEP_COUNT].item() == length
    assert spec.episode_limit() == (27_000 if "max_frames" not in changes else length)


@pytest.mark.usefixtures("ale")
def test_one_game_ends_and_the_others_go_on():
    env = atari(noop_max=0).build(EnvContext(2))
    td = env.reset()
    vector_env(env).envs[1].unwrapped.ale.frame = LAST - 4
    step, after = env.step_and_maybe_reset(td.set(keys.ACTION, torch.tensor([1, 1])))
    assert step["next", keys.DONE].flatten().tolist() == [False, True]
    assert torch.equal(after[keys.OBSERVATION][0], step["next", keys.OBSERVATION][0])
    assert (after[keys.OBSERVATION][1] == after[keys.OBSERVATION][1, :1]).all()  # four times the new first frame


@pytest.mark.usefixtures("ale")
def test_what_the_emulator_does_itself_is_handed_on():
    game = play(atari(repeat_action_probability=0.25, max_frames=77), 0)[2][0]
    assert (game.sticky, game.limit, game.action_space.n, game.render_mode) == (0.25, 77, 18, None)
    env = atari().build(EnvContext(1, video=True))
    env.reset()
    assert atari().picture(env).shape == (210, 160, 3)
    assert atari().video_fps() == 15


@pytest.mark.usefixtures("ale")
@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("CartPole-v1", "needs the id of an Atari game such as ALE/Pong-v5, not 'CartPole-v1'"),
        ("ALE/Flickr-v5", "did you mean ALE/Flicker-v5"),
    ],
)
def test_other_ids_are_refused(env_id, message):
    with pytest.raises(UsageError, match=message):
        atari(env_id).spaces()


def test_without_ale_py_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)  # import fails
    for ask in (atari().spaces, lambda: atari().build(EnvContext(1))):
        with pytest.raises(UsageError, match=r"^env=atari needs the package ale-py .*pip install .*\[atari\]'`$"):
            ask()


TINY = (
    "+debug=smoke", "env.id=ALE/Flicker-v5", "replay.burn_in=5", "network.memory.hidden_size=8",
    "network.head.hidden=[8]", "network.torso.out_features=8", "total_frames=80", "warmup_frames=20", "save_every=40",
    "eval_every=0", "eval_episodes=1", "video=false", "env.noop_max=0", "hydra.run.dir=run",
)  # fmt: skip


@pytest.mark.parametrize("exp", [later("r2d2_atari"), later("ngu_atari"), "agent57_atari"])
def test_the_presets_train(exp, tmp_path):
    short = ["meta.evaluator.episodes=1"] * (exp == "agent57_atari")
    ended = run("pipelines.train", f"+exp={exp}", *TINY, *short, cwd=tmp_path, before=pretend)
    assert ended.code == 0, ended.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [summary["status"], summary["frames"], summary["score"]] == ["finished", 80, LAST * PER_FRAME]
    assert summary["updates"] >= 3


@pytest.mark.skipif(not INSTALLED, reason="needs ale-py: pip install -c constraints.txt -e '.[atari]'")
@pytest.mark.parametrize("env_id", ["ALE/Pong-v5", "ALE/Breakout-v5"])
def test_real_games(env_id):
    spec = atari(env_id)
    assert spec.spaces() == Spaces(observation_shape=(4, 84, 84), observation_dtype=torch.uint8, n_actions=18)
    runs = [play(spec, 100, num_envs=2) for _ in range(2)]
    pictures = [torch.stack([step[keys.OBSERVATION] for step in steps]) for _, steps, _ in runs]
    assert torch.equal(*pictures)  # the same seed, the same game
    assert torch.equal(pictures[0][1:, :, :3], pictures[0][:-1, :, 1:])  # no game is over so soon
    assert len(pictures[0][:, 0].unique(dim=0)) > 30  # things move
