"""Peng's Q(λ) on rows of fresh steps, without a target network."""

from torch import Tensor
from torchrl.objectives import LossModule

from modules import keys
from modules.keys import Outputs, Rows
from modules.losses import ops
from modules.losses.base import LossContext, ValueLossSpec
from modules.losses.q import AFTER, BEFORE, TargetInputs, ValueLoss
from modules.spec import NonNegative, Share, spec


@spec
class QLambdaSpec(ValueLossSpec):
    """Q(λ) (Peng & Williams 1996) as PQN has it (Gallici et al. 2024, section 4): bootstrapped from what is learned.

    Nothing corrects for actions that another policy took, so rows should be fresh (`replay=rollout`).

    Attributes:
        gamma: discount per step, unless the arms have their own.
        lam: λ; 0 is the one-step target, 1 the return to the row's end.
        huber_delta: |δ| beyond which the loss is linear; 0 means squared error.
        rescale_eps: ε of the value rescaling h; 0 means none.
    """

    has_target = False

    gamma: Share
    lam: Share
    huber_delta: NonNegative
    rescale_eps: NonNegative

    def build(self, context: LossContext) -> LossModule:
        return QLambdaLoss(self, context)


class QLambdaLoss(ValueLoss):
    """One unroll of one network gives what is learned and, without gradient, what it is learned from."""

    read = AFTER

    def online_and_target(self, rows: Rows) -> tuple[Outputs, Outputs, Tensor]:
        outputs = self.unroll(rows, "online")
        before, after = ({key: value[:, part] for key, value in outputs.items()} for part in (BEFORE, AFTER))
        return before, after, after[keys.ACTION_VALUE]

    def stream_targets(self, reward: Tensor, q_target: Tensor, inputs: TargetInputs) -> Tensor:
        """λ-returns of the greedy values."""
        v_t = self.raw(ops.double_q_value(q_target, inputs.selector))
        return ops.lambda_return(reward, inputs.discount, v_t, inputs.continues, self.settings.lam)
