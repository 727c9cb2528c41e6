"""Retrace(λ) on rows: off-policy returns that are cut where the acting policy did what the evaluated one would not."""

from torch import Tensor
from torchrl.objectives import LossModule

from modules.losses import ops
from modules.losses.base import LossContext, ValueLossSpec
from modules.losses.q import ALL, TargetInputs, ValueLoss
from modules.spec import NonNegative, Share, spec


@spec
class RetraceSpec(ValueLossSpec):
    """Retrace(λ) towards the ε-greedy policy of the online network (NGU, appendix E).

    Attributes:
        gamma: discount per step, unless the arms have their own.
        lam: λ, how much of a trace is kept per step.
        target_epsilon: ε of the policy that is evaluated.
        huber_delta: |δ| beyond which the loss is linear; 0 means squared error.
        rescale_eps: ε of the value rescaling h; 0 means none.
    """

    reads_behaviour = True

    gamma: Share
    lam: Share
    target_epsilon: Share
    huber_delta: NonNegative
    rescale_eps: NonNegative

    def build(self, context: LossContext) -> LossModule:
        return RetraceLoss(self, context)


class RetraceLoss(ValueLoss):
    """Transformed Retrace: everything accumulates in raw space, and only the target is squashed."""

    read = ALL

    def selects_online(self) -> bool:
        return True

    def stream_targets(self, reward: Tensor, q_target: Tensor, inputs: TargetInputs) -> Tensor:
        """Sum of the traces' errors; the policy is the same for all streams."""
        assert inputs.behaviour is not None
        q, pi = self.raw(q_target), ops.eps_greedy_policy(inputs.selector, self.settings.target_epsilon)
        of_action = inputs.action.unsqueeze(-1)
        q_tm1, pi_of_action = (x[:, :-1].gather(-1, of_action).squeeze(-1) for x in (q, pi))
        c_t = ops.trace(pi_of_action, inputs.behaviour, self.settings.lam)
        v_t = ops.expected_value(pi[:, 1:], q[:, 1:])
        return ops.retrace(q_tm1, v_t, reward, inputs.discount, c_t, inputs.continues)
