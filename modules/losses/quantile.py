"""Distributional Q-learning on rows: the head predicts quantiles of the return, and the loss regresses them."""

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor
from torchrl.objectives import LossModule

from modules import keys
from modules.keys import Rows
from modules.losses import ops
from modules.losses.base import LossContext, LossSpec, beyond_a_row
from modules.losses.measures import VALUE_METRICS
from modules.losses.q import QLoss, TargetInputs
from modules.metrics import Metric
from modules.spec import NonNegative, RunConfig, Share, spec


@spec
class QuantileLossSpec(LossSpec):
    """Quantile regression of the return (QR-DQN, Dabney et al. 2018), n-step, double, recurrent.

    There is no value rescaling: the mean of rescaled quantiles is not the rescaled mean and would choose otherwise.

    Attributes:
        gamma: discount per step, unless the arms have their own.
        n_step: steps of reward before the bootstrap; shorter where a row ends.
        double: choose the bootstrap action with the online network.
        kappa: error beyond which the loss of a pair of quantiles is linear; 0 means linear everywhere.
    """

    metric = "loss/quantile"
    metrics = (
        Metric(metric, "loss", "mean quantile regression loss over the updates since the last log event"),
        *VALUE_METRICS[1:],
    )
    learns = keys.QUANTILES
    tells_errors = True

    gamma: Share
    n_step: Annotated[int, Field(ge=1)]
    double: bool
    kappa: NonNegative

    @property
    def horizon(self) -> int:
        return self.n_step

    def needs(self, run: RunConfig) -> Iterator[str]:
        yield from beyond_a_row(self.n_step, run)

    def build(self, context: LossContext) -> LossModule:
        return QuantileLoss(self, context)


class QuantileLoss(QLoss):
    """`QLoss` with N quantiles [..., N] in the place of each value; δ, for priorities, is that of their means."""

    def stream_targets(self, reward: Tensor, q_target: Tensor, inputs: TargetInputs) -> Tensor:
        """N rewards, then the target network's quantiles of the action whose mean is greatest, [B, T, N]."""
        theta_t = ops.of_action(q_target, inputs.selector.argmax(-1))
        reward, discount, continues = (x.unsqueeze(-1) for x in (reward, inputs.discount, inputs.continues))
        return ops.n_step_return(reward, discount, theta_t, continues, self.settings.n_step)

    def loss_terms(self, q_tm1: Tensor, target: Tensor) -> Tensor:
        return ops.quantile_huber(q_tm1, target, self.settings.kappa)

    def combine(self, rows: Rows, values: Mapping[str, Tensor]) -> Tensor:
        """The mean of the quantiles, [B, T]."""
        del rows
        return values[keys.QUANTILES].mean(-1)
