"""A trained policy outside our environments: a callable on plain NumPy observations that keeps its own memory."""

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from modules import keys
from modules.losses.allowed import allowed_by, redraw
from modules.networks.network import greedy
from modules.networks.recurrent import blank
from modules.previous_step import NO_ACTION
from modules.spec import UsageError
from pipelines.agent.acting import Acting

if TYPE_CHECKING:
    from tensordict.nn import TensorDictSequential
    from torchrl.envs import Transform


class NumpyPolicy:
    """The greedy policy of a saved run, one environment at a time or several side by side.

    An observation is what the run's environment gives to plain Gymnasium, with all entries; where the run learned from
    pixels (`env=cartpole_pixels`), it is the frame that `render` returns, and of an Atari game the stack of grey frames
    that the network sees. Recurrent state, previous action and arm are kept here. The intrinsic reward is computed here
    as well, but not that of an episode's last observation, which a policy is not shown: its running statistics are
    those of an evaluation in the first episode only.

    Attributes:
        reads_reward: whether calls must give the reward of the step before.
        policy: the same as TorchRL's `TensorDictSequential(torso → memory → head → QValueModule)`, for `env.rollout`, a
            `Collector`, or rows in recurrent mode; it acts in environments with the `transforms`.
    """

    def __init__(self, acting: Acting) -> None:
        self._acting, self._network = acting, acting.network
        self._plain = acting.observations
        self._reads = acting.network.reads
        self.reads_reward = keys.PREVIOUS_REWARD in self._reads
        self._bonus = acting.agent.intrinsic_reward if keys.PREVIOUS_INTRINSIC in self._reads else None
        self._n = 0
        self._window: Tensor | None = None  # the newest observations of each episode
        self.reset()

    @cached_property
    def policy(self) -> "TensorDictSequential":
        """The same in TorchRL's parts."""
        from modules.networks.tensordict_modules import torchrl_policy

        return torchrl_policy(self._network)

    def transforms(self, num_envs: int = 1) -> "list[Transform]":
        """Make what an environment of TorchRL needs around it for `policy`.

        These are episode starts and returns, the scale of rewards and the window of observations as in training, the
        arm, the intrinsic reward, the zero recurrent state at each reset and the previous step, as far as the network
        reads them, for `num_envs` environments that step together.
        """
        from modules.envs.base import agent_view

        agent = self._acting.agent
        env = agent.run.env
        spaces = env.spaces()
        view = agent_view(env, (spaces.planes or 0) - len(spaces.observation_shape))
        return [*view, *replace(agent.agent_env(num_envs), max_steps=None).transforms()]

    def reset(self) -> None:
        """Begin a new episode, in every environment: the next observation is a first one, and nothing is remembered."""
        self._begins = True

    def __call__(self, observation: Any, *, reward: Any = None, first: Any = None) -> Any:
        """Choose what to do.

        Args:
            observation: of one environment, or of N together, with one axis more.
            reward: that the action before has brought, a number or [N]; only a network that reads it needs it.
            first: which observations are the first of their episodes, a bool or [N]; after `reset` all are.

        Returns:
            What `step` takes, a number in most environments; of N together as an array [N, …].

        Raises:
            UsageError: an argument does not fit the environment, the network or the call before.
        """
        rows, single = self._plain.rows(observation)
        begins = self._beginning(len(rows), first)
        inputs = self._inputs(self._windows(torch.from_numpy(rows), begins), begins, reward)
        with torch.no_grad():
            now = {key: entry.unsqueeze(1) for key, entry in inputs.items()}
            state = tuple(blank(value, begins) for value in self._state) if begins.any() else self._state
            outputs, self._state = self._network.unroll(now, state)
            values = outputs[keys.ACTION_VALUE].squeeze(1)
            action = greedy(values)
        self._action = action if self._network.allowed is None else redraw(action, allowed_by(values))
        actions = [self._plain.action(number) for number in self._action.tolist()]
        return actions[0] if single else np.asarray(actions)

    def _beginning(self, n: int, first: Any) -> Tensor:
        """Tell which of `n` episodes begin, bool [n]; after `reset`, forget what was before."""
        if self._begins:
            self._state = tuple(entry.zeros(n) for entry in self._acting.state.values())
            self._action = torch.full((n,), NO_ACTION)
            if n != self._n and self._bonus is not None:
                self._bonus = self._acting.agent.agent_env(n).intrinsic_reward
            self._n = n
        elif n != self._n:
            raise UsageError(f"observation: {n} at once, but {self._n} in the call before; call reset() in between")
        begins = (self._numbers("first", first, n) != 0) | self._begins
        self._begins = False
        return torch.from_numpy(begins)

    def _windows(self, observation: Tensor, begins: Tensor) -> Tensor:
        """Put each observation behind those before it, zeros before an episode's first; [n, *shape] → as it is seen."""
        length, axis = self._acting.window, 1 + (self._acting.spaces.planes or 0)
        if length == 1:
            return observation
        if self._window is None or len(self._window) != len(observation):
            self._window = torch.zeros_like(torch.cat([observation] * length, axis))
        self._window[begins] = 0
        entries = observation.shape[axis]
        kept = self._window.narrow(axis, entries, (length - 1) * entries)
        self._window = torch.cat([kept, observation], axis)
        return self._window

    def _inputs(self, observation: Tensor, begins: Tensor, reward: Any) -> dict[str, Tensor]:
        n, reads = len(observation), self._reads
        if self.reads_reward and reward is None and not begins.all():
            raise UsageError("reward: this network reads the reward of the step before: give policy(…, reward=reward)")
        inputs = {keys.OBSERVATION: observation}
        if keys.PREVIOUS_ACTION in reads:
            inputs[keys.PREVIOUS_ACTION] = self._action.masked_fill(begins, NO_ACTION)
        if self.reads_reward:
            rewards = torch.from_numpy(self._numbers("reward", reward, n).astype(np.float32))
            scaled, most = rewards.masked_fill(begins, 0) * self._acting.reward_scale, self._acting.reward_clip
            inputs[keys.PREVIOUS_REWARD] = scaled if most is None else scaled.clamp(-most, most)
        if keys.PREVIOUS_INTRINSIC in reads:
            inputs[keys.PREVIOUS_INTRINSIC] = self._novelty(observation, begins)
        if keys.ARM in reads:
            inputs[keys.ARM] = torch.full((n,), self._acting.arm)
        return inputs

    def _novelty(self, observation: Tensor, begins: Tensor) -> Tensor:
        """Compute what arriving here is worth, 0 at an episode's first observation, [n]."""
        assert self._bonus is not None
        found = torch.zeros(len(begins)) if begins.all() else self._bonus.reward(observation)
        if begins.any():
            self._bonus.begin(begins, observation)
        return found.masked_fill(begins, 0)

    @staticmethod
    def _numbers(name: str, given: Any, n: int) -> np.ndarray:
        """Make [n] of one number or n of them, or of none."""
        array = np.asarray(0 if given is None else given)
        if array.shape not in ((), (n,)) or array.dtype.kind not in "biuf":
            raise UsageError(f"{name}: it must be one value, or one for each of the {n} observations, not {given!r}")
        return np.broadcast_to(array, n)
