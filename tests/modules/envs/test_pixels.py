import cv2
import gymnasium
import numpy as np
import pygame
import pytest
import torch
from torchrl.envs import check_env_specs

from modules import keys
from modules.envs.base import EnvContext
from modules.envs.gym import vector_env
from modules.envs.pixels import PixelsSpec
from modules.keys import Spaces
from modules.spec import UsageError
from tests.modules.builders import FRAMES, network_spec

CROP = (0.42, 0.80, 0.0, 1.0)


class Painter(gymnasium.Env):
    """A bar as wide as the episode is long, on a screen of its own kind, drawn only if an array is asked for."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, screen: str, render_mode: str | None = None) -> None:
        self.render_mode, self.t = render_mode, 0
        blank = np.zeros((40, 80, 3), np.uint8)
        self.screen = {"surface": pygame.Surface((80, 40), 0, 32), "array": blank, "none": None}[screen]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(1, np.float32), 1.0, False, False, {}

    def render(self):
        if self.render_mode != "rgb_array" or self.screen is None:
            return None
        if isinstance(self.screen, np.ndarray):
            self.screen[:, : 8 * self.t] = 255
            return self.screen.copy()
        self.screen.fill((255, 255, 255), (0, 0, 8 * self.t, 40))
        return pygame.surfarray.array3d(self.screen).transpose(1, 0, 2)


if "Painter-v0" not in gymnasium.registry:
    gymnasium.register("Painter-v0", Painter)


def painter(screen):
    crop = (0.0, 1.0, 0.0, 1.0)
    sizes = {"height": 20, "width": 40, "crop": crop, "channels": None}
    return PixelsSpec(id="Painter-v0", kwargs={"screen": screen}, **sizes, **FRAMES)


def pixels(env_id="CartPole-v1", *, crop=CROP, height=20, width=160):
    sizes = {"height": height, "width": width, "crop": crop, "channels": None}
    return PixelsSpec(id=env_id, kwargs={}, **sizes, **FRAMES)


def frames(spec, *, seed=0, steps=12, num_envs=3):
    """Frames [steps+1, N, 1, H, W] of an episode of fixed actions, with what ends in between."""
    env = spec.build(EnvContext(num_envs))
    env.set_seed(seed)
    td = env.reset()
    seen = [td[keys.OBSERVATION]]
    for t in range(steps):
        _, td = env.step_and_maybe_reset(td.set(keys.ACTION, torch.arange(num_envs) % 2 * (t % 3 > 0)))
        seen.append(td[keys.OBSERVATION])
    env.close()
    return torch.stack(seen)


def test_environment_keeps_torchrls_contract():
    spec = pixels()
    env = spec.build(EnvContext(2, network_spec("lstm").transforms()))
    check_env_specs(env, seed=0)
    spaces = spec.spaces()
    assert spaces == Spaces(observation_shape=(1, 20, 160), observation_dtype=torch.uint8, n_actions=2)
    td = env.reset()
    assert td[keys.OBSERVATION].shape == (2, 1, 20, 160)
    assert td[keys.OBSERVATION].dtype == torch.uint8
    env.close()


def test_frames_follow_seed_and_state():
    one = frames(pixels())
    assert torch.equal(one, frames(pixels()))
    assert not torch.equal(one, frames(pixels(), seed=99))
    # Environments look different, and cart and pole move: a little slower than a pixel a step at first.
    assert one[0].unique(dim=0).shape[0] == one.shape[1]
    assert all(one[:, env].unique(dim=0).shape[0] > 0.5 * len(one) for env in range(one.shape[1]))


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1", "MountainCar-v0"])
def test_frame_is_the_grey_cut_of_what_the_environment_renders(env_id):
    """Whatever short cut draws the frame: the agent sees the picture that `render` returns, of the present state."""
    crop = (0.1, 0.9, 0.25, 1.0)
    env = pixels(env_id, crop=crop, height=40, width=60).build(EnvContext(2))
    env.set_seed(1)
    td = env.reset()
    for _ in range(4):
        for single, frame in zip(vector_env(env).envs, td[keys.OBSERVATION].numpy(), strict=True):
            picture = single.render()
            height, width = picture.shape[:2]
            cut = picture[int(0.1 * height) : int(0.9 * height), int(0.25 * width) : width]
            grey = cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY)
            expected = cv2.resize(grey, (60, 40), interpolation=cv2.INTER_AREA)
            np.testing.assert_array_equal(frame[0], expected)
        _, td = env.step_and_maybe_reset(td.set(keys.ACTION, torch.tensor([0, 1])))
    env.close()


@pytest.mark.parametrize("screen", ["surface", "array"])
def test_an_environment_that_draws_only_when_asked_does_not_freeze(screen):
    seen = frames(painter(screen), steps=6, num_envs=2)
    # [7, 2, 1, 20, 40]: the bar grows by 4 of 40 columns a step.
    assert (seen[:, :, 0] > 127).sum((2, 3)).tolist() == [[80 * t] * 2 for t in range(7)]


def test_an_environment_that_renders_nothing_is_refused():
    with pytest.raises(UsageError, match=r"^env.id: Painter-v0 renders NoneType, of which no picture can be made"):
        painter("none").spaces()


def test_frames_are_not_overwritten_by_later_ones():
    env = pixels().build(EnvContext(2))
    td = env.reset()
    kept, copy = td[keys.OBSERVATION], td[keys.OBSERVATION].clone()
    for _ in range(5):
        step, td = env.step_and_maybe_reset(td.set(keys.ACTION, torch.tensor([0, 1])))
    assert torch.equal(kept, copy)
    assert not torch.equal(step["next", keys.OBSERVATION], copy)
    env.close()


def test_one_environment_ends_and_the_others_go_on():
    env = pixels().build(EnvContext(3))
    env.set_seed(0)
    td = env.reset()
    singles = [single.unwrapped for single in vector_env(env).envs]
    singles[1].state = (2.5, 0.0, 0.0, 0.0)  # beyond the end of the track
    step, after = env.step_and_maybe_reset(td.set(keys.ACTION, torch.tensor([0, 1, 0])))
    assert step["next", keys.DONE].flatten().tolist() == [False, True, False]
    final = step["next", keys.OBSERVATION]
    assert torch.equal(after[keys.OBSERVATION][[0, 2]], final[[0, 2]])
    assert abs(singles[1].state[0]) <= 0.05
    # The final frame shows the cart at the right edge, the next one in the middle again.
    dark = [frame[0].float().mean(0).argmin().item() for frame in (final[1], after[keys.OBSERVATION][1])]
    assert dark[0] > 140
    assert 60 < dark[1] < 100
    env.close()


def test_picture_is_the_full_frame():
    spec = pixels()
    env = spec.build(EnvContext(1, video=True))
    env.reset()
    assert spec.picture(env).shape == (400, 600, 3)
    env.close()


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("CartPole-v7", "Gymnasium knows no environment 'CartPole-v7'"),
        ("Pendulum-v1", "needs discrete actions"),
        ("Parity-v0", "Parity-v0"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(env_id, message):
    with pytest.raises(UsageError, match=message):
        pixels(env_id).spaces()


@pytest.mark.parametrize("crop", [(0.8, 0.4, 0, 1), (0, 1, 0.5, 0.5)])
def test_empty_crop_is_refused(crop):
    with pytest.raises(UsageError, match=r"env\.crop"):
        pixels(crop=crop).spaces()
