"""Any Gymnasium id with discrete actions and vector or image observations, vectorised in one process."""

import difflib
import importlib
import os
import warnings
from collections.abc import Iterator
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
from modules.keys import Spaces
from modules.spec import UsageError, spec

# Before the first render: draw without a screen, and leave SIGINT and SIGTERM to us (SDL would swallow them).
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ["SDL_NO_SIGNAL_HANDLERS"] = "1"


EXTRAS = {"MiniGrid-": "minigrid", "BabyAI-": "minigrid"}  # how ids begin → the package, and extra, that registers them


def make_vec(env_id: str, num_envs: int, kwargs: dict[str, Any]) -> VectorEnv:
    """Make a synchronous vector environment whose episodes are reset one by one, by the caller."""
    return gymnasium.make_vec(
        env_id,
        num_envs=num_envs,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED},
        disable_env_checker=True,  # it checks every step of every environment
        **kwargs,
    )


def check_id(env_id: str) -> None:
    """Raise `UsageError` if Gymnasium does not know `env_id`."""
    module, _, name = env_id.rpartition(":")
    load_extra(name)
    try:
        if module:  # registers what it defines, as gymnasium.make would have it do
            importlib.import_module(module)
        gymnasium.spec(name)
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
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


def make_one(env_id: str, kwargs: dict[str, Any]) -> gymnasium.Env:
    """Make one environment, or raise `UsageError` with what its constructor said."""
    check_id(env_id)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters becomes a sentence of ours
            return gymnasium.make(env_id, disable_env_checker=True, **kwargs)
    except Exception as error:
        text = " ".join(str(error).split())
        raise UsageError(f"env: {env_id} cannot be made with kwargs {kwargs}: {text}") from error


def registered_limit(env_id: str, kwargs: dict[str, Any]) -> int | None:
    """Steps after which episodes of `env_id` are cut, if they are."""
    env = make_one(env_id, kwargs)
    assert env.spec is not None
    return env.spec.max_episode_steps


def renders(env: gymnasium.Env) -> bool:
    """Tell whether `env` can draw itself into an array."""
    return "rgb_array" in env.metadata.get("render_modes", ())


def action_count(env: gymnasium.Env, env_id: str) -> int:
    """Count the actions, or raise `UsageError` if they are not discrete from 0."""
    space = env.action_space
    if not isinstance(space, gymnasium.spaces.Discrete) or space.start != 0:
        raise UsageError(f"env.id: Q-learning needs discrete actions counted from 0, but {env_id} has {space}")
    return int(space.n)


@spec
class GymSpec(EnvSpec):
    """A registered Gymnasium environment with Box observations.

    `keep` selects entries of a vector observation (null: all); leaving out velocities makes memory necessary.
    Observations of another type than uint8 become float32.
    """

    id: str
    kwargs: dict[str, Any]
    keep: tuple[int, ...] | None

    def needs(self, run: Any) -> Iterator[str]:
        """A film needs a renderer."""
        env = make_one(self.id, self.kwargs)
        if run.video and not renders(env):
            yield f"video=true needs an environment that renders rgb_array, which {self.id} does not: set video=false"

    def spaces(self) -> Spaces:
        """Look the spaces up in one environment, made and closed at once."""
        env = make_one(self.id, self.kwargs)
        space, n_actions = env.observation_space, action_count(env, self.id)
        env.close()
        if not isinstance(space, gymnasium.spaces.Box):
            raise UsageError(f"env.id: observations must be a Box, but {self.id} has {space}")
        shape = space.shape
        if len(shape) == 3 and shape[2] in (1, 3, 4) and shape[0] > 4:
            raise UsageError(
                f"env.id: {self.id} has images {list(shape)}, height and width first, but channels must come first; "
                "wrap it, or use env=cartpole_pixels with this env.id"
            )
        if self.keep is not None:
            if len(shape) != 1 or not self.keep or not all(0 <= i < shape[0] for i in self.keep):
                raise UsageError(
                    f"env.keep: {list(self.keep)} must list entries of {self.id}'s observation, "
                    f"whose shape is {list(shape)}"
                )
            shape = (len(self.keep),)
        dtype = torch.uint8 if space.dtype == np.uint8 else torch.float32
        return Spaces(observation_shape=shape or (1,), observation_dtype=dtype, n_actions=n_actions)

    def max_steps(self) -> int | None:
        """The limit with which the id is registered."""
        return registered_limit(self.id, self.kwargs)

    def build(self, num_envs: int, primer: Transform | None, *, video: bool = False) -> TransformedEnv:
        """Make the vector environment."""
        envs = make_vec(self.id, num_envs, {**self.kwargs, **({"render_mode": "rgb_array"} if video else {})})
        return transformed(wrapped(Observations(envs, self.keep)), primer)

    def picture(self, env: EnvBase) -> np.ndarray:
        """Ask the environment's own renderer."""
        return first_frame(env)

    def video_fps(self) -> int:
        """As the environment asks for if that is slower than usual."""
        usual = super().video_fps()
        return min(usual, make_one(self.id, self.kwargs).metadata.get("render_fps") or usual)


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
    """Make observations what `Spaces` says: the entries `keep`, uint8 or else float32, a scalar as a vector of one."""

    def __init__(self, env: VectorEnv, keep: tuple[int, ...] | None) -> None:
        super().__init__(env)
        self.autoreset_mode = AutoresetMode.DISABLED  # TorchRL looks for it on the outermost wrapper
        self.keep = slice(None) if keep is None else np.asarray(keep)
        whole = env.single_observation_space
        assert isinstance(whole, gymnasium.spaces.Box)
        self.dtype = np.dtype(np.uint8 if whole.dtype == np.uint8 else np.float32)
        with np.errstate(over="ignore"):  # bounds beyond float32 become infinite
            low, high = (self.observations(bound[None])[0] for bound in (whole.low, whole.high))
        self.single_observation_space = gymnasium.spaces.Box(low, high, dtype=self.dtype.type)
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, self.num_envs)

    def observations(self, observations: np.ndarray) -> np.ndarray:
        """[N, all] → [N, kept]."""
        values = observations if observations.ndim > 1 else observations[:, None]
        return values[:, self.keep].astype(self.dtype, copy=False)


def vector_env(env: EnvBase) -> SyncVectorEnv:
    """Find the Gymnasium vector environment inside TorchRL's wrappers."""
    base = env.base_env if isinstance(env, TransformedEnv) else env
    inner = base._env.unwrapped  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
    assert isinstance(inner, SyncVectorEnv)
    return inner


def first_frame(env: EnvBase) -> np.ndarray:
    """Render the first of the vectorised environments, [H, W, 3], uint8."""
    frame = vector_env(env).envs[0].render()
    assert isinstance(frame, np.ndarray)
    return frame
