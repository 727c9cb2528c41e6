"""The recurrent Q loss on rows, in the order in which it is computed; R2D2's is `QLoss`.

State → burn-in → unroll → greedy actions → target → mask and importance weights → priorities.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from tensordict import TensorDict, TensorDictParams
from torch import Tensor, nn
from torchrl.objectives import LossModule

from modules import keys
from modules.keys import Outputs, Rows, State
from modules.losses import ops
from modules.losses.base import LossContext, ValueLossSpec, beyond_a_row
from modules.losses.padding import without_padding
from modules.spec import NonNegative, RunConfig, Share, spec

Which = Literal["online", "target"]
ALL, BEFORE, LAST, AFTER = slice(None), slice(-1), slice(-1, None), slice(1, None)  # of T+1 observations


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

    gamma: Share
    n_step: Annotated[int, Field(ge=1)]
    double: bool
    huber_delta: NonNegative
    rescale_eps: NonNegative

    @property
    def horizon(self) -> int:
        return self.n_step

    def needs(self, run: RunConfig) -> Iterator[str]:
        yield from beyond_a_row(self.n_step, run)

    def build(self, context: LossContext) -> LossModule:
        return QLoss(self, context)


@dataclass(frozen=True, kw_only=True)
class TargetInputs:
    """What the targets of all streams have in common.

    Attributes:
        action: taken, [B, T].
        discount: γ of the row's arm, or 0 where the step terminated, [B, T].
        continues: True where the next step is in the same row and episode, [B, T].
        selector: values by which the evaluated policy chooses, of the observations that are `read`, [B, R, A].
        behaviour: probability with which the action was taken, [B, T], if rows have it.
    """

    action: Tensor
    discount: Tensor
    continues: Tensor
    selector: Tensor
    behaviour: Tensor | None


class ValueLoss(LossModule):
    """Loss on rows of T steps and T+1 observations, behind `burn_in` more; subclasses say what its targets are.

    Both networks are unrolled once over all observations, each from its own burned-in state. A network of two streams
    learns the environment's rewards with the first and the intrinsic ones with the second; a network of one the sum,
    weighted by the arm's β. Both streams' targets follow one policy, that of the combined values (Agent57, section
    3.1). Why not TorchRL's `DQNLoss`: it computes recurrent targets from a zero state (see `loss=torchrl_dqn`).
    """

    value_network: nn.Module
    value_network_params: TensorDictParams
    target_value_network_params: TensorDictParams
    beta: Tensor
    gamma: Tensor
    read: slice  # the observations whose values `stream_targets` reads, R of the T+1

    def __init__(self, settings: Any, context: LossContext) -> None:
        super().__init__()
        network, self.burn_in = context.network, context.burn_in
        self.convert_to_functional(network, "value_network", create_target_params=settings.has_target)
        self.settings = settings
        self.states = network.states
        self.values = network.streams
        self.streams = self.values if settings.learns == keys.ACTION_VALUE else (settings.learns,)  # that it learns
        for name, value in (("beta", context.beta), ("gamma", context.gamma)):
            self.register_buffer(name, value.to(next(network.parameters()).device), persistent=False)
        self._nets: dict[str, Any] = {"online": network}  # registered once, as parameters above
        if settings.has_target:
            # The functional form swaps parameters in and out at each call; a module that keeps the target's need not.
            target = copy.deepcopy(network).requires_grad_(False)
            parameters = dict(self.named_children())["target_value_network_params"]
            assert isinstance(parameters, TensorDictParams)
            parameters.to_module(target)
            self._nets["target"] = target

    def forward(self, rows: Rows) -> TensorDict:
        """Loss and measures of one batch of rows.

        Args:
            rows: [B] with S = burn_in + T steps: what the network reads [B, S+1, …], action, reward, terminated,
                mask [B, S], the recurrent state of the first real step [B, …], and, where there are such,
                intrinsic reward and probability of the action [B, S], and importance weights [B].

        Returns:
            `loss` (scalar with gradient), the detached scalars td_error, q_mean, target_mean, and `errors`, the
            detached |δ| [B, T]; of two streams, loss is their sum and everything else that of their combination. What
            stands in padding changes none of them, and no gradient.
        """
        rows = without_padding(rows, self._nets["online"].reads, self.states)
        q, q_target, selector = self.online_and_target(rows)
        with torch.no_grad():
            target = self.targets(rows, self.target_inputs(rows, selector), q_target)
        return self.weighted_mean(rows, q, target)

    # 1. State: the one that is stored with the row, of its first real step.

    def unroll(self, rows: Rows, which: Which, part: slice = ALL) -> Outputs:
        """Outputs for a `part` of the T+1 learned observations, [B, T+1, …] of all, from their burned-in state."""
        state = tuple(rows[key] for key in self.states)
        return self.unroll_from(rows, self.burned_in(rows, state, which), which, part)

    # 2. Burn-in: without gradient.

    def burned_in(self, rows: Rows, state: State, which: Which) -> State:
        """The state before the first learned observation.

        A row at an episode's start has padding where others have burn-in; there the stored state counts.
        """
        if not (self.burn_in and state):
            return state
        with torch.no_grad():
            burned = self._state_after(rows, state, slice(0, self.burn_in), which)
        has = rows[keys.MASK][:, 0]
        return tuple(torch.where(has.view(-1, *[1] * (s.ndim - 1)), b, s) for b, s in zip(burned, state, strict=True))

    def _state_after(self, rows: Rows, state: State, slots: slice, which: Which) -> State:
        network = self._nets[which]
        return network.state_after({key: rows[key][:, slots] for key in network.reads}, state)

    def state_after(self, rows: Rows, state: State, steps: int) -> State:
        """The online network's state `steps` learned observations after `state`."""
        return self._state_after(rows, state, slice(self.burn_in, self.burn_in + steps), "online")

    # 3. Unroll: once over all learned observations.

    def unroll_from(self, rows: Rows, state: State, which: Which = "online", part: slice = ALL) -> Outputs:
        """Outputs from a given state before the first learned observation; without a state only `part` is computed."""
        network = self._nets[which]
        seen, wanted = (ALL, part) if state else (part, ALL)
        outputs, _ = network.unroll(self.inputs(rows, seen), state)
        return {key: value[:, wanted] for key, value in outputs.items()}

    def inputs(self, rows: Rows, part: slice = ALL) -> dict[str, Tensor]:
        """What the network reads of a `part` of the learned observations."""
        return {key: rows[key][:, self.burn_in :][:, part] for key in self._nets["online"].reads}

    def learned_steps(self, rows: Rows, *wanted: str) -> list[Tensor]:
        """The `wanted` entries [B, burn_in + T] of the rows without their burn-in, [B, T]."""
        return [rows[key][:, self.burn_in :] for key in wanted]

    def online_and_target(self, rows: Rows) -> tuple[Outputs, Outputs, Tensor]:
        """Outputs for the T steps' own observations, with gradient; the target's; and the values of the selector.

        The latter two are of the observations that are `read`. A feed-forward network needs no gradient of the last
        observation, which in rows of one step is half of the work.
        """
        every, online = bool(self.states), self.selects_online()
        q = self.unroll(rows, "online", ALL if every else BEFORE)
        with torch.no_grad():
            q_target = self.unroll(rows, "target", self.read)
            selector = (q if online else q_target)[keys.ACTION_VALUE].detach()
            if online and not every:
                selector = torch.cat((selector, self.unroll(rows, "online", LAST)[keys.ACTION_VALUE]), 1)
        q = {key: value[:, BEFORE] for key, value in q.items()} if every else q
        return q, q_target, selector[:, self.read] if online else selector

    # 4. Greedy actions: by the online network's values (double Q) or the target's.

    def selects_online(self) -> bool:
        """Whether the evaluated policy chooses by the online network's values, or by the target's."""
        raise NotImplementedError

    def target_inputs(self, rows: Rows, selector: Tensor) -> TargetInputs:
        """What the targets need beside rewards and values; a truncated step keeps its discount, and so bootstraps."""
        action, mask, terminated = self.learned_steps(rows, keys.ACTION, keys.MASK, keys.TERMINATED)
        behaviour = rows.get(keys.BEHAVIOUR, None)
        _, gamma = self.arms(rows)
        return TargetInputs(
            action=action,
            discount=(~terminated).to(selector.dtype) * gamma,
            continues=torch.cat((mask[:, 1:], torch.zeros_like(mask[:, :1])), 1),
            selector=selector,
            behaviour=None if behaviour is None else behaviour[:, self.burn_in :],
        )

    def arms(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """β and γ of each row, [B, 1]; where rows have no arm there is only one, [1]."""
        arm = rows.get(keys.ARM, None)
        return (self.beta, self.gamma) if arm is None else (self.beta[arm[:, :1]], self.gamma[arm[:, :1]])

    # 5. Target: in raw value space, then rescaled.

    def targets(self, rows: Rows, inputs: TargetInputs, q_target: Outputs) -> Outputs:
        """Targets [B, T, …] of each stream, in the network's (rescaled) value space."""
        eps = self.settings.rescaling
        raw = {key: self.stream_targets(r_t, q_target[key], inputs) for key, r_t in self.rewards(rows).items()}
        return {key: ops.signed_hyperbolic(value, eps) for key, value in raw.items()} if eps else raw

    def rewards(self, rows: Rows) -> dict[str, Tensor]:
        """The reward [B, T] of each stream."""
        if rows.get(keys.INTRINSIC, None) is None:
            (reward,) = self.learned_steps(rows, keys.REWARD)
            return dict.fromkeys(self.streams, reward)
        extrinsic, intrinsic = self.learned_steps(rows, keys.REWARD, keys.INTRINSIC)
        if len(self.streams) > 1:
            return dict(zip(self.streams, (extrinsic, intrinsic), strict=True))
        beta, _ = self.arms(rows)
        return dict.fromkeys(self.streams, extrinsic + beta * intrinsic)

    def stream_targets(self, reward: Tensor, q_target: Tensor, inputs: TargetInputs) -> Tensor:
        """Raw targets [B, T] of one stream from its reward [B, T] and its target network's values that are `read`."""
        raise NotImplementedError

    def raw(self, values: Tensor) -> Tensor:
        """Values before the rescaling h."""
        eps = self.settings.rescaling
        return ops.signed_parabolic(values, eps) if eps else values

    # 6. Mask and importance weights. (TorchRL wraps each method whose name ends with `loss`, so these do not.)

    def weighted_mean(self, rows: Rows, q: Outputs, target: Outputs) -> TensorDict:
        """The loss over the real steps, weighted, with what `forward` returns beside it."""
        action, mask = self.learned_steps(rows, keys.ACTION, keys.MASK)
        q_tm1 = {key: ops.only_real(ops.of_action(q[key], action), mask) for key in target}
        target = {key: ops.only_real(value, mask) for key, value in target.items()}
        errors = reduce(torch.add, [self.loss_terms(q_tm1[key], target[key]) for key in target])
        weight = rows.get(keys.WEIGHT, None)
        errors = errors if weight is None else errors * weight.unsqueeze(-1)
        found, aim = (self.combine(rows, {k: v.detach() for k, v in x.items()}) for x in (q_tm1, target))
        return TensorDict({"loss": ops.masked_mean(errors, mask), **measures(found, aim, mask)})

    def loss_terms(self, q_tm1: Tensor, target: Tensor) -> Tensor:
        """Loss of each step, [B, T]."""
        delta = self.settings.huber_delta
        return F.huber_loss(q_tm1, target, reduction="none", delta=delta) if delta else 0.5 * (q_tm1 - target) ** 2

    def combine(self, rows: Rows, values: Mapping[str, Tensor]) -> Tensor:
        """Values [B, T] of each stream as what the network would choose by; those of a single one are that."""
        if len(values) == 1:
            return next(iter(values.values()))
        one_action = {key: value.unsqueeze(-1) for key, value in values.items()}
        return self._nets["online"].combine(one_action, self.inputs(rows, BEFORE)).squeeze(-1)


# 7. Priorities: the replay makes them of the |δ| of each step, see `ops.sequence_priority`.


def measures(q_tm1: Tensor, target: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Means over the real steps, and the |δ| of each, from values without gradient; [B, T] each."""
    errors = (q_tm1 - target).abs()
    means = ops.masked_mean(torch.stack((errors, q_tm1, target)), mask)
    return dict(zip(("td_error", "q_mean", "target_mean"), means.unbind(), strict=True)) | {"errors": errors}


class QLoss(ValueLoss):
    """Double, n-step, rescaled."""

    read = AFTER  # of each step

    def selects_online(self) -> bool:
        return self.settings.double

    def stream_targets(self, reward: Tensor, q_target: Tensor, inputs: TargetInputs) -> Tensor:
        """N rewards, then the target network's value of the action chosen."""
        v_t = self.raw(ops.double_q_value(q_target, inputs.selector))
        return ops.n_step_return(reward, inputs.discount, v_t, inputs.continues, self.settings.n_step)
