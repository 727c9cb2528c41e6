"""The intrinsic reward of each step, as an environment transform."""

import torch
from tensordict import TensorDictBase
from torchrl.data import Composite, Unbounded
from torchrl.envs import Transform

from modules import keys
from modules.intrinsic.base import Bonus


class IntrinsicReward(Transform):
    """Writes what arriving at the next observation is worth for its novelty, beside the environment's own reward.

    Args:
        bonus: of these environments.
        parts: names of the bonus's parts, which are written too, for the log.
    """

    def __init__(self, bonus: Bonus) -> None:
        super().__init__()
        self.bonus = [bonus]  # in a list: a transform is a module, and owns none of it

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        which = None if tensordict is None else tensordict.get("_reset", None)
        shape = tensordict_reset.batch_size
        starts = torch.ones(shape, dtype=torch.bool) if which is None else which.reshape(shape)
        self.bonus[0].begin(starts, tensordict_reset[keys.OBSERVATION])
        return tensordict_reset.set(keys.INTRINSIC, torch.zeros(*shape, 1, device=tensordict_reset.device))

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        del tensordict
        reward = self.bonus[0].reward(next_tensordict[keys.OBSERVATION])["reward"]
        return next_tensordict.set(keys.INTRINSIC, reward.unsqueeze(-1))

    def transform_observation_spec(  # pyright: ignore[reportIncompatibleMethodOverride] - ours is always composite
        self, observation_spec: Composite
    ) -> Composite:
        """Add the reward, [N, 1]."""
        shape = torch.Size((*observation_spec.shape, 1))
        observation_spec[keys.INTRINSIC] = Unbounded(shape, dtype=torch.float32, device=observation_spec.device)
        return observation_spec
