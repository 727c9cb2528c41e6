"""What losses on rows of action values have in common: unrolling, streams, targets in raw space, measures."""

import copy
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from tensordict import TensorDict, TensorDictBase, TensorDictParams
from tensordict.nn import TensorDictModule, TensorDictModuleBase
from torch import Tensor
from torchrl.objectives import LossModule

from modules import keys
from modules.losses import ops
from modules.losses.measures import VALUE_METRICS
from modules.losses.padding import without_padding
from modules.spec import Spec

State = tuple[Tensor, ...]
Which = Literal["online", "target"]
ALL, BEFORE, LAST, AFTER = slice(None), slice(-1), slice(-1, None), slice(1, None)  # of T+1 observations
NonNegative = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What a loss must know of the rows and the network beside them.

    Attributes:
        states: keys of the recurrent state.
        burn_in: first steps of a row, which are not learned from.
        beta: weight of the intrinsic reward of each arm, [n].
        gamma: discount of each arm, [n].
    """

    states: tuple[str, ...]
    burn_in: int
    beta: Tensor
    gamma: Tensor


class LossSpec(Spec):
    """Settings of a loss; `build` makes the `LossModule` over the network.

    `tells_errors` says whether its output has the |δ| of every step, which priorities need; `splits` whether it can
    learn two streams of rewards; `reads_behaviour` whether rows must have the probability of the action taken;
    `on_policy` whether it learns the policy that acts, and so only from what the newest one has done. The loss itself
    is measured as `metric`.
    """

    tells_errors: ClassVar[bool] = False
    splits: ClassVar[bool] = False
    reads_behaviour: ClassVar[bool] = False
    on_policy: ClassVar[bool] = False
    metric: ClassVar[str] = "loss/q"
    gamma: float

    @property
    def rescaling(self) -> float:
        """ε of the h by which the values that it learns are rescaled; 0 means none."""
        return 0.0

    def build(self, network: TensorDictModuleBase, rows: Rows) -> LossModule:
        """Make the loss; it shares the network's parameters and owns the target's."""
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
        """ε of h."""
        return self.rescale_eps


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What the targets of all streams have in common.

    Attributes:
        action: taken, [B, T].
        discount: γ of the row's arm, or 0 where the step terminated, [B, T].
        continues: True where the next step is in the same row and episode, [B, T].
        choose_by: values by which the policy that is evaluated chooses, of the observations that are `read`, [B, R, A].
        behaviour: probability with which the action was taken, [B, T], if rows have it.
    """

    action: Tensor
    discount: Tensor
    continues: Tensor
    choose_by: Tensor
    behaviour: Tensor | None


class ValueLoss(LossModule):
    """Loss on rows of T steps and T+1 observations, behind `burn_in` more; subclasses say what its targets are.

    A network of two streams learns the environment's rewards with the first and the intrinsic ones with the second; a
    network of one the sum, weighted by the arm's β. Both streams' targets follow one policy, that of the combined
    values (Agent57, section 3.1). Why not TorchRL's `DQNLoss`: it computes recurrent targets from a zero state (see
    `loss=torchrl_dqn`).
    """

    value_network: TensorDictModule
    value_network_params: TensorDictParams
    target_value_network_params: TensorDictParams
    beta: Tensor
    gamma: Tensor
    read: slice  # the observations whose values `stream_targets` reads, R of the T+1

    def __init__(self, network: TensorDictModuleBase, settings: Any, rows: Rows) -> None:
        super().__init__()
        self.convert_to_functional(network, "value_network", create_target_params=True)  # pyright: ignore[reportArgumentType]
        self.settings = settings
        self.states = rows.states
        self.burn_in = rows.burn_in
        device = next(network.parameters()).device
        self.register_buffer("beta", rows.beta.to(device), persistent=False)
        self.register_buffer("gamma", rows.gamma.to(device), persistent=False)
        # The functional form swaps parameters in and out at each call; a module that keeps the target's need not.
        target = copy.deepcopy(network).requires_grad_(False)
        parameters = self._modules["target_value_network_params"]  # the attribute would warn of a missing updater
        assert isinstance(parameters, TensorDictParams)
        parameters.to_module(target)
        self._unrolled: dict[str, Any] = {
            "online": network,
            "target": target,
        }  # in a dict: registered once, as parameters above

    def unroll(self, rows: TensorDictBase, which: Which, part: slice = ALL) -> Tensor:
        """Action values of a `part` of the T+1 learned observations, [B, T+1, A] or [B, T+1, 2, A] of all.

        They are unrolled from their burned-in state. A row at an episode's start has padding where others have burn-in;
        there the stored state counts. Without a recurrent state only the part is computed.
        """
        state = tuple(rows[key] for key in self.states)
        if self.burn_in and state:
            with torch.no_grad():
                burned = self._state_after(rows, state, slice(0, self.burn_in), which)
            has = rows[keys.MASK][:, 0, None, None]
            state = tuple(torch.where(has, b, s) for b, s in zip(burned, state, strict=True))
        return self.unroll_from(rows, state, which, part)

    def unroll_from(self, rows: TensorDictBase, state: State, which: Which = "online", part: slice = ALL) -> Tensor:
        """The same from a given state before the first learned observation."""
        network = self._unrolled[which]
        seen, wanted = (ALL, part) if state else (part, ALL)
        inputs = {key: rows[key][:, self.burn_in :][:, seen] for key in network.reads}
        return network.unroll(inputs, state)[0][:, wanted]

    def state_after(self, rows: TensorDictBase, state: State, steps: int) -> State:
        """The online network's state `steps` learned observations after `state`."""
        return self._state_after(rows, state, slice(self.burn_in, self.burn_in + steps), "online")

    def _state_after(self, rows: TensorDictBase, state: State, slots: slice, which: Which) -> State:
        network = self._unrolled[which]
        return network.state_after({key: rows[key][:, slots] for key in network.reads}, state)

    def learned(self, rows: TensorDictBase, *wanted: str) -> list[Tensor]:
        """The `wanted` entries [B, burn_in + T] of the rows without their burn-in, [B, T]."""
        return [rows[key][:, self.burn_in :] for key in wanted]

    def combined(self, rows: TensorDictBase, values: Tensor, part: slice = ALL) -> Tensor:
        """What the network chooses actions by, from its values of that `part` of the learned observations."""
        network = self._unrolled["online"]
        return network.combined(values, {key: rows[key][:, self.burn_in :][:, part] for key in network.reads})

    def arms(self, rows: TensorDictBase) -> tuple[Tensor, Tensor]:
        """β and γ of each row, [B, 1]; where rows have no arm there is only one, [1]."""
        arm = rows.get(keys.ARM, None)
        return (self.beta, self.gamma) if arm is None else (self.beta[arm[:, :1]], self.gamma[arm[:, :1]])

    def rewards(self, rows: TensorDictBase, beta: Tensor, *, split: bool) -> list[Tensor]:
        """The reward [B, T] of each stream."""
        if rows.get(keys.INTRINSIC, None) is None:
            return self.learned(rows, keys.REWARD)
        extrinsic, intrinsic = self.learned(rows, keys.REWARD, keys.INTRINSIC)
        return [extrinsic, intrinsic] if split else [extrinsic + beta * intrinsic]

    def raw(self, values: Tensor) -> Tensor:
        """Values before the rescaling h."""
        eps = self.settings.rescale_eps
        return ops.signed_parabolic(values, eps) if eps else values

    def chooses_online(self) -> bool:
        """Whether the evaluated policy chooses by the online network's combined values, or by the target's."""
        raise NotImplementedError

    def online_values(self, rows: TensorDictBase) -> tuple[Tensor, Tensor | None]:
        """Values of the T steps' own observations, with gradient, and of those that are `read`, if they are chosen by.

        A feed-forward network needs no gradient of the last observation, which in rows of one step is half of the work.
        """
        if self.states:
            q = self.unroll(rows, "online")
            return q[:, :-1], q[:, self.read].detach() if self.chooses_online() else None
        q = self.unroll(rows, "online", BEFORE)
        if not self.chooses_online():
            return q, None
        with torch.no_grad():
            last = self.unroll(rows, "online", LAST)
        return q, torch.cat((q.detach(), last), 1)[:, self.read]

    def stream_targets(self, reward: Tensor, q_target: Tensor, steps: Steps) -> Tensor:
        """Raw targets [B, T] of one stream from its reward [B, T] and its target network's values that are `read`."""
        raise NotImplementedError

    def targets(self, rows: TensorDictBase, q_online: Tensor | None, q_target: Tensor) -> Tensor:
        """Targets of the T steps, [B, T] or [B, T, 2], in the network's (rescaled) value space, without gradient.

        Both networks' values are those of the observations that are `read`.
        """
        beta, gamma = self.arms(rows)
        action, mask, terminated = self.learned(rows, keys.ACTION, keys.MASK, keys.TERMINATED)
        behaviour = rows.get(keys.BEHAVIOUR, None)
        split = q_target.ndim > action.ndim + 1
        steps = Steps(
            action=action,
            discount=(~terminated).to(q_target.dtype) * gamma,
            continues=torch.cat((mask[:, 1:], torch.zeros_like(mask[:, :1])), 1),
            choose_by=self.combined(rows, q_target if q_online is None else q_online, self.read),
            behaviour=None if behaviour is None else behaviour[:, self.burn_in :],
        )
        streams = q_target.unbind(-2) if split else (q_target,)
        rewards = self.rewards(rows, beta, split=split)
        found = [self.stream_targets(r, q, steps) for r, q in zip(rewards, streams, strict=True)]
        target = torch.stack(found, -1) if split else found[0]
        eps = self.settings.rescale_eps
        return ops.signed_hyperbolic(target, eps) if eps else target

    def forward(self, rows: TensorDictBase) -> TensorDict:
        """Loss and measures of one batch of rows.

        Args:
            rows: [B] with S = burn_in + T steps: what the network reads [B, S+1, …], action, reward, terminated,
                mask [B, S], the recurrent state of the first real step [B, layers, H], and, where there are such,
                intrinsic reward and probability of the action [B, S], and importance weights [B].

        Returns:
            `loss` (scalar with gradient), the detached scalars td_error, q_mean, target_mean, and `errors`, the
            detached |δ| [B, T]; of two streams, loss is their sum and everything else that of their combination. What
            stands in padding changes none of them, and no gradient.
        """
        rows = without_padding(rows, self._unrolled["online"].reads, self.states)
        action, mask = self.learned(rows, keys.ACTION, keys.MASK)
        q, chosen_by = self.online_values(rows)
        with torch.no_grad():
            target = self.targets(rows, chosen_by, self.unroll(rows, "target", self.read))
        split = target.ndim > mask.ndim
        index = action[..., None, None].expand(*target.shape, 1) if split else action.unsqueeze(-1)
        real = mask.unsqueeze(-1) if split else mask
        q_tm1, target = (torch.where(real, x, 0) for x in (q.gather(-1, index).squeeze(-1), target))
        delta = self.settings.huber_delta
        errors = F.huber_loss(q_tm1, target, reduction="none", delta=delta) if delta else 0.5 * (q_tm1 - target) ** 2
        errors = errors.sum(-1) if split else errors
        weight = rows.get(keys.WEIGHT, None)
        if weight is not None:
            errors = errors * weight.unsqueeze(-1)
        if split:
            of_action = (x.unsqueeze(-1) for x in (q_tm1.detach(), target))
            q_tm1, target = (self.combined(rows, x, BEFORE).squeeze(-1) for x in of_action)
        return TensorDict({"loss": ops.masked_mean(errors, mask), **measures(q_tm1.detach(), target, mask)})


def measures(q_tm1: Tensor, target: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Means over the real steps, and the |δ| of each, from values without gradient; [B, T] each."""
    errors = (q_tm1 - target).abs()
    means = ops.masked_mean(torch.stack((errors, q_tm1, target)), mask)
    return dict(zip(("td_error", "q_mean", "target_mean"), means.unbind(), strict=True)) | {"errors": errors}
