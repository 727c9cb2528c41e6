"""What stands where rows have no step."""

from collections.abc import Sequence

import torch
from torch import Tensor

from modules import keys
from modules.keys import Rows
from modules.losses import ops


def without_padding(rows: Rows, reads: Sequence[str], states: Sequence[str]) -> dict[str, Tensor]:
    """Let no number that belongs to no real step reach a loss; see `ops.fill_padding`.

    Args:
        rows: [B] with S steps, as the losses read them.
        reads: entries of observations, before and after each step, [B, S+1, …].
        states: entries of the row's first real step.

    Returns:
        The rows' entries, with the same real steps; in a dict, because lookups in a TensorDict are much slower.
    """
    found: dict[str, Tensor] = dict(rows.items())
    mask = found[keys.MASK]
    if mask.all():
        return found
    first, seen = ops.first_real(mask), ops.before_or_after(mask)  # the first step's own observation is the first seen
    for key in reads:
        found[key] = ops.fill_padding(found[key], seen, first)
    for key in {keys.REWARD, keys.INTRINSIC} & found.keys():
        found[key] = torch.where(mask, found[key], 0)
    if keys.BEHAVIOUR in found:  # what is divided by
        found[keys.BEHAVIOUR] = ops.fill_padding(found[keys.BEHAVIOUR], mask, first)
    some = first >= 0
    if not some.all():
        for key in {keys.WEIGHT, *states} & found.keys():
            found[key] = torch.where(some.reshape(-1, *[1] * (found[key].ndim - 1)), found[key], 0)
    return found
