"""What every environment offers: its spaces without building it, vectorised building, a picture."""

import logging
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs import CatFrames, Compose, EnvBase, Transform, TransformedEnv

from modules import keys
from modules.envs.episode_tracker import EpisodeTracker
from modules.envs.numpy_observations import NumpyObservations
from modules.keys import GridMap, Spaces, Symmetry
from modules.spec import Positive, PositiveFloat, RunConfig, Spec, UsageError, spec

log = logging.getLogger("recall")


@dataclass(frozen=True)
class EnvContext:
    """What is made of an environment.

    Attributes:
        num_envs: how many step together.
        transforms: further ones, after those of the settings.
        video: whether `EnvSpec.picture` must work.
    """

    num_envs: int
    transforms: Sequence[Transform] = ()
    video: bool = False


@spec
class EnvSpec(Spec):
    """Settings of an environment; `actions` says in a word each what they do, where that is known.

    `keyboard` has the keys with which a person takes them, in their order.

    Attributes:
        window_length: how many of the newest observations the agent sees at once, oldest first; zeros stand for those
            before an episode's first. Images are stacked by their channels.
        reward_scale: what the agent's rewards are multiplied by; `episode` stands for the steps after which an episode
            is cut off, which makes a reward of 1/length per step 1. Returns are reported without it.
        reward_clip: what the agent's rewards, already scaled, are cut off at on both sides; null: they are not. Returns
            are reported without it.
        normalise: running: each entry of a vector is seen less its mean and divided by its standard deviation, both of
            all observations that were collected so far, and cut off at ±10. The replay keeps observations as they were.
        normalise_until: env frames after which mean and deviation stay as they are; null: they never do.
    """

    actions: ClassVar[tuple[str, ...]] = ()
    keyboard: ClassVar[str] = string.digits

    window_length: Positive
    reward_scale: PositiveFloat | Literal["episode"]
    reward_clip: PositiveFloat | None
    normalise: Literal["none", "running"]
    normalise_until: Positive | None

    def needs(self, run: RunConfig) -> Iterator[str]:
        """Only vectors and images can be stacked, only numbers that are no pixels normalised."""
        del run
        if self.window_length > 1 or self.normalise != "none":  # else no environment is made for it
            yield from self._misread(self.spaces())
        if self.normalise == "none" and self.normalise_until is not None:
            yield f"env.normalise_until={self.normalise_until} needs env.normalise=running"
        if self.reward_scale == "episode" and self.episode_limit() is None:
            yield (
                "env.reward_scale=episode needs episodes that are cut off after a known number of steps, which these "
                "are not: give a number, or set env.max_steps"
            )

    def _misread(self, spaces: Spaces) -> Iterator[str]:
        shape = list(spaces.observation_shape)
        if self.window_length > 1 and (len(shape) not in (1, 3) or spaces.parts):
            what = f"{shape}{' with images or allowed actions in them' if spaces.parts else ''}"
            yield f"env.window_length={self.window_length} needs vectors or images, but observations are {what}"
        if self.normalise != "none" and spaces.is_image:
            yield f"env.normalise={self.normalise} needs vectors or grids, but observations are images {shape}"

    def spaces(self) -> Spaces:
        """Look up observation and action spaces; raises `UsageError` for what cannot be trained on."""
        raise NotImplementedError

    def agent_spaces(self) -> Spaces:
        """The spaces as the agent has them, with all observations of a window."""
        spaces = self.spaces()
        shape = list(spaces.observation_shape)
        shape[spaces.planes or 0] *= self.window_length
        return replace(spaces, observation_shape=tuple(shape), normalised=self.normalise != "none")

    def agent_rewards(self) -> "AgentRewards":
        """Make what turns the environment's rewards into those that the agent learns from."""
        scale = self.episode_limit() if self.reward_scale == "episode" else self.reward_scale
        return AgentRewards(1.0 if scale is None else float(scale), self.reward_clip)

    def episode_limit(self) -> int | None:
        """Steps after which an episode is cut off; None if it is not known."""
        return None

    def grid_map(self) -> GridMap | None:
        """The map on which its observations have a place; None if there is none."""
        return None

    def agent_map(self) -> GridMap | None:
        """The same map for what the agent sees, of which the newest observation has a place there."""
        found = self.grid_map()
        if found is None or self.window_length == 1:
            return found
        size = self.spaces().observation_shape[0]
        return replace(found, cells=lambda windows: found.cells(windows[:, -size:]))

    def symmetry(self) -> Symmetry | None:
        """The environment's mirror symmetry; None if it has none that is known."""
        return None

    def agent_symmetry(self) -> Symmetry | None:
        """The same symmetry for what the agent sees, every observation of a window mirrored."""
        found = self.symmetry()
        if found is None or self.window_length == 1:
            return found
        size = len(found.observation)
        entries = [step * size + entry for step in range(self.window_length) for entry in found.observation]
        return replace(found, observation=tuple(entries))

    def build(self, context: EnvContext) -> TransformedEnv:
        """Make the environments."""
        raise NotImplementedError

    def picture(self, env: EnvBase) -> np.ndarray:
        """Draw the first environment as it is now, [H, W, 3], uint8."""
        raise NotImplementedError

    def video_fps(self) -> float:
        """Frames per second at which a film of it can be followed."""
        return 30

    def film_problem(self) -> str:
        """Say why no film of it can be made, as far as that can be known; "" if it can."""
        return ""

    def try_together(self, count: int, *, video: bool, all_of_them: bool = False) -> None:
        """Raise `UsageError` if not `count` of it can live at once, one of them to be filmed; tensors always can.

        Unless it is to try `all_of_them`, a second of it is enough.
        """

    def numpy_observations(self, seen: Spaces) -> NumpyObservations:
        """Make what reads the observations that one sees without TorchRL; by default what the network sees, `seen`."""
        return NumpyObservations(seen, len(seen.observation_shape), int, self.actions)

    def as_text(self) -> "EnvSpec":
        """What to build where `text` is asked for, if that differs."""
        return self

    def text(self, env: EnvBase) -> str:
        """Write the first environment as it is now in characters; raises `UsageError` where that is not possible."""
        del env
        raise UsageError("this environment has no text view; use video=true")

    def keys(self) -> dict[str, int]:
        """Keys with which a person takes the actions; q is taken."""
        return {key: action for action, key in enumerate(self.keyboard[: self.spaces().n_actions])}


# For whoever makes a spec in Python: the agent sees and gets what the environment gives.
UNCHANGED: Mapping[str, Any] = MappingProxyType(
    {"window_length": 1, "reward_scale": 1.0, "reward_clip": None, "normalise": "none", "normalise_until": None}
)


class AgentRewards(Transform):
    """Multiplies rewards by `scale` and then cuts them off at ±`clip`, if that is not None."""

    def __init__(self, scale: float, clip: float | None) -> None:
        super().__init__(in_keys=[keys.REWARD], out_keys=[keys.REWARD])
        self.scale, self.clip = scale, clip

    @property
    def changes(self) -> bool:
        """Whether anything changes."""
        return self.scale != 1 or self.clip is not None

    def __str__(self) -> str:
        clipped = f"cut off at ±{self.clip:g}" if self.clip is not None else ""
        return ", then ".join(filter(None, (f"times {self.scale:g}" if self.scale != 1 else "", clipped)))

    def change(self, reward: Tensor) -> Tensor:
        """The environment's rewards as the agent gets them, [...]."""
        scaled = reward * self.scale
        return scaled if self.clip is None else scaled.clamp(-self.clip, self.clip)

    def _apply_transform(self, obs: Tensor) -> Tensor:
        return self.change(obs)


class LastStep(Transform):
    """Cuts episodes off after `max_steps` steps, as an environment's own time limit would, and warns the first time.

    It must stand behind what writes `step_count`, and before what reads how episodes end. The warning names the
    `setting` that gives the number.
    """

    def __init__(self, max_steps: int, setting: str) -> None:
        super().__init__()
        self._max_steps, self._setting, self._told = max_steps, setting, False

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        del tensordict
        late = (next_tensordict[keys.STEP_COUNT] >= self._max_steps) & ~next_tensordict[keys.DONE]
        if late.any():
            for key in (keys.DONE, keys.TRUNCATED):
                next_tensordict.set(key, next_tensordict[key] | late)
            if not self._told:
                log.warning(
                    "an evaluation episode was cut off after %d steps (%s); it counts with its return so far, and so "
                    "do others like it: give the environment a time limit",
                    self._max_steps,
                    self._setting,
                )
            self._told = True
        return next_tensordict


def add_transforms(
    env: EnvBase, settings: EnvSpec, transforms: Sequence[Transform], planes: int | None = None
) -> TransformedEnv:
    """Add what acting needs: episode starts, step count, undiscounted return, the agent's view, recurrent state.

    `planes` is the axis of a grid's planes, where there are such.
    """
    # The spaces of `settings` would make one more environment, beside all that a run may have.
    axes = len(env.observation_spec[keys.OBSERVATION].shape) - env.batch_dims
    return TransformedEnv(env, Compose(*[*agent_view(settings, (planes or 0) - axes), *transforms]))


def agent_view(settings: EnvSpec, axis: int) -> list[Any]:
    """Make what counts steps and returns, and then turns rewards and observations into the agent's.

    Those of a window are joined along their `axis`, which counts from behind, −1 for the last.
    """
    found: list[Any] = [EpisodeTracker()]
    if (rewards := settings.agent_rewards()).changes:
        found.append(rewards)
    if settings.window_length > 1:
        found.append(CatFrames(settings.window_length, axis, [keys.OBSERVATION], padding="constant", padding_value=0))
    return found
