"""Gymnasium environments that step together in this process, watched for what nothing can be learned from."""

import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, sync_vector_env

from modules.envs.fit import refuse_misfit, refuse_not_finite
from modules.envs.frames import Order
from modules.envs.gym_spaces import reading
from modules.errors import BadValueError, told
from modules.spec import UsageError

TRY_S = 1.0  # seconds after which no more environments are made only to see whether they can be
LARGEST = float(np.finfo(np.float32).max)


class CheckedVectorEnv(SyncVectorEnv):
    """Environments that step together and are reset one by one, by the caller; nobody looks at their infos.

    Gymnasium would gather each entry of each info in an array that the first one fixes the type and shape of. The
    observations must be Boxes.

    Raises:
        BadValueError: by `reset` and `step`, for an observation that does not fit its space, or a reward that is no
            number, NaN, infinite or beyond float32. Floats may lie beyond a Box's bounds.
    """

    def __init__(self, makers: Sequence[Callable[[], gymnasium.Env]], env_id: str) -> None:
        super().__init__(makers, autoreset_mode=AutoresetMode.DISABLED)
        self._id, space = env_id, self.single_observation_space
        self._env_obs = [np.zeros(space.shape or (), space.dtype)] * self.num_envs  # what is wrong there, was given
        self._wraps = np.issubdtype(space.dtype, np.integer)  # too large an integer becomes another one, silently

    def _add_info(self, vector_infos: dict[str, Any], env_info: Any, env_num: int) -> dict[str, Any]:
        del env_info, env_num
        return vector_infos

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self._checked(super().reset, seed=seed, options=options)

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        found = self._checked(super().step, actions)
        refuse_rewards(found[1], self._id)
        return found

    def _checked(self, act: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            found = act(*args, **kwargs)
        except BadValueError as error:  # of an adapter, which does not know where it is
            raise BadValueError(f"env.id: {self._id} gave {error}") from error
        except Exception as error:
            self._refuse_misfits()
            if traceback.extract_tb(error.__traceback__)[-1].filename != sync_vector_env.__file__:
                raise  # in the environment itself
            what = f"a reward or an end that is no number: {told(error)}"
            raise BadValueError(f"env.id: {self._id} gave {what}") from error
        if self._wraps:
            self._refuse_misfits()
        return found

    def _refuse_misfits(self) -> None:
        for number, observation in enumerate(self._env_obs):
            try:
                refuse_misfit(observation, self.single_observation_space)
            except BadValueError as error:
                where = f"(environment {number} of {self.num_envs})"
                raise BadValueError(f"env.id: {self._id} gave {error} {where}") from error


class Observations(gymnasium.vector.VectorObservationWrapper):
    """Make observations what `Spaces` says, `reading`'s arrays or the entries `keep` of them, and refuse NaN."""

    def __init__(self, env: VectorEnv, env_id: str, keep: tuple[int, ...] | None, channels: Order | None) -> None:
        super().__init__(env)
        self.autoreset_mode = AutoresetMode.DISABLED  # TorchRL looks for it on the outermost wrapper
        self.keep = slice(None) if keep is None else np.asarray(keep)
        whole = env.single_observation_space
        assert isinstance(whole, gymnasium.spaces.Box)
        self.reading, self._id = reading(whole, channels, env_id), env_id
        with np.errstate(over="ignore"):  # bounds beyond float32 become infinite
            low, high = (self._seen(bound[None])[0] for bound in (whole.low, whole.high))
        self.single_observation_space = gymnasium.spaces.Box(low, high, dtype=self.reading.dtype.type)
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, self.num_envs)

    def observations(self, observations: np.ndarray) -> np.ndarray:
        """[N, all] → [N, kept]; raises `BadValueError` for what nothing can be learned from."""
        seen = self._seen(observations)
        refuse_not_finite(seen, "observation", self._id)
        return seen

    def _seen(self, observations: np.ndarray) -> np.ndarray:
        return self.reading(observations)[:, self.keep]


def refuse_rewards(rewards: np.ndarray, env_id: str) -> None:
    """Raise `BadValueError` if one of `rewards`, [N] of float64, is NaN, infinite or beyond float32."""
    with np.errstate(over="ignore"):
        if rewards.dot(rewards) <= LARGEST**2:  # then none is; one product takes a third of the time of two extremes
            return
    for number, reward in enumerate(rewards.tolist()):
        where = f"as its reward (environment {number} of {len(rewards)})"
        if not np.isfinite(reward):
            raise BadValueError(f"env.id: {env_id} gave {reward} {where}")
        if abs(reward) > LARGEST:
            raise BadValueError(f"env.id: {env_id} gave {reward} {where}, which is more than float32 can hold")


def try_together(make: Callable[[int], gymnasium.Env], count: int, env_id: str, *, all_of_them: bool = False) -> None:
    """Raise `UsageError` if not `count` environments can live at once, or they differ in their spaces.

    They are made by their number and reset one after the other, until all are alive or a second has passed, unless
    it is to be `all_of_them`; two are always made.
    """
    end, first = time.monotonic() + TRY_S, None
    with ExitStack() as alive:
        for number in range(count):
            try:
                env = make(number)
                alive.callback(env.close)
                env.reset(seed=number)
            except (Exception, SystemExit) as error:
                text = str(error) if isinstance(error, UsageError) else told(error)
                raise UsageError(
                    f"env.id: this run has {count} environments at once, for training, evaluation and film, but number "
                    f"{number + 1} of {env_id} cannot be made and reset beside the others: {' '.join(text.split())}"
                ) from error
            first = first or env
            refuse_other_spaces(env, first, env_id)
            if number and not all_of_them and time.monotonic() > end:
                break


def refuse_other_spaces(env: gymnasium.Env, first: gymnasium.Env, env_id: str) -> None:
    """Raise `UsageError` if the spaces of `env` are not those of `first`."""
    for name in ("observation_space", "action_space"):
        mine, its = getattr(env, name), getattr(first, name)
        if mine != its:
            raise UsageError(
                f"env.id: all environments of a run must have the same {name}, but one {env_id} has {its} and another "
                f"{mine}: let env.kwargs decide it, not chance or a counter"
            )
