"""Any Gymnasium id with discrete actions and observations that make one array, vectorised in one process."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv, VectorEnv
from tensordict import TensorDictBase
from torchrl.data import Composite, Unbounded
from torchrl.envs import EnvBase, GymWrapper, TransformedEnv

import modules.envs.gymnasium_ids  # noqa: F401 - so that every process that builds one knows recall/… too
from modules import keys
from modules.envs.base import EnvContext, EnvSpec, add_transforms
from modules.envs.cartpole import CartPoles
from modules.envs.ends import MaxSteps, cut_after, let_close_fail, limit
from modules.envs.fit import as_vector
from modules.envs.frames import Order, film_problem, renders, rgb, speed
from modules.envs.gym_spaces import (
    action_count,
    adapters,
    as_box,
    parts_of,
    reading,
    refuse_running_statistics,
    refuse_unplayable,
)
from modules.envs.ids import check_id
from modules.envs.numpy_observations import NumpyGymObservations, NumpyObservations, names_of_actions
from modules.envs.vector import CheckedVectorEnv, Observations, try_together
from modules.envs.wrappers import Adapter, Wrapper, import_wrappers
from modules.envs.wrappers.masks import MaskSource, masking
from modules.errors import told
from modules.keys import Spaces
from modules.spec import RunConfig, UsageError, spec
from modules.torchrl_internals import wrapped_by

# Before the first render: draw without a screen, and leave SIGINT and SIGTERM to us (SDL would swallow them).
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ["SDL_NO_SIGNAL_HANDLERS"] = "1"


def make_vec(env_id: str, num_envs: int, kwargs: dict[str, Any], wrappers: Sequence[Adapter]) -> VectorEnv:
    """Make a synchronous vector environment whose episodes are reset one by one, by the caller."""
    makers = [partial(make_one, env_id, kwargs, wrappers, told_at=logging.WARNING)] * num_envs
    envs = CheckedVectorEnv(makers, env_id)
    return CartPoles(envs) if CartPoles.fits(envs.envs[0]) else envs


def make_one(
    env_id: str, kwargs: dict[str, Any], wrappers: Sequence[Adapter], *, told_at: int = logging.DEBUG
) -> gymnasium.Env:
    """Make one environment; raises `UsageError` with what its constructor, or a wrapper's, said, or for statistics.

    `told_at` is the level at which it is logged if it cannot be closed.
    """
    check_id(env_id)
    doing = f"env: {env_id} cannot be made with kwargs {kwargs}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters becomes a sentence of ours
            env = gymnasium.make(env_id, disable_env_checker=True, **kwargs)  # it would check every step
            for wrapper in wrappers:
                name = getattr(wrapper, "func", wrapper).__name__  # of a partial, or itself
                doing = f"env.wrappers: {name} cannot be put around {env_id}"
                env = wrapper(env)
        let_close_fail(env, env_id, told_at)
    except (Exception, SystemExit) as error:
        if isinstance(error, UsageError) and str(error).startswith("env."):  # of a wrapper of ours
            raise
        text = told(error) if isinstance(error, SystemExit) else " ".join(str(error).split())
        if "unexpected keyword argument 'render_mode'" in text:
            text = f"its constructor takes no render_mode, without which nothing can be drawn ({text})"
        raise UsageError(f"{doing}: {text}") from error
    try:
        refuse_running_statistics(env, env_id)
    except UsageError:
        env.close()
        raise
    return env


@spec
class GymSpec(EnvSpec):
    """A registered Gymnasium environment, Gymnasium's or yours (docs/your_own_environment.md).

    Observations may be a Box of any number type and shape, Discrete, MultiDiscrete (both become one-hot vectors),
    MultiBinary, or a Dict or Tuple of such, which becomes one vector. Images are Boxes of uint8; in a Dict or Tuple
    each has a torso of its own. Booleans become uint8, all other types float32. Actions must be Discrete, or
    MultiDiscrete or MultiBinary with few combinations.

    Attributes:
        id: as registered, `my_file:Mine-v0` to have `my_file.py` of the current folder imported before.
        kwargs: of its constructor.
        wrappers: Gymnasium wrappers around every environment, the first innermost: `module:Class` each, or `{name:
            module:Class, argument: value, …}`.
        keep: entries of a vector observation that the agent sees (null: all); leaving out velocities makes memory
            necessary.
        channels: where an image has them, or a grid with three axes its planes, `first` or `last`; null: as the shape
            of an image tells, where that is clear, and last in a grid.
        action_mask: where the environment says which actions are allowed, as an array with a number for each action,
            not 0 where it is: `observation`, as the entry action_mask of a Dict, or `info`, under the same name; none:
            all always are.
        max_steps: of an episode, which is then cut off (truncated); null: as the id is registered.
    """

    id: str
    kwargs: dict[str, Any]
    wrappers: tuple[Wrapper, ...]
    keep: tuple[int, ...] | None
    channels: Order | None
    max_steps: MaxSteps
    action_mask: MaskSource

    @property
    def registered(self) -> str:
        """The id as Gymnasium knows it."""
        return self.id

    def needs(self, run: RunConfig) -> Iterator[str]:
        """A film needs a renderer, and everything a first step."""
        yield from super().needs(run)
        with closing(self._mine(told_at=logging.WARNING)) as env:
            refuse_unplayable(env, self.id, masked=self.action_mask != "none")
        if run.video and (problem := self.film_problem()):
            yield problem

    def film_problem(self) -> str:
        with closing(self._mine()) as env:
            if not renders(env):
                how = "an environment that renders rgb_array"
                return f"video=true needs {how}, which {self.id} does not: set video=false"
        with closing(self._mine(video=True)) as env:
            return film_problem(env, self.id)

    def try_together(self, count: int, *, video: bool, all_of_them: bool = False) -> None:
        try_together(lambda number: self._mine(video=video and number == 1), count, self.id, all_of_them=all_of_them)

    def spaces(self) -> Spaces:
        with closing(self._mine()) as env:
            n_actions = action_count(env.action_space, self.id)
            box = as_box(env.observation_space, self.id)
            parts = parts_of(env.observation_space, self.channels, self.id, masked=self.action_mask != "none")
            seen = reading(box, None if parts else self.channels, self.id)
        shape = seen.shape
        if self.keep is not None:
            if parts or len(shape) != 1 or not self.keep or not all(0 <= i < shape[0] for i in self.keep):
                raise UsageError(
                    f"env.keep: {list(self.keep)} must list entries of {self.id}'s observation, "
                    f"whose shape is {list(shape)}{' with images or allowed actions in it' if parts else ''}"
                )
            shape = (len(self.keep),)
        return Spaces(
            observation_shape=shape,
            observation_dtype=torch.uint8 if seen.dtype == np.uint8 else torch.float32,
            n_actions=n_actions,
            planes=seen.planes,
            parts=parts,
        )

    def episode_limit(self) -> int | None:
        """`max_steps`, or the limit that the id is registered with, or that a wrapper or the environment sets."""
        with closing(self._mine()) as env:
            return self.max_steps or limit(env)

    def build(self, context: EnvContext) -> TransformedEnv:
        kwargs, last = cut_after(
            self.max_steps, {**self.kwargs, **({"render_mode": "rgb_array"} if context.video else {})}
        )
        with closing(self._mine()) as env:
            adapted = adapters(env)
        channels = None if adapted and as_vector in adapted else self.channels  # of images in a Dict: see `parts_of`
        wrappers = (*import_wrappers(self.wrappers), *masking(self.action_mask), *adapted, *last)
        envs = make_vec(self.registered, context.num_envs, kwargs, wrappers)
        seen = Observations(envs, self.id, self.keep, channels)
        return add_transforms(wrap_vector_env(seen), self, context.transforms, seen.reading.planes)

    def picture(self, env: EnvBase) -> np.ndarray:
        return first_frame(env, self.id)

    def video_fps(self) -> float:
        """As the environment asks for if that is slower than usual."""
        usual = super().video_fps()
        with closing(self._mine()) as env:
            return min(usual, speed(env, self.id) or usual)

    def numpy_observations(self, seen: Spaces) -> NumpyObservations:
        with closing(self._mine()) as env:
            return NumpyGymObservations(
                env.observation_space,
                env.action_space,
                seen,
                keep=self.keep,
                channels=self.channels,
                action_names=names_of_actions(env),
                env_id=self.id,
            )

    def as_text(self) -> "GymSpec":
        """The same, drawn in characters if the environment can do that."""
        with closing(self._mine()) as env:
            able = "ansi" in (env.metadata.get("render_modes") or ())
        return replace(self, kwargs={**self.kwargs, "render_mode": "ansi"}) if able else self

    def text(self, env: EnvBase) -> str:
        text = vector_env(env).envs[0].render() if self.kwargs.get("render_mode") == "ansi" else None
        return text.rstrip("\n") if isinstance(text, str) else super().text(env)

    def _mine(self, *, video: bool = False, told_at: int = logging.DEBUG) -> gymnasium.Env:
        """Make one environment with the wrappers of the settings."""
        check_id(self.registered)  # first: a package that is missing is not the wrapper's fault
        kwargs, last = cut_after(self.max_steps, {**self.kwargs, **({"render_mode": "rgb_array"} if video else {})})
        wrappers = (*import_wrappers(self.wrappers), *masking(self.action_mask), *last)
        return make_one(self.registered, kwargs, wrappers, told_at=told_at)


class GymVector(GymWrapper):
    """`GymWrapper` for vector environments, which always say how a step ended and never how a reset did.

    TorchRL looks three times over which of the three flags are there, a twentieth of acting on small environments.
    Rewards stay float64, as Gymnasium sums them up; `EpisodeTracker` makes them float32.
    """

    _seed: int | None = None  # of the next full reset

    def _set_seed(self, seed: int | None) -> None:
        """Let the next reset of all carry `seed`, for environment i `seed` + i; TorchRL would reset here already."""
        self._seed = seed

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        which = None if tensordict is None else tensordict.get("_reset", None)
        if self._seed is not None and (which is None or which.all()):
            kwargs["seed"], self._seed = self._seed, None
        return super()._reset(tensordict, **kwargs)

    def _make_specs(self, env: Any, batch_size: Any = None) -> None:
        super()._make_specs(env, batch_size)
        self.reward_spec = Unbounded(self.reward_spec.shape, dtype=torch.float64)

    @classmethod
    def _complete_done(cls, done_spec: Composite, data: TensorDictBase) -> TensorDictBase:
        none = None
        for key in (keys.DONE, keys.TERMINATED, keys.TRUNCATED):
            flag = data.get(key, None)
            if flag is None:
                none = torch.zeros(done_spec[key].shape, dtype=torch.bool) if none is None else none.clone()
                data.set(key, none)
            elif flag.ndim == data.ndim:
                data.set(key, flag.unsqueeze(-1))
        return data


def wrap_vector_env(envs: VectorEnv) -> EnvBase:
    """Make TorchRL's environment of Gymnasium's, with action numbers instead of one-hot vectors."""
    return GymVector(envs, categorical_action_encoding=True)


def vector_env(env: EnvBase) -> SyncVectorEnv:
    """Find the Gymnasium vector environment inside TorchRL's wrappers."""
    base = env.base_env if isinstance(env, TransformedEnv) else env
    inner = wrapped_by(base).unwrapped
    assert isinstance(inner, SyncVectorEnv)
    return inner


def first_frame(env: EnvBase, env_id: str, channels: Order | None = None) -> np.ndarray:
    """Render the first of the vectorised environments, [H, W, 3], uint8; raises `BadValueError` as `rgb` does."""
    return rgb(vector_env(env).envs[0].render(), env_id, channels)
