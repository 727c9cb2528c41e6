"""Gymnasium's CartPole, all environments of a vector in one step of arrays instead of one after the other."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.vector import SyncVectorEnv, VectorWrapper
from gymnasium.wrappers import OrderEnforcing, TimeLimit

REGISTERED = "gymnasium.envs.classic_control.cartpole:CartPoleEnv"  # as Gymnasium's own ids have it
START = 0.05  # an episode begins with four numbers from ±START


class CartPoles(VectorWrapper):
    """The same numbers to the last bit, rewards and ends included, at a fraction of the time.

    Seeds are those of `SyncVectorEnv`: each environment keeps its own random stream. The environments themselves do not
    move, so they cannot be drawn; see `fits`. Source: `CartPoleEnv.step` of Gymnasium 1.x, after Barto et al. (1983).
    """

    @staticmethod
    def fits(env: gymnasium.Env) -> bool:
        """Whether `env` is CartPole as Gymnasium registers it, and nobody is going to look at it."""
        inner: Any = env.env if type(env) is TimeLimit else env
        inner = inner.env if type(inner) is OrderEnforcing else inner
        plain = type(inner) is CartPoleEnv and inner.kinematics_integrator == "euler" and not inner._sutton_barto_reward
        registered = env.spec is not None and env.spec.entry_point == REGISTERED
        return plain and registered and env.render_mode is None

    def __init__(self, envs: SyncVectorEnv) -> None:
        super().__init__(envs)
        self._carts: list[Any] = [env.unwrapped for env in envs.envs]
        one, registered = self._carts[0], envs.envs[0].spec
        self._forces = np.array([-one.force_mag, one.force_mag])  # by the action
        self._bounds = np.array([[one.x_threshold], [one.theta_threshold_radians]])
        limit = registered and registered.max_episode_steps
        self._limit = np.iinfo(np.int64).max if limit is None else limit
        self._state = np.zeros((4, self.num_envs))  # place, speed, angle and its speed of each
        self._steps = np.zeros(self.num_envs, np.int64)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        mask = (options or {}).get("reset_mask")
        which = range(self.num_envs) if mask is None else np.flatnonzero(mask).tolist()
        for i in which:
            if seed is not None:
                self._carts[i].reset(seed=seed + i if isinstance(seed, int) else seed[i])
                self._state[:, i] = self._carts[i].state
            else:
                self._state[:, i] = self._carts[i].np_random.uniform(-START, START, 4)
            self._steps[i] = 0
        return self._observation(), {}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        one, (_, x_dot, theta, theta_dot) = self._carts[0], self._state
        cos, sin = np.cos(theta), np.sin(theta)
        push = (self._forces[actions] + one.polemass_length * np.square(theta_dot) * sin) / one.total_mass
        theta_acc = (one.gravity * sin - cos * push) / (
            one.length * (4.0 / 3.0 - one.masspole * np.square(cos) / one.total_mass)
        )
        x_acc = push - one.polemass_length * theta_acc * cos / one.total_mass
        self._state = self._state + one.tau * np.stack((x_dot, x_acc, theta_dot, theta_acc))
        self._steps += 1
        terminated = (np.abs(self._state[::2]) > self._bounds).any(0)
        return self._observation(), np.ones(self.num_envs), terminated, self._steps >= self._limit, {}

    def _observation(self) -> np.ndarray:
        return np.ascontiguousarray(self._state.T, np.float32)
