"""What stands where rows have no step."""

from collections.abc import Sequence

import torch
from tensordict import TensorDictBase
from torch import Tensor

from modules import keys
from modules.losses import ops


def without_padding(rows: TensorDictBase, reads: Sequence[str], states: Sequence[str]) -> TensorDictBase:
    """Let no number that belongs to no real step reach a loss; see `ops.fill_padding`.

    Args:
        rows: [B] with S steps, as the losses read them.
        reads: entries of observations, before and after each step, [B, S+1, …].
        states: entries of the row's first real step.

    Returns:
        The rows themselves if there is no padding, else others with the same real steps.
    """
    mask: Tensor = rows.get(keys.MASK)
    if mask.all():
        return rows
    seen, any_real = ops.before_or_after(mask), torch.any(mask, 1)
    filled = rows.copy()
    for key in reads:
        filled[key] = ops.fill_padding(rows[key], seen)
    for key in {keys.REWARD, keys.INTRINSIC, keys.BEHAVIOUR} & set(rows.keys()):
        filled[key] = ops.fill_padding(rows[key], mask)
    for key in {keys.WEIGHT, *states} & set(rows.keys()):
        filled[key] = torch.where(any_real.reshape(-1, *[1] * (rows[key].ndim - 1)), rows[key], 0)
    return filled
