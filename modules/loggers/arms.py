"""What each member of a family of policies did between two log events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDictBase

from modules import keys

COLUMNS = ("arm", "episodes", "return_mean", "intrinsic_return_mean")  # of arms.csv after `frames`
RETURNS = (keys.EPISODE_RETURN, keys.INTRINSIC_RETURN)


@dataclass(frozen=True)
class ArmEpisodes:
    """Number of training episodes of one arm, and their mean undiscounted returns; NaN where there are none."""

    episodes: int
    return_mean: float
    intrinsic_return_mean: float


class ArmTally:
    """Counts finished episodes and adds up their returns, arm by arm.

    Args:
        n_arms: members of the family; steps without an arm leave no trace here.
    """

    def __init__(self, n_arms: int) -> None:
        self._n = n_arms
        self._episodes = torch.zeros(n_arms, dtype=torch.int64)
        # float64: a mean of many returns must not depend on where a checkpoint cut the sum.
        self._sums = {key: torch.zeros(n_arms, dtype=torch.float64) for key in RETURNS}

    def add(self, batch: TensorDictBase) -> None:
        """Take in the episodes that end in a batch [N, T]."""
        known = batch.keys(include_nested=True)
        if ("next", keys.ARM) not in known:
            return
        ended = batch["next", keys.DONE].squeeze(-1)
        arms = batch["next", keys.ARM][ended]
        self._episodes += torch.bincount(arms, minlength=self._n)
        for key, sums in self._sums.items():
            none = torch.full(arms.shape, torch.nan)
            returns = batch["next", key].squeeze(-1)[ended] if ("next", key) in known else none
            sums += torch.bincount(arms, weights=returns.double(), minlength=self._n)

    def means(self) -> list[ArmEpisodes]:
        """What each arm did since the last `clear`, arm 0 first; nothing if no episode ended."""
        means = [(sums / self._episodes).tolist() for sums in self._sums.values()]
        found = [ArmEpisodes(*of_arm) for of_arm in zip(self._episodes.tolist(), *means, strict=True)]
        return found if self._episodes.any() else []

    def clear(self) -> None:
        """Begin to count anew."""
        for tensor in (self._episodes, *self._sums.values()):
            tensor.zero_()

    def state_dict(self) -> dict[str, Any]:
        """What was counted since the last log event."""
        return {"episodes": self._episodes.clone(), **{key: sums.clone() for key, sums in self._sums.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self._episodes.copy_(state["episodes"])
        for key, sums in self._sums.items():
            sums.copy_(state[key])


def played(arms: Sequence[ArmEpisodes]) -> list[tuple[int, ArmEpisodes]]:
    """The arms that have episodes, with their numbers."""
    return [(number, arm) for number, arm in enumerate(arms) if arm.episodes]
