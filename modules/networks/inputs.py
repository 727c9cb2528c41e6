"""What the memory reads beside the observation: what was done and got in the step before, and the arm."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules import keys
from modules.keys import Spaces
from modules.previous_step import NO_ACTION
from modules.spec import RunConfig, Spec, spec


@spec
class InputsSpec(Spec):
    """Which entries join the embedding on its way into the memory.

    Source: R2D2, section 2.3 (action and reward); NGU, appendix H (all four).

    Attributes:
        previous_action: one-hot, zeros at an episode's first step.
        previous_reward: as the environment gave it, 0 at an episode's first step.
        previous_intrinsic: the intrinsic reward, not weighted, 0 at an episode's first step.
        arm: one-hot, which member of the family of policies acts.
    """

    previous_action: bool
    previous_reward: bool
    previous_intrinsic: bool
    arm: bool

    @property
    def reads(self) -> tuple[str, ...]:
        """Keys of the entries."""
        wanted = {
            keys.PREVIOUS_ACTION: self.previous_action,
            keys.PREVIOUS_REWARD: self.previous_reward,
            keys.PREVIOUS_INTRINSIC: self.previous_intrinsic,
            keys.ARM: self.arm,
        }
        return tuple(key for key, is_wanted in wanted.items() if is_wanted)

    def needs(self, run: RunConfig) -> Iterator[str]:
        """There must be something to read."""
        if self.previous_intrinsic and not run.intrinsic.rewards:
            yield "network.inputs.previous_intrinsic=true needs an intrinsic reward: choose an option of intrinsic"
        if self.arm and run.meta.single:
            yield "network.inputs.arm=true needs a family of policies: set it to false, or use meta=uniform or bandit"

    def size(self, spaces: Spaces) -> int:
        """Number of features that the entries add to the embedding."""
        numbers = self.previous_reward + self.previous_intrinsic
        return self.previous_action * spaces.n_actions + self.arm * spaces.n_arms + numbers

    def build(self, spaces: Spaces) -> "Joined | None":
        """Make what joins them to the features; None if there are none."""
        return Joined(self.reads, spaces) if self.reads else None


class Joined(nn.Module):
    """Concatenates the embedding with actions and arms, one-hot, and rewards."""

    def __init__(self, reads: tuple[str, ...], spaces: Spaces) -> None:
        super().__init__()
        self.reads, self.n_actions, self.n_arms = reads, spaces.n_actions, spaces.n_arms

    def forward(self, embed: Tensor, *entries: Tensor) -> Tensor:
        """[..., F] and one entry [...] for each of `reads` → [..., F + size]."""
        features = [embed]
        for key, entry in zip(self.reads, entries, strict=True):
            if key == keys.PREVIOUS_ACTION:
                features.append(F.one_hot(entry - NO_ACTION, self.n_actions + 1)[..., 1:].to(embed.dtype))
            elif key == keys.ARM:
                features.append(F.one_hot(entry, self.n_arms).to(embed.dtype))
            else:
                features.append(entry.unsqueeze(-1))
        return torch.cat(features, -1)
