"""REINFORCE: the gradient of the policy that acts, from the returns of whole episodes, without a critic."""

from collections.abc import Iterator
from typing import Any, Literal

from tensordict import TensorDict
from torch import Tensor
from torchrl.objectives import LossModule

from modules import keys
from modules.keys import Rows
from modules.losses import ops
from modules.losses.base import LossContext, LossSpec
from modules.losses.padding import without_padding
from modules.metrics import Metric
from modules.spec import NonNegative, RunConfig, Share, spec

TEMPERATURE_ONE = "exploration=boltzmann exploration.start=1 exploration.end=1 exploration.clip=500"


@spec
class ReinforceSpec(LossSpec):
    """REINFORCE (Williams 1992): log-probabilities of the actions taken, weighed by what came after them.

    The network's values are the policy's logits. Where a time limit cut an episode off, its return is what was
    collected until then: without a critic there is nothing to bootstrap from.

    Attributes:
        gamma: discount per step, within the return; the factor γ^t of the exact gradient is left out, as usual.
        rule: reward_to_go, the rule, or seed, the wrong one that many tutorials copy: the weight of a step is γ^t r_t,
            its own reward only, and the log-probabilities of all actions are summed, so that the one that was taken
            never enters. For comparison only.
        normalise: shift and scale the weights of a batch to mean 0 and standard deviation 1.
        baseline: what is taken off the returns before: none, or step, the mean of the other episodes of the batch at
            the same time step.
        entropy: weight of the policy's mean entropy, a bonus for staying undecided; 0 = none.
    """

    has_target = False
    on_policy = True
    metric = "loss/policy"
    metrics = (
        Metric(metric, "loss", "mean loss over the updates since the last log event (REINFORCE)"),
        Metric("loss/entropy", "nats", "mean entropy of the policy over the same updates"),
    )

    gamma: Share
    rule: Literal["reward_to_go", "seed"]
    normalise: bool
    baseline: Literal["none", "step"]
    entropy: NonNegative

    def needs(self, run: RunConfig) -> Iterator[str]:
        """What is learned from must be the policy's own doing, and there must be one policy and one reward."""
        if not run.replay.on_policy:
            yield "loss=reinforce learns from what the newest policy did and from nothing older: use replay=on_policy"
        if not run.exploration.draws_from_softmax(run.total_frames):
            yield f"loss=reinforce needs actions drawn from the softmax of the network's values: use {TEMPERATURE_ONE}"
        if run.intrinsic.rewards or not run.meta.single:
            yield "loss=reinforce knows no intrinsic reward and no arms: use intrinsic=none and meta=none"

    def build(self, context: LossContext) -> LossModule:
        return ReinforceLoss(context.network, self)


class ReinforceLoss(LossModule):
    """Loss on rows that are whole episodes; the network gets the gradient, and there is no target network."""

    def __init__(self, network: Any, settings: ReinforceSpec) -> None:
        super().__init__()
        self.network: Any = network
        self.settings = settings

    def weights(self, reward: Tensor, mask: Tensor) -> Tensor:
        """What the log-probabilities are weighed with, [B, T], from rewards and mask [B, T]."""
        s, gamma = self.settings, self.settings.gamma
        own = s.rule == "seed"
        weight = ops.discounted_reward(reward, gamma, mask) if own else ops.reward_to_go(reward, gamma, mask)
        if s.baseline == "step":
            weight = ops.leave_one_out_baseline(weight, mask)
        return ops.standardise(weight, mask) if s.normalise else weight

    def forward(self, rows: Rows) -> TensorDict:
        """Loss of one batch of episodes.

        Args:
            rows: [B] with T steps: what the network reads [B, T+1, …], action, reward, mask [B, T], and the recurrent
                state of the first step [B, …].

        Returns:
            `loss`, a scalar with gradient: the mean over real steps, where the papers have the sum over an episode; and
            the policy's mean `entropy`, detached, in nats.
        """
        rows = without_padding(rows, self.network.reads, self.network.states)
        action, mask = rows[keys.ACTION], rows[keys.MASK]
        acted_on = {key: rows[key][:, :-1] for key in self.network.reads}
        outputs, _ = self.network.unroll(acted_on, tuple(rows[key] for key in self.network.states))
        log_pi = outputs[keys.ACTION_VALUE].log_softmax(-1)
        if self.settings.rule == "seed":
            log_probability = log_pi.sum(-1)
        else:
            log_probability = log_pi.gather(-1, action.unsqueeze(-1)).squeeze(-1)
        loss = -ops.masked_mean(self.weights(rows[keys.REWARD], mask) * log_probability, mask)
        entropy = ops.masked_mean(ops.entropy(log_pi), mask)
        return TensorDict({"loss": loss - self.settings.entropy * entropy, "entropy": entropy.detach()})
