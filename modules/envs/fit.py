"""Whether what an environment gives fits its space and is a number."""

import math
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TransformObservation

from modules.errors import BadValueError

LINE = 100  # characters of a value or a space in a message


def as_vector(env: gymnasium.Env) -> gymnasium.Env:
    """Flatten the observation as Gymnasium does; `BadValueError` for one that is not in its space."""
    space = env.observation_space
    return TransformObservation(env, partial(flatten_space, space), spaces.flatten_space(space))


def flatten_space(space: spaces.Space, observation: Any) -> np.ndarray:
    """Make one vector; raises `BadValueError` for an observation that is not in its space.

    Gymnasium's own function makes a wrong vector of a number too small, and of some too large.
    """
    refuse_misfit(observation, space)
    try:
        return np.asarray(spaces.flatten(space, observation))
    except Exception as error:
        raise BadValueError(f"{short(observation)} as its observation, which is not in {short(space)}") from error


def refuse_misfit(value: Any, space: spaces.Space, name: str = "") -> None:
    """Raise `BadValueError` if a part of an observation is not in its space; of a Box of floats only the form counts.

    The `name` of the part is that which the Dicts and Tuples around it give it.
    """
    children = children_of(space)
    try:
        for key, child in children:
            refuse_misfit(value[key], child, f"{name}[{key!r}]")
        problem = "" if children else misfit(value, space)
    except BadValueError:
        raise
    except Exception:  # nothing that could be asked
        problem = f"which is not in {short(space)}"
    if problem:
        raise BadValueError(f"{short(value)} as its observation{name}, {problem}")


def misfit(value: Any, space: Any) -> str:
    """Say why a value does not fit its space, which has no parts; "" if it does."""
    if isinstance(space, spaces.Discrete):
        return "" if 0 <= value - space.start < space.n else f"which is not in {short(space)}"
    array = np.asarray(value)
    fits = isinstance(space, spaces.MultiBinary) or np.can_cast(array.dtype, space.dtype, "same_kind")
    if array.shape != space.shape or not fits:
        found, promised = (f"{list(it.shape)} of {it.dtype}" for it in (array, space))
        return f"which is {found}, but its observation_space promises {promised}"
    if isinstance(space, spaces.MultiBinary):
        return "" if ((array == 0) | (array == 1)).all() else f"which is not in {short(space)}"
    if isinstance(space, spaces.MultiDiscrete):
        low, high = space.start, space.start + space.nvec - 1
    elif np.issubdtype(space.dtype, np.integer) and array.dtype != space.dtype:
        low, high = np.iinfo(space.dtype).min, np.iinfo(space.dtype).max
    else:
        return ""
    return "" if ((array >= low) & (array <= high)).all() else f"which is not in {short(space)}"


def short(it: Any) -> str:
    """Write in one line of at most 100 characters."""
    text = " ".join(repr(it).split())
    return text if len(text) <= LINE else f"{text[: LINE - 1]}…"


def children_of(space: spaces.Space) -> list[tuple[Any, spaces.Space]]:
    """List the parts of a Dict or Tuple with their keys or places; of any other space none."""
    if isinstance(space, spaces.Dict):
        return list(space.spaces.items())
    return list(enumerate(space.spaces)) if isinstance(space, spaces.Tuple) else []


def refuse_not_finite(values: np.ndarray, what: str, env_id: str) -> None:
    """Raise `BadValueError` if one of `values`, [N, …], is NaN or infinite."""
    if math.isfinite(values.sum()) or np.isfinite(values).all():  # a sum of finite numbers may overflow
        return
    number, *entry = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
    where = f"entry {entry} of its {what}" if entry else f"its {what}"
    value = values[(number, *entry)]
    raise BadValueError(f"env.id: {env_id} gave {value} as {where} (environment {number} of {len(values)})")
