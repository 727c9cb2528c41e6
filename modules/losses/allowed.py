"""Actions that are not allowed: what they are worth, and what is taken in their place."""

import torch
from torch import Tensor

FORBIDDEN = -1e9  # value of an action that is not allowed: finite, since 0 times infinity is no number


def forbid(values: Tensor, allowed: Tensor) -> Tensor:
    """Values [..., A], `FORBIDDEN` where `allowed` [..., A] is 0; where it is 0 for all actions, as they are.

    An observation with which an episode was cut off may allow nothing, and still its value is bootstrapped from.
    """
    nothing = (allowed == 0).all(-1, keepdim=True)
    return values.masked_fill((allowed == 0) & ~nothing, FORBIDDEN)


def allowed_by(values: Tensor) -> Tensor:
    """Tell which actions are allowed by their values, bool [..., A]."""
    return values > FORBIDDEN / 2


def redraw(action: Tensor, allowed: Tensor) -> Tensor:
    """Replace each `action` [N] that is not `allowed`, bool [N, A], by any that is; where none is, by any."""
    weights = torch.where(allowed.any(-1, keepdim=True), allowed, True)
    other = weights.float().multinomial(1).squeeze(-1)
    return torch.where(allowed.gather(-1, action.unsqueeze(-1)).squeeze(-1), action, other)
