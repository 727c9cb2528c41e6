"""How any Gymnasium environment is read: its observation as one array, its action as one number."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TransformAction

from modules.envs.fit import as_vector, children_of, refuse_misfit, short
from modules.envs.frames import Order
from modules.envs.wrappers import Adapter
from modules.errors import BadValueError, told
from modules.keys import Part
from modules.spec import UsageError

JOINT_ACTIONS = 256  # combinations of a MultiDiscrete action that still make one action each
FAR_TOO_MANY = 10**12
CODES = 2**20  # most actions of a Discrete; most entries that a Discrete, MultiDiscrete or MultiBinary makes
FEW, QUARTER = 4, 4  # channels that are told from a square; of height and width, that more channels are told from
NUMBERS = (spaces.Box, spaces.Discrete, spaces.MultiBinary, spaces.MultiDiscrete)
PAGE = "docs/your_own_environment.md"
MASK = "action_mask"  # entry of an observation or info


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a batch of Box observations becomes what a network sees.

    Attributes:
        shape: of one observation; images have their channels first.
        dtype: uint8 as it was, float32 for any other type; integers beyond ±2^24 are rounded.
        channels_last: whether images come as [height, width, channels].
        planes: axis of the planes of a grid with three axes, which stays as it is; None for anything else.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    channels_last: bool
    planes: int | None = None

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """[N, *space.shape] → [N, *shape]."""
        if self.channels_last:
            return np.ascontiguousarray(np.moveaxis(observations, -1, 1))
        return observations.reshape(-1, *self.shape).astype(self.dtype, copy=False)


def reading(space: spaces.Box, channels: Order | None, env_id: str) -> Reading:
    """Choose how to read a Box: images of uint8 channel first, vectors and grids as they are, all else as a vector.

    An image has three axes, or two with values from 0 to 255; a grid of smaller or other numbers is a grid. If
    `channels` are None, the shape of an image tells where they are, and the planes of a grid lie last.

    Raises:
        UsageError: the shape of an image does not tell, or `channels` are said of what has none.
    """
    shape, image = space.shape, is_image(space)
    if channels is not None and len(shape) != 3:
        raise UsageError(
            f"env.channels={channels} is for images and grids with three axes, but the observation of {env_id} is "
            f"{list(shape)} of {space.dtype}: leave it null"
        )
    channels_last = image and len(shape) == 3 and (channels or order_of(shape, env_id)) == "last"
    planes = (0 if channels == "first" else 2) if len(shape) == 3 and not image else None
    if channels_last:
        seen = (shape[-1], *shape[:-1])
    elif len(shape) == 2 and image:
        seen = (1, *shape)
    elif len(shape) in (1, 2, 3):
        seen = shape
    else:
        seen = (math.prod(shape),)
    dtype = np.dtype(np.uint8 if space.dtype in (np.uint8, np.bool_) else np.float32)
    return Reading(shape=seen, dtype=dtype, channels_last=channels_last, planes=planes)


def is_image(space: spaces.Space) -> TypeGuard[spaces.Box]:
    """Tell whether this is an image: uint8 with three axes and more than two values, or with two axes and all 256."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8:
        return False
    if len(space.shape) == 3:
        return bool((space.high > 1).any())
    return len(space.shape) == 2 and bool((space.low == 0).all() and (space.high == 255).all())


def order_of(shape: tuple[int, ...], env_id: str) -> Order:
    """Tell from an image's shape where its channels are; raises `UsageError` where the other order may be meant.

    Clear are channels of at most a quarter of height and width, and up to four beside a larger square.
    """

    def clear(channels: int, height: int, width: int) -> bool:
        square = channels <= FEW and channels < height == width
        return square or QUARTER * channels <= min(height, width)

    a, b, c = shape
    if clear(c, a, b):
        return "last"
    if clear(a, b, c):
        return "first"
    raise UsageError(
        f"env.channels: the observation of {env_id} is an image {list(shape)}, in which {a} channels of {b} x {c} "
        f"pixels may come first or {c} channels of {a} x {b} pixels last: say env.channels=first or env.channels=last"
    )


def as_box(space: spaces.Space, env_id: str) -> spaces.Box:
    """Say what `adapters` make of an observation; raises `UsageError`, naming the part that cannot be read."""
    for name, part in parts(space):
        refuse_unreadable(name, part, env_id)
    refuse_sizes(space, env_id)
    box = space if isinstance(space, spaces.Box) else spaces.flatten_space(space)
    assert isinstance(box, spaces.Box)
    return box


def adapters(env: gymnasium.Env) -> tuple[Adapter, ...]:
    """List the wrappers after which the observation of `env` is a Box (one-hot vectors) and its action a Discrete."""
    flat = () if isinstance(env.observation_space, spaces.Box) else (as_vector,)
    return (*flat, *numbering(env))


def numbering(env: gymnasium.Env) -> tuple[Adapter, ...]:
    """List the wrappers after which the action of `env` is a Discrete."""
    return (one_number,) if isinstance(env.action_space, spaces.MultiDiscrete | spaces.MultiBinary) else ()


def parts_of(space: spaces.Space, channels: Order | None, env_id: str, *, masked: bool) -> tuple[Part, ...]:
    """Say what a Dict or Tuple holds one after the other, if there are images or, `masked`, allowed actions in it."""
    found = [part_of(name, part, channels, env_id, masked=masked) for name, part in parts(space)]
    return (
        tuple(found) if isinstance(space, spaces.Dict | spaces.Tuple) and any(p.kind != "vector" for p in found) else ()
    )


def part_of(name: str, space: spaces.Space, channels: Order | None, env_id: str, *, masked: bool) -> Part:
    """Describe one part of an observation."""
    if masked and name == f"[{MASK!r}]":
        return Part(name, (vector_size(space),), "mask")
    if is_image(space) and len(space.shape) == 3:
        last = (channels or order_of(space.shape, f"{env_id}{name}")) == "last"
        return Part(name, space.shape, "image", 2 if last else 0)
    return Part(name, (vector_size(space),))


def parts(space: spaces.Space, name: str = "") -> Iterator[tuple[str, spaces.Space]]:
    """Yield each part of an observation with its name, as the Dicts and Tuples around it give it."""
    children = children_of(space)
    if not children:
        yield name, space
    for key, child in children:
        yield from parts(child, f"{name}[{key!r}]")


def refuse_unreadable(name: str, space: spaces.Space, env_id: str) -> None:
    """Raise `UsageError` for a part of an observation that is no array of numbers."""
    where = f"observation{name} of {env_id}"
    wrapper = f"a wrapper of yours (env.wrappers=[my_file:MyWrapper], see {PAGE})"
    if isinstance(space, spaces.Dict | spaces.Tuple):
        raise UsageError(f"env.id: {where} is an empty {type(space).__name__}: leave it out by {wrapper}")
    if not isinstance(space, NUMBERS):
        kind = type(space).__name__
        raise UsageError(
            f"env.id: {where} is a {kind}, which is no array of numbers: leave it out or encode it by {wrapper}"
        )


def refuse_sizes(space: spaces.Space, env_id: str) -> None:
    """Raise `UsageError` for an observation without any entry, or with a part that makes a huge vector of a number."""
    for name, part in parts(space):
        if not isinstance(part, spaces.Box) and (size := vector_size(part)) > CODES:
            raise UsageError(
                f"env.id: observation{name} of {env_id}, {short(part)}, makes a vector of {size} entries, and that "
                f"goes up to {CODES}: encode it by a wrapper of yours (env.wrappers=[my_file:MyWrapper], see {PAGE})"
            )
    if not any(math.prod(part.shape or ()) for _, part in parts(space)):
        raise UsageError(f"env.id: the observation of {env_id} is empty, {space}: there is nothing that an agent sees")


def mask_place(space: spaces.Space) -> slice:
    """Where in the flat observation the allowed actions lie."""
    sizes = {name: vector_size(part) for name, part in parts(space)}
    names = list(sizes)
    first = sum(sizes[name] for name in names[: names.index(f"[{MASK!r}]")])
    return slice(first, first + sizes[f"[{MASK!r}]"])


def vector_size(part: Any) -> int:
    """Count the entries that a Box, Discrete, MultiDiscrete or MultiBinary makes of a vector."""
    if isinstance(part, spaces.Discrete):
        return int(part.n)
    return sum(part.nvec.ravel().tolist()) if isinstance(part, spaces.MultiDiscrete) else math.prod(part.shape)


def one_number(env: gymnasium.Env) -> gymnasium.Env:
    """Number the combinations of a MultiDiscrete or MultiBinary action, the last entry changing fastest."""
    counts, separate = separation(env.action_space)
    return TransformAction(env, separate, spaces.Discrete(math.prod(counts.ravel().tolist())))


def separation(space: Any) -> tuple[np.ndarray, Callable[[int], np.ndarray]]:
    """Say how many values each entry of such an action has, and what makes the action of its number."""
    binary = isinstance(space, spaces.MultiBinary)
    counts, first = (np.full(space.shape, 2), 0) if binary else (space.nvec, space.start)

    def separate(number: int) -> np.ndarray:
        entries = np.array(np.unravel_index(int(number), counts.ravel()))
        return (entries.reshape(counts.shape) + first).astype(space.dtype)

    return counts, separate


def action_count(space: spaces.Space, env_id: str) -> int:
    """Count the actions; raises `UsageError` if they are not discrete from 0, or too many combinations."""
    if isinstance(space, spaces.Box):
        raise UsageError(
            f"env.id: Q-learning needs discrete actions, but those of {env_id} are continuous ({space}): offer a few "
            f"of them by a wrapper (env.wrappers, see {PAGE}), or train with a library that has SAC or PPO"
        )
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        return combinations(space, env_id)
    if not isinstance(space, spaces.Discrete) or space.start != 0:
        raise UsageError(
            f"env.id: Q-learning needs discrete actions counted from 0, but {env_id} has {space}: offer a Discrete(n) "
            f"by a wrapper (env.wrappers, see {PAGE})"
        )
    if space.n > CODES:
        raise UsageError(
            f"env.id: {env_id} has {space.n} actions, each of which has a value of its own, and that goes up to "
            f"{CODES}: offer fewer by a wrapper (env.wrappers, see {PAGE})"
        )
    return int(space.n)


def combinations(space: Any, env_id: str) -> int:
    """Count those of a MultiDiscrete or MultiBinary action; raises `UsageError` if there are none, or too many."""
    size = math.prod(space.shape)
    if not size:
        raise UsageError(f"env.id: {env_id} has no actions, {space}: there is nothing that an agent could choose")
    count = math.prod(space.nvec.ravel().tolist()) if isinstance(space, spaces.MultiDiscrete) else 2 ** min(size, 99)
    if count <= JOINT_ACTIONS:
        return count
    many = count if count < FAR_TOO_MANY else "far too many"  # it may have more digits than Python writes
    raise UsageError(
        f"env.id: the actions of {env_id}, {short(space)}, have {many} combinations, each of which would be an action "
        f"of its own, and that goes up to {JOINT_ACTIONS}: offer fewer by a wrapper (env.wrappers, see {PAGE})"
    )


def refuse_running_statistics(env: gymnasium.Env, env_id: str) -> None:
    """Raise `UsageError` if `env`, or an environment inside it, scales by statistics of what it has seen so far."""
    for part in layers(env):
        kinds = {kind.__name__ for value in vars(part).values() for kind in type(value).__mro__}
        if "RunningMeanStd" in kinds and getattr(part, "update_running_mean", True):  # Gymnasium's, and others' like it
            raise UsageError(
                f"env: {type(part).__name__} in {env_id} scales by running statistics, which no checkpoint keeps and "
                "no evaluation shares, so that scores and resumed runs would be on other scales: use a wrapper of "
                f"yours with fixed numbers (env.wrappers, see {PAGE}); Recall has no running normalisation of its own "
                "yet"
            )


def layers(env: gymnasium.Env) -> list[gymnasium.Env]:
    """List `env` and what it holds: a wrapper its environment, an environment of a user's own perhaps another."""
    found = [env]
    for part in found:  # grows on the way
        inner = (value for value in vars(part).values() if isinstance(value, gymnasium.Env))
        found += [value for value in inner if all(value is not known for known in found)]
    return found


def refuse_unplayable(env: gymnasium.Env, env_id: str, *, masked: bool = False) -> None:
    """Raise `UsageError` if the first reset or step of `env` goes wrong, or its observation is not as promised.

    The step takes the first action, where the observation is `masked` the first that is allowed.
    """
    places = mask_place(env.observation_space) if masked else slice(0)
    for adapter in adapters(env):
        env = adapter(env)
    doing = "reset"
    try:
        observation, _ = env.reset(seed=0)
        refuse_misfit(observation, env.observation_space)
        doing = "step"
        action = int(np.argmax(observation[places] != 0)) if masked else 0
        observation, reward, _, _, _ = env.step(np.int64(action))
        float(reward)
        refuse_misfit(observation, env.observation_space)
    except BadValueError as error:
        raise UsageError(f"env.id: the first {doing} of {env_id} gives {error}") from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"env.id: the first {doing} of {env_id} fails: {told(error)}") from error
