"""Atari games of the Arcade Learning Environment, pre-processed by Gymnasium's own wrappers."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial

import gymnasium
import numpy as np
import torch
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation, TimeLimit
from torchrl.envs import EnvBase, TransformedEnv

from modules.envs.base import EnvContext, EnvSpec, add_transforms
from modules.envs.ends import MaxSteps
from modules.envs.gym import first_frame, make_one, wrap_vector_env
from modules.envs.gym_spaces import action_count
from modules.envs.ids import import_extra
from modules.envs.numpy_observations import NumpyObservations, names_of_actions
from modules.envs.vector import CheckedVectorEnv, try_together
from modules.envs.wrappers import Adapter, Wrapper, import_wrappers
from modules.envs.wrappers.flicker import Flicker
from modules.keys import Spaces
from modules.spec import Count, Positive, Share, UsageError, spec

NAMESPACE = "ALE/"
EMULATOR_HZ = 60  # frames per second of the console


@spec
class AtariSpec(EnvSpec):
    """An Atari game as R2D2 plays it: the last frames in grey, [frame_stack, screen_size, screen_size], uint8.

    A step repeats the action; what is seen of it is the brighter of its last two frames, pixel by pixel. Rewards are
    the game's own, summed over the step and not clipped. Source: Mnih et al. (2015), methods, as R2D2 changes it
    (Kapturowski et al. 2019, table 2). Deviation: the wrapper does not look at the frame with which an episode ends, so
    the last observation is, or has in it, the one before; only after a cut by `max_frames` is it ever read.

    Attributes:
        id: ALE/<game>-v5.
        frame_skip: emulator frames of a step.
        frame_stack: frames that are seen at once, oldest first; at a reset all are the first one.
        screen_size: height and width, in pixels.
        noop_max: most no-ops with which an episode starts; at least one is done unless this is 0.
        full_action_space: all 18 actions of the console, or only those that the game knows.
        repeat_action_probability: of the emulator ignoring a frame's action for the one before ("sticky actions").
        terminal_on_life_loss: end the episode with the first life.
        max_frames: emulator frames, no-ops included, after which an episode is cut off (truncated).
        flicker: probability with which a frame is blank, before frames are stacked (Hausknecht & Stone 2015: 0.5).
        wrappers: Gymnasium wrappers around the pre-processed game, the first innermost: `module:Class` each, or `{name:
            module:Class, argument: value, …}`.
        max_steps: of an episode, which is then cut off (truncated); null: only `max_frames` counts.
    """

    id: str
    frame_skip: Positive
    frame_stack: Positive
    screen_size: Positive
    noop_max: Count
    full_action_space: bool
    repeat_action_probability: Share
    terminal_on_life_loss: bool
    max_frames: Positive
    flicker: Share
    wrappers: tuple[Wrapper, ...]
    max_steps: MaxSteps

    def spaces(self) -> Spaces:
        with closing(self._preprocessed(video=False)) as env:
            n_actions = action_count(env.action_space, self.id)
            shape, usual = env.observation_space.shape, (self.frame_stack, self.screen_size, self.screen_size)
        if shape is None or len(shape) != len(usual):
            raise UsageError(f"env.wrappers: what they make of {self.id} is no stack of frames, {list(usual)}")
        return Spaces(observation_shape=shape, observation_dtype=torch.uint8, n_actions=n_actions)

    def numpy_observations(self, seen: Spaces) -> NumpyObservations:
        with closing(self._preprocessed(video=False)) as env:
            return NumpyObservations(seen, len(seen.observation_shape), int, names_of_actions(env))

    def episode_limit(self) -> int | None:
        frames = -(-self.max_frames // self.frame_skip)
        return min(frames, self.max_steps or frames)

    def build(self, context: EnvContext) -> TransformedEnv:
        games = [lambda: self._preprocessed(video=context.video)] * context.num_envs
        return add_transforms(wrap_vector_env(CheckedVectorEnv(games, self.id)), self, context.transforms)

    def picture(self, env: EnvBase) -> np.ndarray:
        """The screen in colour, not the agent's view of it."""
        return first_frame(env, self.id)

    def video_fps(self) -> float:
        """As fast as the console."""
        return max(1, EMULATOR_HZ // self.frame_skip)

    def try_together(self, count: int, *, video: bool, all_of_them: bool = False) -> None:
        try_together(lambda number: self._game(video=video and number == 1), count, self.id, all_of_them=all_of_them)

    def _preprocessed(self, *, video: bool) -> gymnasium.Env:
        frames = partial(
            AtariPreprocessing,
            noop_max=self.noop_max,
            frame_skip=self.frame_skip,
            screen_size=self.screen_size,
            terminal_on_life_loss=self.terminal_on_life_loss,
        )
        blank = [partial(Flicker, probability=self.flicker)] if self.flicker else []
        stack = partial(FrameStackObservation, stack_size=self.frame_stack)
        last = [partial(TimeLimit, max_episode_steps=self.max_steps)] if self.max_steps else []
        return self._game((frames, *blank, stack, *import_wrappers(self.wrappers), *last), video=video)

    def _game(self, wrappers: Sequence[Adapter] = (), *, video: bool) -> gymnasium.Env:
        """Make one game as the emulator has it, frame by frame, with wrappers around it."""
        if not self.id.startswith(NAMESPACE):
            raise UsageError(f"env.id: env=atari needs the id of an Atari game such as ALE/Pong-v5, not {self.id!r}")
        import_extra("ale-py", "atari", "env=atari")
        settings = {
            "frameskip": 1,  # the wrapper repeats the action, and must see each frame
            "repeat_action_probability": self.repeat_action_probability,
            "full_action_space": self.full_action_space,
            "max_num_frames_per_episode": self.max_frames,
        }
        return make_one(self.id, {**settings, **({"render_mode": "rgb_array"} if video else {})}, wrappers)
