"""The recurrent Q loss: n-step double Q on rows, both networks unrolled once from the stored state."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.objectives import LossModule

from modules.losses import ops
from modules.losses.base import AFTER, NonNegative, Rows, Steps, ValueLoss, ValueLossSpec
from modules.spec import spec


@spec
class QLossSpec(ValueLossSpec):
    """n-step Q-learning (Watkins 1989; Mnih et al. 2015; Hausknecht & Stone 2015; Kapturowski et al. 2019).

    Attributes:
        gamma: discount per step, unless the arms have their own.
        n_step: steps of reward before the bootstrap; shorter where a row ends.
        double: choose the bootstrap action with the online network (van Hasselt et al. 2016).
        huber_delta: |δ| beyond which the loss is linear; 0 means squared error.
        rescale_eps: ε of the value rescaling h (R2D2, section 2.3); 0 means none.
    """

    gamma: Annotated[float, Field(ge=0, le=1)]
    n_step: Annotated[int, Field(ge=1)]
    double: bool
    huber_delta: NonNegative
    rescale_eps: NonNegative

    def needs(self, run: Any) -> Iterator[str]:
        """The horizon of the target must fit a row."""
        if self.n_step > run.replay.length:
            yield f"loss.n_step={self.n_step} must not exceed replay.length={run.replay.length}"

    def build(self, network: TensorDictModuleBase, rows: Rows) -> LossModule:
        """Make the loss."""
        return QLoss(network, self, rows)


class QLoss(ValueLoss):
    """Double, n-step, optionally rescaled Q-learning."""

    read = AFTER  # of each step

    def chooses_online(self) -> bool:
        """With double Q."""
        return self.settings.double

    def stream_targets(self, reward: Tensor, q_target: Tensor, steps: Steps) -> Tensor:
        """N rewards, then the target network's value of the action chosen."""
        v_t = self.raw(ops.double_q_value(q_target, steps.choose_by))
        return ops.n_step_return(reward, steps.discount, v_t, steps.continues, self.settings.n_step)
