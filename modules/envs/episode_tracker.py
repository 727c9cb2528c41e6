"""Episode starts, steps and returns, written while acting."""

import torch
from tensordict import TensorDictBase
from torchrl.data import Categorical, Composite, Unbounded
from torchrl.envs import EnvBase, Transform

from modules import keys


class EpisodeTracker(Transform):
    """Episode starts, steps so far and undiscounted return so far, in one pass.

    The return is the sum, in float64, of the rewards as the environment gives them; the agent gets them in float32.
    TorchRL's `InitTracker`, `StepCounter` and `RewardSum` write the same; they cost three times as much, and where
    episodes are short that is a tenth of all acting. After a reset TorchRL itself keeps the environments that continue
    as they were, so the reset may write its zeros everywhere.

    Attributes:
        paid: rewards of the last step as the environment gave them, [N, 1]: in its precision, and not scaled.
    """

    paid: torch.Tensor

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        shape, device = (*tensordict_reset.batch_size, 1), tensordict_reset.device
        tensordict_reset.set(keys.IS_INIT, torch.ones(shape, dtype=torch.bool, device=device))
        tensordict_reset.set(keys.STEP_COUNT, torch.zeros(shape, dtype=torch.int64, device=device))
        return tensordict_reset.set(keys.EPISODE_RETURN, torch.zeros(shape, dtype=torch.float64, device=device))

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        next_tensordict.set(keys.IS_INIT, torch.zeros_like(tensordict[keys.IS_INIT]))
        next_tensordict.set(keys.STEP_COUNT, tensordict[keys.STEP_COUNT] + 1)
        self.paid = reward = next_tensordict[keys.REWARD]
        next_tensordict.set(keys.EPISODE_RETURN, tensordict[keys.EPISODE_RETURN] + reward)
        return next_tensordict.set(keys.REWARD, reward.float())

    def transform_observation_spec(  # pyright: ignore[reportIncompatibleMethodOverride] - ours is always composite
        self, observation_spec: Composite
    ) -> Composite:
        shape, device = torch.Size((*observation_spec.shape, 1)), observation_spec.device
        observation_spec[keys.IS_INIT] = Categorical(2, shape=shape, dtype=torch.bool, device=device)
        observation_spec[keys.STEP_COUNT] = Unbounded(shape, dtype=torch.int64, device=device)
        observation_spec[keys.EPISODE_RETURN] = Unbounded(shape, dtype=torch.float64, device=device)
        return observation_spec

    def transform_reward_spec(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, reward_spec: Composite
    ) -> Composite:
        shape, device = reward_spec[keys.REWARD].shape, reward_spec.device
        reward_spec[keys.REWARD] = Unbounded(shape, dtype=torch.float32, device=device)
        return reward_spec


def tracker_of(env: EnvBase) -> EpisodeTracker:
    """Find what keeps the returns in one that `transformed` has made."""
    return next(part for part in env.modules() if isinstance(part, EpisodeTracker))


def starting(tensordict: TensorDictBase | None, tensordict_reset: TensorDictBase) -> torch.Tensor:
    """Tell which environments a reset starts again, bool [N]; both are what a transform's `_reset` is given."""
    which = None if tensordict is None else tensordict.get("_reset", None)
    if which is None:
        return torch.ones(tensordict_reset.batch_size, dtype=torch.bool)
    return which.reshape(tensordict_reset.batch_size)
