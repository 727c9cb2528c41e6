"""Any Gymnasium id with discrete actions and observations that make one array, vectorised in one process."""

import difflib
import importlib
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from tensordict import TensorDictBase
from torchrl.data import Composite
from torchrl.envs import EnvBase, GymWrapper, Transform, TransformedEnv

import modules.envs.gymnasium_ids  # noqa: F401 - so that every process that builds one knows recall/… too
from modules import keys
from modules.envs.base import EnvSpec, transformed
from modules.envs.ends import Closing, MaxSteps, cut_after, limit
from modules.envs.reading import (
    Adapter,
    action_count,
    adapters,
    as_box,
    imported,
    reading,
    refuse_not_finite,
    refuse_unplayable,
    wrappers_named,
)
from modules.errors import told
from modules.keys import Spaces
from modules.spec import UsageError, spec

# Before the first render: draw without a screen, and leave SIGINT and SIGTERM to us (SDL would swallow them).
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ["SDL_NO_SIGNAL_HANDLERS"] = "1"


EXTRAS = {"MiniGrid-": "minigrid", "BabyAI-": "minigrid"}  # how ids begin → the package, and extra, that registers them


def make_vec(env_id: str, num_envs: int, kwargs: dict[str, Any], wrappers: Sequence[Adapter]) -> VectorEnv:
    """Make a synchronous vector environment whose episodes are reset one by one, by the caller."""
    return gymnasium.make_vec(
        env_id,
        num_envs=num_envs,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED},
        wrappers=(*wrappers, Closing(env_id)),  # pyright: ignore[reportArgumentType] - they make environments of one
        disable_env_checker=True,  # it checks every step of every environment
        **kwargs,
    )


def check_id(env_id: str) -> None:
    """Raise `UsageError` if Gymnasium does not know `env_id`."""
    module, _, name = env_id.rpartition(":")
    load_extra(name)
    if module:  # registers what it defines, as gymnasium.make would have it do
        imported(module, "env.id")
    try:
        gymnasium.spec(name)
    except gymnasium.error.Error as error:
        near = difflib.get_close_matches(name, list(gymnasium.registry), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(f"env.id: Gymnasium knows no environment {env_id!r}{hint or f' ({error})'}") from error


def load_extra(name: str) -> None:
    """Import the package that registers the id `name`, if it is an extra; raise `UsageError` if it is not installed."""
    package = next((package for start, package in EXTRAS.items() if name.startswith(start)), None)
    if package is None:
        return
    try:
        importlib.import_module(package)
    except ImportError as error:
        how = f"`pip install -c constraints.txt -e '.[{package}]'`"
        raise UsageError(f"env.id: {name} needs the package {package} ({error}): install it with {how}") from error


def make_one(
    env_id: str, kwargs: dict[str, Any], wrappers: Sequence[Adapter], *, told_at: int = logging.DEBUG
) -> gymnasium.Env:
    """Make one environment, or raise `UsageError` with what its constructor, or that of a wrapper, said.

    `told_at` is the level at which it is logged if it cannot be closed.
    """
    check_id(env_id)
    doing = f"env: {env_id} cannot be made with kwargs {kwargs}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters becomes a sentence of ours
            env = gymnasium.make(env_id, disable_env_checker=True, **kwargs)
            for wrapper in wrappers:
                doing = f"env.wrappers: {getattr(wrapper, '__name__', wrapper)} cannot be put around {env_id}"
                env = wrapper(env)
            return Closing(env_id, told_at)(env)
    except (Exception, SystemExit) as error:
        text = told(error) if isinstance(error, SystemExit) else " ".join(str(error).split())
        raise UsageError(f"{doing}: {text}") from error


def renders(env: gymnasium.Env) -> bool:
    """Tell whether `env` can draw itself into an array."""
    return "rgb_array" in env.metadata.get("render_modes", ())


@spec
class GymSpec(EnvSpec):
    """A registered Gymnasium environment, Gymnasium's or yours (docs/your_own_environment.md).

    Observations may be a Box of any number type and shape, Discrete, MultiDiscrete (both become one-hot vectors),
    MultiBinary, or a Dict or Tuple of such, which becomes one vector. Images are Boxes of uint8; all other types become
    float32. Actions must be Discrete, or MultiDiscrete or MultiBinary with few combinations.

    Attributes:
        id: as registered, `my_file:Mine-v0` to have `my_file.py` of the current folder imported before.
        kwargs: of its constructor.
        wrappers: Gymnasium wrappers, `module:Class` each, around every environment, the first innermost; each is
            called with the environment alone.
        keep: entries of a vector observation that the agent sees (null: all); leaving out velocities makes memory
            necessary.
        max_steps: of an episode, which is then cut off (truncated); null: as the id is registered.
    """

    id: str
    kwargs: dict[str, Any]
    wrappers: tuple[str, ...]
    keep: tuple[int, ...] | None
    max_steps: MaxSteps

    def needs(self, run: Any) -> Iterator[str]:
        """A film needs a renderer, and everything a first step."""
        with closing(self._mine(told_at=logging.WARNING)) as env:
            if run.video and not renders(env):
                how = "an environment that renders rgb_array"
                yield f"video=true needs {how}, which {self.id} does not: set video=false"
            refuse_unplayable(env, self.id)

    def spaces(self) -> Spaces:
        """Look the spaces up in one environment, made and closed at once."""
        with closing(self._mine()) as env:
            n_actions = action_count(env.action_space, self.id)
            seen = reading(as_box(env.observation_space, self.id))
        shape = seen.shape
        if self.keep is not None:
            if len(shape) != 1 or not self.keep or not all(0 <= i < shape[0] for i in self.keep):
                raise UsageError(
                    f"env.keep: {list(self.keep)} must list entries of {self.id}'s observation, "
                    f"whose shape is {list(shape)}"
                )
            shape = (len(self.keep),)
        dtype = torch.uint8 if seen.dtype == np.uint8 else torch.float32
        return Spaces(observation_shape=shape, observation_dtype=dtype, n_actions=n_actions)

    def episode_limit(self) -> int | None:
        """`max_steps`, or the limit that the id is registered with, or that a wrapper or the environment sets."""
        with closing(self._mine()) as env:
            return limit(env)

    def build(self, num_envs: int, primer: Transform | None, *, video: bool = False) -> TransformedEnv:
        """Make the vector environment."""
        kwargs, last = cut_after(self.max_steps, {**self.kwargs, **({"render_mode": "rgb_array"} if video else {})})
        with closing(self._mine()) as env:
            adapted = adapters(env)
        envs = make_vec(self.id, num_envs, kwargs, (*wrappers_named(self.wrappers), *adapted, *last))
        return transformed(wrapped(Observations(envs, self)), primer)

    def picture(self, env: EnvBase) -> np.ndarray:
        """Ask the environment's own renderer."""
        return first_frame(env)

    def video_fps(self) -> int:
        """As the environment asks for if that is slower than usual."""
        usual = super().video_fps()
        with closing(self._mine()) as env:
            return min(usual, env.metadata.get("render_fps") or usual)

    def as_text(self) -> "GymSpec":
        """The same, drawn in characters if the environment can do that."""
        with closing(self._mine()) as env:
            able = "ansi" in env.metadata.get("render_modes", ())
        return replace(self, kwargs={**self.kwargs, "render_mode": "ansi"}) if able else self

    def text(self, env: EnvBase) -> str:
        """Ask the environment's own renderer."""
        text = first_render(env) if self.kwargs.get("render_mode") == "ansi" else None
        return text.rstrip("\n") if isinstance(text, str) else super().text(env)

    def _mine(self, *, told_at: int = logging.DEBUG) -> gymnasium.Env:
        """Make one environment with the wrappers of the settings."""
        check_id(self.id)  # first: a package that is missing is not the wrapper's fault
        kwargs, last = cut_after(self.max_steps, self.kwargs)
        return make_one(self.id, kwargs, (*wrappers_named(self.wrappers), *last), told_at=told_at)


class GymVector(GymWrapper):
    """`GymWrapper` for vector environments, which always say how a step ended and never how a reset did.

    TorchRL looks three times over which of the three flags are there, a twentieth of acting on small environments.
    """

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


def wrapped(envs: VectorEnv) -> EnvBase:
    """Make TorchRL's environment of Gymnasium's, with action numbers instead of one-hot vectors."""
    return GymVector(envs, categorical_action_encoding=True)


class Observations(gymnasium.vector.VectorObservationWrapper):
    """Make observations what `Spaces` says, `reading`'s arrays or the entries `keep` of them, and refuse NaN."""

    def __init__(self, env: VectorEnv, settings: GymSpec) -> None:
        super().__init__(env)
        self.autoreset_mode = AutoresetMode.DISABLED  # TorchRL looks for it on the outermost wrapper
        self.keep = slice(None) if settings.keep is None else np.asarray(settings.keep)
        whole = env.single_observation_space
        assert isinstance(whole, gymnasium.spaces.Box)
        self.reading, self._id = reading(whole), settings.id
        with np.errstate(over="ignore"):  # bounds beyond float32 become infinite
            low, high = (self.observations(bound[None])[0] for bound in (whole.low, whole.high))
        self.single_observation_space = gymnasium.spaces.Box(low, high, dtype=self.reading.dtype.type)
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, self.num_envs)

    def observations(self, observations: np.ndarray) -> np.ndarray:
        """[N, all] → [N, kept]."""
        return self.reading(observations)[:, self.keep]

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Reset (some of) the environments."""
        observations, info = super().reset(seed=seed, options=options)
        refuse_not_finite(observations, "observation", self._id)
        return observations, info

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step all environments; raises `NonFiniteError` for what nothing can be learned from."""
        observations, reward, terminated, truncated, info = super().step(actions)
        refuse_not_finite(observations, "observation", self._id)
        refuse_not_finite(reward, "reward", self._id)
        return observations, reward, terminated, truncated, info


def vector_env(env: EnvBase) -> SyncVectorEnv:
    """Find the Gymnasium vector environment inside TorchRL's wrappers."""
    base = env.base_env if isinstance(env, TransformedEnv) else env
    inner = base._env.unwrapped  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
    assert isinstance(inner, SyncVectorEnv)
    return inner


def first_render(env: EnvBase) -> Any:
    """Let the first of the vectorised environments render itself, as its render mode says."""
    return vector_env(env).envs[0].render()


def first_frame(env: EnvBase) -> np.ndarray:
    """Render the first of the vectorised environments, [H, W, 3], uint8."""
    frame = first_render(env)
    assert isinstance(frame, np.ndarray)
    return frame
