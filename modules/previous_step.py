"""What an agent reads of the step before: from which entry it follows, and what it is at an episode's first step."""

from types import MappingProxyType

import torch
from torch import Tensor

from modules import keys
from modules.keys import Entry

NO_ACTION = -1  # before the first step of an episode
SOURCES = MappingProxyType(
    {
        keys.PREVIOUS_ACTION: keys.ACTION,
        keys.PREVIOUS_REWARD: keys.REWARD,
        keys.PREVIOUS_INTRINSIC: keys.INTRINSIC,
    }
)
ENTRIES = MappingProxyType(dict.fromkeys(SOURCES, Entry(())) | {keys.PREVIOUS_ACTION: Entry((), torch.int64)})


def before_the_first(key: str, *batch: int, device: torch.device | None = None) -> Tensor:
    """The entry at an episode's first step, [*batch]."""
    zeros = ENTRIES[key].zeros(*batch, device=device)
    return zeros + NO_ACTION if key == keys.PREVIOUS_ACTION else zeros


def following(key: str, made: Tensor) -> Tensor:
    """The entry at the next observation, from what was done or got in a step, [...] each."""
    return made.to(ENTRIES[key].dtype)


def unfold(key: str, first: Tensor, made: Tensor, starts_at: Tensor) -> Tensor:
    """The entry at all T+1 observations of a row.

    Args:
        key: of the entry.
        first: the entry at the first real step, [B].
        made: what was done or got in each step, [B, T].
        starts_at: number of the first real step, [B].

    Returns:
        [B, T+1]; before the first real step it means nothing.
    """
    entry = torch.cat((first.unsqueeze(1), following(key, made)), 1)
    return entry.scatter(1, starts_at.unsqueeze(1), first.unsqueeze(1))
