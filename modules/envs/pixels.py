"""Gymnasium environments seen through their own renderer: grey, cropped, resized `uint8` frames."""

from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import cv2
import gymnasium
import numpy as np
import torch
from gymnasium.envs.classic_control import AcrobotEnv, CartPoleEnv, MountainCarEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import TransformObservation
from torchrl.envs import EnvBase, TransformedEnv

from modules.envs.base import EnvContext, EnvSpec, add_transforms
from modules.envs.ends import MaxSteps, cut_after, limit
from modules.envs.frames import Order, renders, rgb
from modules.envs.gym import first_frame, make_one, make_vec, wrap_vector_env
from modules.envs.gym_spaces import action_count, numbering
from modules.envs.vector import try_together
from modules.envs.wrappers import Wrapper, import_wrappers
from modules.envs.wrappers.flicker import Blank
from modules.errors import BadValueError, told
from modules.keys import Spaces
from modules.spec import Positive, Share, UsageError, spec

# Renderers that draw the same whatever the mode, and only then ask for it: how to hand the picture out.
if TYPE_CHECKING:
    from modules.envs.numpy_observations import NumpyObservations

ON_SURFACE = (AcrobotEnv.render, CartPoleEnv.render, MountainCarEnv.render)
NOTHING = np.zeros(1, np.float32)  # in the place of observations that are not looked at
BGR_MASKS = (0xFF0000, 0xFF00, 0xFF)  # of red, green and blue in a little-endian pixel: bytes B, G, R


@spec
class PixelsSpec(EnvSpec):
    """A Gymnasium environment whose observation is its rendered frame, [1, height, width], uint8.

    Frames are drawn one after the other: pygame shares a buffer between drawings, and two threads at once mix their
    pictures.

    Attributes:
        id: as registered with Gymnasium.
        kwargs: of its constructor.
        height: of what the agent sees, pixels.
        width: the same.
        crop: (top, bottom, left, right) of the part that is seen, as fractions of the rendered frame.
        channels: where the rendered frame has them, `first` or `last`; null: last, or first if only that is possible.
        max_steps: of an episode, which is then cut off (truncated); null: as the id is registered.
        flicker: probability with which a frame is blank (Hausknecht & Stone 2015: 0.5).
        wrappers: Gymnasium wrappers around every environment before it is drawn, the first innermost: `module:Class`
            each, or `{name: module:Class, argument: value, …}`.
    """

    id: str
    kwargs: dict[str, Any]
    height: Positive
    width: Positive
    crop: tuple[Share, Share, Share, Share]
    channels: Order | None
    max_steps: MaxSteps
    flicker: Share
    wrappers: tuple[Wrapper, ...]

    def episode_limit(self) -> int | None:
        """`max_steps`, or the limit with which the id is registered, or that the environment itself sets."""
        kwargs, last = cut_after(self.max_steps, self.kwargs)
        with closing(make_one(self.id, kwargs, (*import_wrappers(self.wrappers), *last))) as env:
            return self.max_steps or limit(env)

    def spaces(self) -> Spaces:
        with closing(self._mine()) as env:
            if not renders(env):
                raise UsageError(f"env.id: {self.id} cannot render to pixels (its render modes have no rgb_array)")
            n_actions = action_count(env.action_space, self.id)
            self._refuse_unseen(env)
        return Spaces(
            observation_shape=(1, self.height, self.width), observation_dtype=torch.uint8, n_actions=n_actions
        )

    def _refuse_unseen(self, env: gymnasium.Env) -> None:
        """Raise `UsageError` for a first frame that is no picture, or of which `crop` leaves nothing."""
        try:
            env.reset(seed=0)
            picture = rgb(env.render(), self.id, self.channels)
        except BadValueError as error:
            raise UsageError(str(error)) from error
        except (Exception, SystemExit) as error:
            raise UsageError(f"env.id: the first reset or render of {self.id} fails: {told(error)}") from error
        if 0 in self.cut(picture).shape:
            raise UsageError(
                f"env.crop: {list(self.crop)} leaves nothing of a frame of {list(picture.shape[:2])}; "
                "it must be [top, bottom, left, right] with top < bottom and left < right"
            )

    def cut(self, picture: np.ndarray) -> np.ndarray:
        """The part of a picture [H, W, …] that the agent sees."""
        height, width = picture.shape[:2]
        top, bottom, left, right = self.crop
        return picture[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]

    def shrink(self, picture: np.ndarray, to_grey: int = cv2.COLOR_RGB2GRAY) -> np.ndarray:
        """Cut a picture [H, W, …], turn it grey by OpenCV's code for that and resize it, [height, width]."""
        grey = cv2.cvtColor(self.cut(picture), to_grey)
        return cv2.resize(grey, (self.width, self.height), interpolation=cv2.INTER_AREA)

    def build(self, context: EnvContext) -> TransformedEnv:
        """Make the vector environment; it renders anyway."""
        kwargs, last = cut_after(self.max_steps, {**self.kwargs, "render_mode": "rgb_array"})
        with closing(self._mine()) as env:
            adapted = (*import_wrappers(self.wrappers), unseen, *numbering(env))
        envs = make_vec(self.id, context.num_envs, kwargs, (*adapted, *last))
        return add_transforms(wrap_vector_env(Pixels(envs, self)), self, context.transforms)

    def picture(self, env: EnvBase) -> np.ndarray:
        """The full colour frame, not the agent's view of it."""
        return first_frame(env, self.id, self.channels)

    def numpy_observations(self, seen: Spaces) -> "NumpyObservations":
        from modules.envs.numpy_observations import NumpyFrames  # which imports this file

        return NumpyFrames(self, seen)

    def try_together(self, count: int, *, video: bool, all_of_them: bool = False) -> None:
        del video
        try_together(lambda _: unseen(self._mine()), count, self.id, all_of_them=all_of_them)

    def _mine(self) -> gymnasium.Env:
        """Make one environment with the wrappers of the settings, which draws itself."""
        kwargs = {**self.kwargs, "render_mode": "rgb_array"}
        return make_one(self.id, kwargs, import_wrappers(self.wrappers))


def unseen(env: gymnasium.Env) -> gymnasium.Env:
    """Leave out the observation, in whose place frames are seen: whatever it is, it is not looked at."""
    return TransformObservation(env, lambda _: NOTHING, gymnasium.spaces.Box(0, 1, NOTHING.shape, NOTHING.dtype.type))


def drawn(env: gymnasium.Env, settings: PixelsSpec) -> tuple[np.ndarray, int]:
    """Let `env` draw itself; return the picture and OpenCV's code for turning it grey.

    The classic-control renderers draw on a pygame surface and then copy it pixel by pixel, which takes three
    times as long as drawing. For those, and for no other, because another one may draw only when it is asked
    for an array, this is a view of the surface, [H, W, 4] as B, G, R, unused; elsewhere it is what `render`
    returns, [H, W, 3] as R, G, B. Both give the same grey picture.
    """
    base: Any = env.unwrapped
    screen = base.screen if getattr(base.render, "__func__", None) in ON_SURFACE else None
    if screen is None or tuple(screen.get_masks()[:3]) != BGR_MASKS or screen.get_bitsize() != 32:
        return rgb(env.render(), settings.id, settings.channels), cv2.COLOR_RGB2GRAY
    mode, base.render_mode = base.render_mode, "surface"  # draws like rgb_array, but returns nothing
    try:
        base.render()
    finally:
        base.render_mode = mode
    width, height = screen.get_size()
    return np.frombuffer(screen.get_view("0"), np.uint8).reshape(height, width, 4), cv2.COLOR_BGRA2GRAY


class Pixels(gymnasium.vector.VectorWrapper):
    """Replace observations by rendered frames."""

    def __init__(self, env: VectorEnv, spec: PixelsSpec) -> None:
        super().__init__(env)
        self.autoreset_mode = AutoresetMode.DISABLED  # TorchRL looks for it on the outermost wrapper
        self._settings = spec
        assert isinstance(env.unwrapped, SyncVectorEnv)
        self._envs = env.unwrapped.envs
        shape = (1, spec.height, spec.width)
        self.single_observation_space = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, self.num_envs)
        self._frames = np.zeros((self.num_envs, *shape), np.uint8)
        self._blank = [Blank(spec.flicker) for _ in self._envs]

    def _observe(self, which: Iterable[int]) -> np.ndarray:
        for index in which:
            picture, to_grey = drawn(self._envs[index], self._settings)
            self._frames[index, 0] = 0 if self._blank[index]() else self._settings.shrink(picture, to_grey)
            del picture  # a view of a pygame surface locks it against the next drawing
        return self._frames.copy()

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        some = (options or {}).get("reset_mask")  # read first: the vector environment takes it out
        if isinstance(seed, int):
            for i, blank in enumerate(self._blank):
                blank.seed(seed + i)
        _, info = self.env.reset(seed=seed, options=options)
        return self._observe(range(self.num_envs) if some is None else np.flatnonzero(some)), info

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        _, reward, terminated, truncated, info = self.env.step(actions)
        return self._observe(range(self.num_envs)), reward, terminated, truncated, info
