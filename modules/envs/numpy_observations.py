"""What an environment gives to plain Gymnasium, and what its network sees of that."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import cv2
import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, iterate

from modules.envs.fit import flatten_space
from modules.envs.frames import Order, rgb
from modules.envs.gym_spaces import as_box, reading, separation
from modules.errors import BadValueError
from modules.keys import Spaces
from modules.spec import UsageError

if TYPE_CHECKING:
    from modules.envs.pixels import PixelsSpec


class NumpyObservations:
    """Observations that are what the network sees, one [*shape] or several [N, *shape], and actions that are numbers.

    Args:
        seen: what the network sees and does.
        axes: of one observation, as the environment gives it.
        action: makes what `step` of the environment takes of the number of an action.
        action_names: in a word each; none where nobody has named them.
    """

    def __init__(self, seen: Spaces, axes: int, action: Callable[[int], Any], action_names: Sequence[str] = ()) -> None:
        self.seen, self.axes, self.action = seen, axes, action
        self.action_names = tuple(action_names)

    def rows(self, observation: Any) -> tuple[np.ndarray, bool]:
        """Make [N, *shape] of one observation or several, and tell whether it was one.

        Raises:
            UsageError: it is none of this environment's.
        """
        shape = self.seen.observation_shape
        dtype = np.dtype(np.uint8 if self.seen.observation_dtype == torch.uint8 else np.float32)
        try:
            given, single = self.several(observation)
            rows = np.asarray(self.see(given))
        except (TypeError, ValueError, LookupError, AttributeError, BadValueError, cv2.error) as error:
            text = " ".join(str(error).split())
            raise UsageError(f"observation: it cannot be read as one of this environment ({text})") from error
        if rows.shape[1:] != shape or not len(rows):
            raise UsageError(
                f"observation: {list(np.shape(observation))} is none of this environment, of which the network sees "
                f"{list(shape)}; several at once have one axis more"
            )
        if not np.can_cast(rows.dtype, dtype, "same_kind"):
            raise UsageError(f"observation: numbers must be {dtype}, as the environment gives them, not {rows.dtype}")
        if not np.isfinite(rows).all():
            raise UsageError("observation: there is NaN or infinity in it")
        return np.array(rows, dtype=dtype), single

    def several(self, observation: Any) -> tuple[Sequence[Any] | np.ndarray, bool]:
        """Make a sequence of one observation or several, and tell whether it was one."""
        array = np.asarray(observation)
        single = array.ndim == self.axes
        return array[None] if single else array, single

    def see(self, given: Sequence[Any] | np.ndarray) -> Any:
        """Make [N, *shape] of observations."""
        return given


class NumpyFrames(NumpyObservations):
    """Observations that are what `render` of the environment returns in mode rgb_array."""

    def __init__(self, settings: "PixelsSpec", seen: Spaces) -> None:
        from modules.envs.gym import make_one  # with TorchRL, which acting on numbers does without

        with closing(make_one(settings.id, {**settings.kwargs, "render_mode": "rgb_array"}, ())) as env:
            env.reset(seed=0)
            frame: Any = env.render()
            super().__init__(seen, np.ndim(frame), numbered(env.action_space), names_of_actions(env))
        self._settings = settings

    def see(self, given: Sequence[Any] | np.ndarray) -> Any:
        """Cut, turn grey and resize."""
        frames = [rgb(frame, self._settings.id, self._settings.channels) for frame in given]
        return np.stack([self._settings.shrink(frame)[None] for frame in frames])


class NumpyGymObservations(NumpyObservations):
    """Observations of any Gymnasium environment, with the wrappers of the settings around it.

    Args:
        space: of its observations.
        action_space: of its actions.
        seen: what the network sees and does.
        keep: entries of a vector that the network sees; None: all.
        channels: as in the settings of the environment.
        action_names: in a word each, if anybody has named them.
        env_id: for what is said of it.
    """

    def __init__(
        self,
        space: spaces.Space,
        action_space: spaces.Space,
        seen: Spaces,
        *,
        keep: Sequence[int] | None,
        channels: Order | None,
        action_names: Sequence[str] = (),
        env_id: str,
    ) -> None:
        self.space, self.action_space, self.keep, self.channels = space, action_space, keep, channels
        super().__init__(seen, len(space.shape or ()), numbered(action_space), action_names)
        box = as_box(space, env_id)
        self._shape, self._reading = box.shape, reading(box, None if seen.parts else channels, env_id)
        self._keep = slice(None) if keep is None else np.asarray(keep)

    def several(self, observation: Any) -> tuple[Sequence[Any] | np.ndarray, bool]:
        """Look at one entry of a Dict or Tuple to tell one observation from several, which have one axis more."""
        space, entry = self.space, observation
        while isinstance(space, spaces.Dict | spaces.Tuple):
            name = next(iter(space.spaces)) if isinstance(space, spaces.Dict) else 0
            space, entry = space.spaces[name], entry[name]  # pyright: ignore[reportArgumentType, reportCallIssue]
        if space is self.space:
            return super().several(observation)
        single = np.ndim(entry) == len(space.shape or ())
        return [observation] if single else list(iterate(batch_space(self.space), observation)), single

    def see(self, given: Sequence[Any] | np.ndarray) -> Any:
        """Make one array of all entries, and of that what the settings say."""
        if not isinstance(self.space, spaces.Box):
            given = [flatten_space(self.space, one) for one in given]
        array = np.asarray(given)
        if array.shape[1:] != self._shape or not np.can_cast(array.dtype, self.space.dtype or float, "same_kind"):
            raise TypeError(f"it is {list(array.shape[1:])} of {array.dtype}, and there {self.space}")
        return self._reading(array)[:, self._keep]


def numbered(action_space: spaces.Space) -> Callable[[int], Any]:
    """Find what makes an action of this space of its number."""
    several = isinstance(action_space, spaces.MultiDiscrete | spaces.MultiBinary)
    return separation(action_space)[1] if several else int


def names_of_actions(env: gymnasium.Env) -> tuple[str, ...]:
    """What an environment calls its actions, as Atari games and MiniGrid do; none if it does not say."""
    inner: Any = env.unwrapped
    named = getattr(inner, "get_action_meanings", None)
    found = named() if callable(named) else getattr(inner, "actions", ())
    names = [str(getattr(name, "name", name)) for name in found] if isinstance(found, Iterable) else []
    whole = isinstance(env.action_space, spaces.Discrete) and len(names) == env.action_space.n
    return tuple(names) if whole else ()
