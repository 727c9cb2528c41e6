"""The intrinsic reward of each step, as an environment transform."""

import torch
from tensordict import TensorDictBase
from torchrl.data import Composite, Unbounded
from torchrl.envs import Transform

from modules import keys
from modules.envs.episode_tracker import starting
from modules.intrinsic.base import IntrinsicReward


class IntrinsicRewardTransform(Transform):
    """Writes what arriving at the next observation is worth for its novelty, and its sum over the episode, in float64.

    Both stand beside the environment's own reward, neither weighted nor discounted.
    """

    def __init__(self, intrinsic_reward: IntrinsicReward) -> None:
        super().__init__()
        self._bonus = [intrinsic_reward]  # in a list: the bonus of environments is no part of a transform's state

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        which = starting(tensordict, tensordict_reset)
        self._bonus[0].begin(which, tensordict_reset[keys.OBSERVATION])
        zero = torch.zeros(*which.shape, 1, device=tensordict_reset.device)
        return tensordict_reset.set(keys.INTRINSIC, zero).set(keys.INTRINSIC_RETURN, zero.double())

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        reward = self._bonus[0].reward(next_tensordict[keys.OBSERVATION]).unsqueeze(-1)
        so_far = tensordict[keys.INTRINSIC_RETURN] + reward
        return next_tensordict.set(keys.INTRINSIC, reward).set(keys.INTRINSIC_RETURN, so_far)

    def transform_observation_spec(  # pyright: ignore[reportIncompatibleMethodOverride] - ours is always composite
        self, observation_spec: Composite
    ) -> Composite:
        shape = torch.Size((*observation_spec.shape, 1))
        for key, dtype in ((keys.INTRINSIC, torch.float32), (keys.INTRINSIC_RETURN, torch.float64)):
            observation_spec[key] = Unbounded(shape, dtype=dtype, device=observation_spec.device)
        return observation_spec
