"""Which environments a reset concerns."""

import torch
from tensordict import TensorDictBase


def starting(tensordict: TensorDictBase | None, tensordict_reset: TensorDictBase) -> torch.Tensor:
    """Tell which environments a reset starts again, bool [N]; both are what a transform's `_reset` is given."""
    which = None if tensordict is None else tensordict.get("_reset", None)
    if which is None:
        return torch.ones(tensordict_reset.batch_size, dtype=torch.bool)
    return which.reshape(tensordict_reset.batch_size)
