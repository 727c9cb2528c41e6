"""What the loop and the other parts must know of a loss."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torchrl.objectives import LossModule

from modules import keys
from modules.losses.measures import VALUE_METRICS
from modules.spec import NonNegative, RunConfig, Spec


@dataclass(frozen=True, kw_only=True)
class LossContext:
    """What a loss may need.

    Attributes:
        network: that learns, see `ValueNetwork`; its parameters are shared with the loss.
        burn_in: first steps of a row, which are not learned from.
        beta: weight of the intrinsic reward of each arm, [n].
        gamma: discount of each arm, [n].
    """

    network: Any
    burn_in: int
    beta: Tensor
    gamma: Tensor


class LossSpec(Spec):
    """Settings of a loss; `build` makes the `LossModule` over the network.

    `has_target` says whether it has a target network; `learns` names what it learns of a head's outputs; `tells_errors`
    says whether its output has the |δ| of every step, which priorities need; `splits` whether it can learn two streams
    of rewards; `reads_behaviour` whether rows must have the probability of the action taken; `on_policy` whether it
    learns the policy that acts, and so only from what the newest one has done; `names_of_torchrl` whether its weights
    have the names that TorchRL gives them. The loss itself is measured as `metric`.
    """

    has_target: ClassVar[bool] = True
    learns: ClassVar[str] = keys.ACTION_VALUE
    tells_errors: ClassVar[bool] = False
    splits: ClassVar[bool] = False
    reads_behaviour: ClassVar[bool] = False
    on_policy: ClassVar[bool] = False
    names_of_torchrl: ClassVar[bool] = False
    metric: ClassVar[str] = "loss/q"
    gamma: float

    @property
    def rescaling(self) -> float:
        """ε of the h by which the values that it learns are rescaled; 0 means none."""
        return 0.0

    @property
    def horizon(self) -> int:
        """Steps of reward before the bootstrap in the error by which a new row gets its first priority."""
        return 1

    def build(self, context: LossContext) -> LossModule:
        """Make the loss, which owns the target's parameters."""
        raise NotImplementedError


class ValueLossSpec(LossSpec):
    """What the losses on action values have in common."""

    metrics = VALUE_METRICS
    tells_errors = True
    splits = True

    huber_delta: NonNegative
    rescale_eps: NonNegative

    @property
    def rescaling(self) -> float:
        return self.rescale_eps


def beyond_a_row(n_step: int, run: RunConfig) -> Iterator[str]:
    """Say that the horizon of the target does not fit a row."""
    if n_step > run.replay.length:
        yield f"loss.n_step={n_step} must not exceed replay.length={run.replay.length}"
