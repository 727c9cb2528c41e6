"""The recurrent Q loss: n-step double Q on rows, both networks unrolled once from the stored state."""

import copy
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from tensordict import TensorDict, TensorDictBase, TensorDictParams
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import Tensor
from torchrl.objectives import LossModule

from modules import keys
from modules.losses import ops
from modules.spec import Spec, spec

State = tuple[Tensor, ...]
Which = Literal["online", "target"]
NonNegative = Annotated[float, Field(ge=0)]


class LossSpec(Spec):
    """Settings of a loss; `build` makes the `LossModule` over the network.

    `tells_errors` says whether its output has the |δ| of every step, which priorities need.
    """

    tells_errors: ClassVar[bool] = False

    def build(self, network: TensorDictSequential, states: tuple[str, ...], burn_in: int) -> LossModule:
        """Make the loss on rows with `burn_in` first steps; it shares the network's parameters, owns the target's."""
        raise NotImplementedError


@spec
class QLossSpec(LossSpec):
    """n-step Q-learning (Watkins 1989; Mnih et al. 2015; Hausknecht & Stone 2015; Kapturowski et al. 2019).

    Attributes:
        gamma: discount per step.
        n_step: steps of reward before the bootstrap; shorter where a row ends.
        double: choose the bootstrap action with the online network (van Hasselt et al. 2016).
        huber_delta: |δ| beyond which the loss is linear; 0 means squared error.
        rescale_eps: ε of the value rescaling h (R2D2, section 2.3); 0 means none.
    """

    tells_errors = True

    gamma: Annotated[float, Field(ge=0, le=1)]
    n_step: Annotated[int, Field(ge=1)]
    double: bool
    huber_delta: NonNegative
    rescale_eps: NonNegative

    def needs(self, run: Any) -> Iterator[str]:
        """The horizon of the target must fit a row."""
        if self.n_step > run.replay.length:
            yield f"loss.n_step={self.n_step} must not exceed replay.length={run.replay.length}"

    def build(self, network: TensorDictSequential, states: tuple[str, ...], burn_in: int) -> LossModule:
        """Make the loss."""
        return QLoss(network, self, states, burn_in)


class QLoss(LossModule):
    """Double, n-step, optionally rescaled Q loss on rows of T steps and T+1 observations, behind `burn_in` more.

    Why not TorchRL's `DQNLoss`: it computes recurrent targets from a zero state (see `loss=torchrl_dqn`).
    """

    value_network: TensorDictModule
    value_network_params: TensorDictParams
    target_value_network_params: TensorDictParams

    def __init__(
        self, network: TensorDictSequential, settings: QLossSpec, states: tuple[str, ...], burn_in: int
    ) -> None:
        super().__init__()
        self.convert_to_functional(network, "value_network", create_target_params=True)
        self.settings = settings
        self.states = states
        self.burn_in = burn_in
        # The functional form swaps parameters in and out at each call; a module that keeps the target's need not.
        target = copy.deepcopy(network).requires_grad_(False)
        parameters = self._modules["target_value_network_params"]  # the attribute would warn of a missing updater
        assert isinstance(parameters, TensorDictParams)
        parameters.to_module(target)
        self._unrolled: dict[str, Any] = {
            "online": network,
            "target": target,
        }  # in a dict: registered once, as parameters above

    def unroll(self, rows: TensorDictBase, which: Which) -> Tensor:
        """Action values of the T+1 learned observations of the rows, [B, T+1, A], from their burned-in state.

        A row at an episode's start has padding where others have burn-in; there the stored state counts.
        """
        state = tuple(rows[key] for key in self.states)
        if self.burn_in and state:
            with torch.no_grad():
                burned = self._state_after(rows, state, slice(0, self.burn_in), which)
            has = rows[keys.MASK][:, 0, None, None]
            state = tuple(torch.where(has, b, s) for b, s in zip(burned, state, strict=True))
        return self.unroll_from(rows, state, which)

    def unroll_from(self, rows: TensorDictBase, state: State, which: Which = "online") -> Tensor:
        """Action values [B, T+1, A] from a given state before the first learned observation."""
        network = self._unrolled[which]
        return network.unroll({key: rows[key][:, self.burn_in :] for key in network.reads}, state)[0]

    def state_after(self, rows: TensorDictBase, state: State, steps: int) -> State:
        """The online network's state `steps` learned observations after `state`."""
        return self._state_after(rows, state, slice(self.burn_in, self.burn_in + steps), "online")

    def _state_after(self, rows: TensorDictBase, state: State, slots: slice, which: Which) -> State:
        network = self._unrolled[which]
        return network.state_after({key: rows[key][:, slots] for key in network.reads}, state)

    def learned(self, rows: TensorDictBase, *wanted: str) -> list[Tensor]:
        """The `wanted` entries [B, burn_in + T] of the rows without their burn-in, [B, T]."""
        return [rows[key][:, self.burn_in :] for key in wanted]

    def targets(self, rows: TensorDictBase, q_online: Tensor, q_target: Tensor) -> Tensor:
        """Targets of the T steps, [B, T], in the network's (rescaled) value space, without gradient."""
        s = self.settings
        reward, terminated, mask = self.learned(rows, keys.REWARD, keys.TERMINATED, keys.MASK)
        select = q_online if s.double else q_target
        v_t = ops.double_q_value(q_target[:, 1:], select[:, 1:].detach())
        if s.rescale_eps:
            v_t = ops.signed_parabolic(v_t, s.rescale_eps)
        continues = torch.cat((mask[:, 1:], torch.zeros_like(mask[:, :1])), 1)
        discount_t = (~terminated).to(v_t.dtype).mul(s.gamma)
        target = ops.n_step_return(reward, discount_t, v_t, continues, s.n_step)
        return ops.signed_hyperbolic(target, s.rescale_eps) if s.rescale_eps else target

    def forward(self, rows: TensorDictBase) -> TensorDict:
        """Loss and measures of one batch of rows.

        Args:
            rows: [B] with S = burn_in + T steps: what the network reads [B, S+1, …], action, reward, terminated,
                mask [B, S], the recurrent state of the first real step [B, layers, H], and, if they were drawn by
                priority, their importance weights [B].

        Returns:
            `loss` (scalar with gradient), the detached scalars td_error, q_mean, target_mean, and `errors`, the
            detached |δ| [B, T].
        """
        action, mask = self.learned(rows, keys.ACTION, keys.MASK)
        q = self.unroll(rows, "online")
        with torch.no_grad():
            target = self.targets(rows, q, self.unroll(rows, "target"))
        q_tm1 = q[:, :-1].gather(-1, action.unsqueeze(-1)).squeeze(-1)
        delta = self.settings.huber_delta
        errors = F.huber_loss(q_tm1, target, reduction="none", delta=delta) if delta else 0.5 * (q_tm1 - target) ** 2
        weight = rows.get(keys.WEIGHT, None)
        if weight is not None:
            errors = errors * weight.unsqueeze(-1)
        with torch.no_grad():
            absolute = (q_tm1 - target).abs()
            td_error = ops.masked_mean(absolute, mask)
            q_mean, target_mean = ops.masked_mean(q_tm1, mask), ops.masked_mean(target, mask)
        return TensorDict(
            {
                "loss": ops.masked_mean(errors, mask),
                "td_error": td_error,
                "q_mean": q_mean,
                "target_mean": target_mean,
                "errors": absolute,
            }
        )
