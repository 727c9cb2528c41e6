"""What the networks of intrinsic rewards share: how they are made, which steps they learn from, how they descend."""

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn

from modules import keys
from modules.errors import NonFiniteError
from modules.keys import Spaces
from modules.losses import ops
from modules.networks.torsos import TorsoSpec
from modules.optim import Beta
from modules.spec import NonNegative, PositiveFloat, RunConfig, Spec, UsageError, spec


@spec
class AuxiliaryOptimizerSpec(Spec):
    """Adam (Kingma & Ba 2015) for one auxiliary loss.

    Attributes:
        lr: learning rate.
        eps: added to the root of the second moment.
        betas: decay of the two moments.
        weight_decay: L2 penalty, whose gradient weight_decay · θ enters the moments (not AdamW's decay).
        max_grad_norm: norm to which the whole gradient is clipped.
    """

    lr: PositiveFloat
    eps: PositiveFloat
    betas: tuple[Beta, Beta]
    weight_decay: NonNegative
    max_grad_norm: PositiveFloat

    def build(self, parameters: Iterable[nn.Parameter]) -> "AuxiliaryOptimizer":
        """Make the optimiser over `parameters`."""
        return AuxiliaryOptimizer(self, parameters)


class AuxiliaryOptimizer:
    """Backward, clip and step of one auxiliary loss."""

    def __init__(self, settings: AuxiliaryOptimizerSpec, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = list(parameters)
        self._max_grad_norm = settings.max_grad_norm
        self._adam = torch.optim.Adam(
            self._parameters,
            lr=settings.lr,
            eps=settings.eps,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def step(self, loss: Tensor, name: str) -> None:
        """Descend on the scalar `loss`.

        Raises:
            NonFiniteError: `name`'s loss or gradient is not finite; parameters and moments are as before.
        """
        self._adam.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._max_grad_norm)
        if not (norm.isfinite() and loss.isfinite()):
            self._adam.zero_grad()
            raise NonFiniteError(f"{name} is not finite: loss = {loss.item()}, gradient's norm = {norm.item()}")
        self._adam.step()

    def state_dict(self) -> dict[str, Any]:
        return self._adam.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._adam.load_state_dict(copy.deepcopy(dict(state)))  # Adam would continue in the tensors that it is given


def finite(values: Tensor) -> bool:
    """Tell whether all of these float32 numbers are finite: then, and only then, their float64 sum is."""
    return math.isfinite(values.sum(dtype=torch.float64).item())


def misfits(run: RunConfig, *torsos: TorsoSpec) -> Iterator[str]:
    """Say why these torsos cannot serve a run; what the network says is not repeated."""
    for torso in {repr(torso): torso for torso in torsos}.values():
        if torso.writes != "features":
            yield f"an intrinsic reward needs torsos that write features, not a {torso.writes}: use intrinsic=none"
        elif torso != run.network.torso:
            yield from torso.problems(run.spaces)


def encoder(torso: TorsoSpec, spaces: Spaces, features: int) -> nn.Sequential:
    """Make a network [..., *observation] → [..., features]: the torso and a linear layer.

    No activation follows: half of the coordinates would be 0 for most states, and distances blind to them.
    """
    if torso.writes != "features":
        raise UsageError(
            f"an intrinsic reward needs a torso that writes features, not {torso.writes}: mlp, conv or grid"
        )
    body = torso.make(spaces)
    assert isinstance(body, nn.Module)
    return nn.Sequential(body, nn.Linear(torso.size(spaces), features))


class Steps(NamedTuple):
    """The last n steps of each row: `observation` [B, n+1, …], `action` and `mask` (real steps) [B, n]."""

    observation: Tensor
    action: Tensor
    mask: Tensor

    @property
    def seen(self) -> Tensor:
        """Observations before or after a real step, bool [B, n+1]."""
        return ops.before_or_after(self.mask)


def last_steps(rows: TensorDictBase, count: int) -> Steps:
    """Take the last `count` real steps of each row, whatever padding lies around them; fewer where there are fewer.

    What stands in padding is not taken, see `ops.fill_padding`.

    Args:
        rows: [B] with observation [B, S+1, …], action and mask [B, S]; a row's real steps are neighbours.
        count: steps to take, ≥ 1.
    """
    mask: Tensor = rows.get(keys.MASK)
    slots = mask.shape[1]
    count = min(count, slots)
    last = slots - 1 - mask.flip(1).long().argmax(1)
    first = (last + 1 - count).clamp(min=0)
    column = first[:, None] + torch.arange(count + 1, device=mask.device)
    row = torch.arange(len(mask), device=mask.device)[:, None]
    steps = column[:, :-1]
    action, mask = rows[keys.ACTION][row, steps], mask[row, steps]
    seen = ops.before_or_after(mask)
    observation = ops.fill_padding(rows[keys.OBSERVATION][row, column], seen, ops.first_real(seen))
    return Steps(observation, action.to(torch.int64), mask)
