"""How any Gymnasium environment is read: its observation as one array, its action as one number."""

import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation, TransformAction

from modules.errors import NonFiniteError, told
from modules.spec import UsageError

Adapter = Callable[[gymnasium.Env], gymnasium.Env]

JOINT_ACTIONS = 256  # combinations of a MultiDiscrete action that still make one action each
NUMBERS = (spaces.Box, spaces.Discrete, spaces.MultiBinary, spaces.MultiDiscrete)
PAGE = "docs/your_own_environment.md"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a batch of Box observations becomes what a network sees.

    Attributes:
        shape: of one observation; images have their channels first.
        dtype: uint8 as it was, float32 for any other type; integers beyond ±2^24 are rounded.
        channels_last: whether images come as [height, width, channels].
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    channels_last: bool

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """[N, *space.shape] → [N, *shape]."""
        if self.channels_last:
            return np.ascontiguousarray(np.moveaxis(observations, -1, 1))
        return observations.reshape(-1, *self.shape).astype(self.dtype, copy=False)


def reading(space: spaces.Box) -> Reading:
    """Choose how to read a Box: images of uint8 channel first, vectors and grids as they are, all else as a vector.

    An image has three axes, of which channels are the shorter end, or two with values from 0 to 255; a grid of smaller
    numbers is a grid.
    """
    shape, image = space.shape, space.dtype == np.uint8
    full = image and bool((space.low == 0).all() and (space.high == 255).all())
    channels_last = image and len(shape) == 3 and shape[-1] < shape[0]
    if channels_last:
        seen = (shape[-1], *shape[:-1])
    elif len(shape) == 2 and full:
        seen = (1, *shape)
    elif len(shape) in (1, 2) or (len(shape) == 3 and image):
        seen = shape
    else:
        seen = (math.prod(shape),)
    return Reading(shape=seen, dtype=np.dtype(np.uint8 if image else np.float32), channels_last=channels_last)


def as_box(space: spaces.Space, env_id: str) -> spaces.Box:
    """Say what `adapters` make of an observation; raises `UsageError`, naming the part that cannot be read."""
    for name, part in parts(space):
        refuse_unreadable(name, part, env_id)
    box = space if isinstance(space, spaces.Box) else spaces.flatten_space(space)
    assert isinstance(box, spaces.Box)
    return box


def adapters(env: gymnasium.Env) -> tuple[Adapter, ...]:
    """List the wrappers after which the observation of `env` is a Box (one-hot vectors) and its action a Discrete."""
    flat = () if isinstance(env.observation_space, spaces.Box) else (FlattenObservation,)
    return (*flat, *numbering(env))


def numbering(env: gymnasium.Env) -> tuple[Adapter, ...]:
    """List the wrappers after which the action of `env` is a Discrete."""
    return (one_number,) if isinstance(env.action_space, spaces.MultiDiscrete | spaces.MultiBinary) else ()


def parts(space: spaces.Space, name: str = "") -> Iterator[tuple[str, spaces.Space]]:
    """Yield each part of an observation with its name, as the Dicts and Tuples around it give it."""
    children = space.spaces if isinstance(space, spaces.Dict | spaces.Tuple) else None
    if children is None:
        yield name, space
        return
    for key, child in children.items() if isinstance(children, dict) else enumerate(children):
        yield from parts(child, f"{name}[{key!r}]")


def refuse_unreadable(name: str, space: spaces.Space, env_id: str) -> None:
    """Raise `UsageError` for a part of an observation that is no array of numbers, or an image beside other parts."""
    where = f"observation{name} of {env_id}"
    wrapper = f"a wrapper of yours (env.wrappers=[my_file:MyWrapper], see {PAGE})"
    if not isinstance(space, NUMBERS):
        kind = type(space).__name__
        raise UsageError(
            f"env.id: {where} is a {kind}, which is no array of numbers: leave it out or encode it by {wrapper}"
        )
    if name and isinstance(space, spaces.Box) and len(reading(space).shape) == 3:
        raise UsageError(
            f"env.id: {where} is an image {list(space.shape)}, which makes no vector with other entries: give the "
            f"image alone, or draw the entries into it, by {wrapper}"
        )


def one_number(env: gymnasium.Env) -> gymnasium.Env:
    """Number the combinations of a MultiDiscrete or MultiBinary action, the last entry changing fastest."""
    space: Any = env.action_space
    binary = isinstance(space, spaces.MultiBinary)
    counts = np.full(space.shape, 2) if binary else space.nvec
    first = 0 if binary else space.start

    def separate(number: np.int64) -> np.ndarray:
        entries = np.array(np.unravel_index(int(number), counts.ravel()))
        return (entries.reshape(counts.shape) + first).astype(space.dtype)

    return TransformAction(env, separate, spaces.Discrete(math.prod(counts.ravel().tolist())))


def action_count(space: spaces.Space, env_id: str) -> int:
    """Count the actions; raises `UsageError` if they are not discrete from 0, or too many combinations."""
    if isinstance(space, spaces.Box):
        raise UsageError(
            f"env.id: Q-learning needs discrete actions, but those of {env_id} are continuous ({space}): offer a few "
            f"of them by a wrapper (env.wrappers, see {PAGE}), or train with a library that has SAC or PPO"
        )
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        counts = space.nvec if isinstance(space, spaces.MultiDiscrete) else np.full(space.shape, 2)
        if (count := math.prod(counts.ravel().tolist())) <= JOINT_ACTIONS:
            return count
        raise UsageError(
            f"env.id: the actions of {env_id}, {space}, have {count} combinations, each of which would be an action of "
            f"its own, and that goes up to {JOINT_ACTIONS}: offer fewer by a wrapper (env.wrappers, see {PAGE})"
        )
    if not isinstance(space, spaces.Discrete) or space.start != 0:
        raise UsageError(
            f"env.id: Q-learning needs discrete actions counted from 0, but {env_id} has {space}: offer a Discrete(n) "
            f"by a wrapper (env.wrappers, see {PAGE})"
        )
    return int(space.n)


def wrappers_named(names: Sequence[str]) -> tuple[Adapter, ...]:
    """Import Gymnasium wrappers, `module:Class` each; raises `UsageError` for what is not there or no wrapper."""
    return tuple(map(wrapper_named, names))


def wrapper_named(name: str) -> Adapter:
    """Import one."""
    module, colon, kind = name.partition(":")
    if not (module and colon and kind):
        raise UsageError(
            f"env.wrappers: {name!r} is not of the form module:Class, such as minigrid.wrappers:ImgObsWrapper"
        )
    found = getattr(imported(module, "env.wrappers"), kind, None)
    if not (isinstance(found, type) and issubclass(found, gymnasium.Wrapper)):
        what = "has no such class" if found is None else "has it, but it is no gymnasium.Wrapper"
        raise UsageError(f"env.wrappers: {name!r} cannot be used, because {module} {what}")
    return found


def imported(module: str, setting: str) -> Any:
    """Import `module`, which `setting` names, from the current folder or what is installed, or raise `UsageError`."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise UsageError(
                f"{setting}: there is no module {error.name!r}, neither in the current folder nor among the installed "
                "packages: run the command where the file is, or set PYTHONPATH"
            ) from error
        raise UsageError(f"{setting}: the module {module!r} cannot be imported: {error}") from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"{setting}: the module {module!r} cannot be imported: {told(error)}") from error


def refuse_unplayable(env: gymnasium.Env, env_id: str) -> None:
    """Raise `UsageError` if the first reset or step of `env` goes wrong, or its observation is not as promised."""
    for adapter in adapters(env):
        env = adapter(env)
    doing = "reset"
    try:
        observation, _ = env.reset(seed=0)
        refuse_other_than_promised(np.asarray(observation), env.observation_space, f"{doing} of {env_id}")
        doing = "step"
        observation, reward, _, _, _ = env.step(np.int64(0))
        float(reward)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"env.id: the first {doing} of {env_id} fails: {told(error)}") from error
    refuse_other_than_promised(np.asarray(observation), env.observation_space, f"{doing} of {env_id}")


def refuse_other_than_promised(observation: np.ndarray, space: spaces.Space, where: str) -> None:
    """Raise `UsageError` if an observation has another shape than its space, or a type that does not become its."""
    found, promised = (f"{list(it.shape or ())} of {it.dtype}" for it in (observation, space))
    fits = space.dtype is None or np.can_cast(observation.dtype, space.dtype, "same_kind")  # as vectorising casts it
    if observation.shape != space.shape or not fits:
        raise UsageError(
            f"env.id: the first {where} gives an observation {found}, but its observation_space promises {promised}"
        )


def refuse_not_finite(values: np.ndarray, what: str, env_id: str) -> None:
    """Raise `NonFiniteError` if one of `values`, [N, …], is NaN or infinite."""
    if math.isfinite(values.sum()) or np.isfinite(values).all():  # a sum of finite numbers may overflow
        return
    number, *entry = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
    where = f"entry {entry} of its {what}" if entry else f"its {what}"
    value = values[(number, *entry)]
    raise NonFiniteError(f"env.id: {env_id} gave {value} as {where} (environment {number} of {len(values)})")
