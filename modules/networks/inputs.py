"""What the memory reads beside the observation: the previous action and reward (R2D2, section 2.3)."""

import torch
import torch.nn.functional as F
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.data import Composite, Unbounded
from torchrl.envs import Transform

from modules import keys
from modules.keys import Spaces
from modules.spec import Spec, spec

NO_ACTION = -1  # before the first step of an episode


@spec
class InputsSpec(Spec):
    """Which entries join the embedding on its way into the memory.

    Attributes:
        previous_action: one-hot, zeros at an episode's first step.
        previous_reward: as the environment gave it, 0 at an episode's first step.
    """

    previous_action: bool
    previous_reward: bool

    @property
    def reads(self) -> tuple[str, ...]:
        """Keys of the entries."""
        wanted = {keys.PREVIOUS_ACTION: self.previous_action, keys.PREVIOUS_REWARD: self.previous_reward}
        return tuple(key for key, is_wanted in wanted.items() if is_wanted)

    def size(self, spaces: Spaces) -> int:
        """Number of features that the entries add to the embedding."""
        return self.previous_action * spaces.n_actions + self.previous_reward

    def build(self, spaces: Spaces) -> TensorDictModule:
        """Make the module that joins them: embed [..., F] → embed [..., F + size]."""
        return TensorDictModule(Joined(self.reads, spaces.n_actions), [keys.EMBED, *self.reads], [keys.EMBED])


class Joined(nn.Module):
    """Concatenates the embedding with actions, one-hot, and rewards."""

    def __init__(self, reads: tuple[str, ...], n_actions: int) -> None:
        super().__init__()
        self.reads, self.n_actions = reads, n_actions

    def forward(self, embed: Tensor, *entries: Tensor) -> Tensor:
        """[..., F], actions [...] and rewards [...] in the order of `reads` → [..., F + size]."""
        features = [embed]
        for key, entry in zip(self.reads, entries, strict=True):
            if key == keys.PREVIOUS_ACTION:
                features.append(F.one_hot(entry - NO_ACTION, self.n_actions + 1)[..., 1:].to(embed.dtype))
            else:
                features.append(entry.unsqueeze(-1))
        return torch.cat(features, -1)


class PreviousStep(Transform):
    """Writes what the agent did and got in the step before; after a reset -1 and 0."""

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        del tensordict
        shape, device = tensordict_reset.batch_size, tensordict_reset.device
        tensordict_reset.set(keys.PREVIOUS_ACTION, torch.full(shape, NO_ACTION, device=device))
        return tensordict_reset.set(keys.PREVIOUS_REWARD, torch.zeros(shape, device=device))

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        next_tensordict.set(keys.PREVIOUS_ACTION, tensordict[keys.ACTION])
        return next_tensordict.set(keys.PREVIOUS_REWARD, next_tensordict[keys.REWARD].squeeze(-1))

    def transform_observation_spec(  # pyright: ignore[reportIncompatibleMethodOverride] - ours is always composite
        self, observation_spec: Composite
    ) -> Composite:
        """Add the two entries, [N] each."""
        shape, device = observation_spec.shape, observation_spec.device
        observation_spec[keys.PREVIOUS_ACTION] = Unbounded(shape, dtype=torch.int64, device=device)
        observation_spec[keys.PREVIOUS_REWARD] = Unbounded(shape, dtype=torch.float32, device=device)
        return observation_spec
