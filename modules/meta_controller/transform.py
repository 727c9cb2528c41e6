"""The arm of each running episode, as an environment transform."""

import torch
from tensordict import TensorDictBase
from torchrl.data import Categorical, Composite
from torchrl.envs import Transform

from modules import keys
from modules.envs.episode_tracker import starting
from modules.meta_controller.base import MetaController


class ArmPerEpisode(Transform):
    """Writes the arm that acts, chosen again at each reset, and tells the controllers how episodes ended.

    It must stand behind what writes `episode_return`, the undiscounted extrinsic return.
    """

    def __init__(self, meta: MetaController, n_arms: int) -> None:
        super().__init__()
        self._meta, self._n_arms = [meta], n_arms  # in a list: a transform is a module, and owns none of it
        self._arm = torch.zeros(0, dtype=torch.int64)

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        which = starting(tensordict, tensordict_reset)
        if self._arm.shape != which.shape:
            self._arm = torch.zeros(which.shape, dtype=torch.int64)
        index = which.nonzero().squeeze(-1)
        self._arm[index] = self._meta[0].choose(index)
        return tensordict_reset.set(keys.ARM, self._arm.clone())

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        ended = next_tensordict[keys.DONE].squeeze(-1).nonzero().squeeze(-1)
        if len(ended):
            self._meta[0].update(ended, self._arm[ended], next_tensordict[keys.EPISODE_RETURN][ended].squeeze(-1))
        return next_tensordict.set(keys.ARM, tensordict[keys.ARM])

    def transform_observation_spec(  # pyright: ignore[reportIncompatibleMethodOverride] - ours is always composite
        self, observation_spec: Composite
    ) -> Composite:
        spec = Categorical(
            self._n_arms, shape=observation_spec.shape, dtype=torch.int64, device=observation_spec.device
        )
        observation_spec[keys.ARM] = spec
        return observation_spec
