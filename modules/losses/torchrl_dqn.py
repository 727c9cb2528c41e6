"""TorchRL's own `DQNLoss` on our rows, for comparison only: its recurrent targets are wrong."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictSequential
from torchrl.modules import QValueModule
from torchrl.objectives import DQNLoss, LossModule

from modules import keys
from modules.keys import Rows
from modules.losses.base import LossContext, LossSpec
from modules.losses.measures import LOSS, TD_ERROR
from modules.losses.padding import without_padding
from modules.spec import RunConfig, Share, spec


@spec
class TorchrlDqnSpec(LossSpec):
    """One-step Q-learning by TorchRL 0.14.1.

    Known flaw: the targets are computed from a zero recurrent state at the row's second observation, because the
    online pass overwrites the stored next state and the target pass begins without one. A memory whose content
    matters at the row's start gets targets from an agent that has forgotten it; `loss=q` has no such step.

    Attributes:
        gamma: discount per step.
        double: choose the bootstrap action with the online network.
        loss_function: TorchRL's name of the error's shape.
    """

    metrics = (LOSS, TD_ERROR)
    names_of_torchrl = True

    gamma: Share
    double: bool
    loss_function: Literal["smooth_l1", "l2", "l1"]

    def needs(self, run: RunConfig) -> Iterator[str]:
        """It unrolls rows from their first step, and passes on observations only."""
        if run.replay.burn_in:
            yield "loss=torchrl_dqn has no burn-in: set replay.burn_in=0"
        if run.network.inputs.reads:
            yield "loss=torchrl_dqn passes no further inputs: use network/inputs=none"
        if run.intrinsic.rewards or run.spaces.n_arms > 1:
            yield "loss=torchrl_dqn knows no intrinsic reward and no arms: use loss=q or loss=retrace"

    def build(self, context: LossContext) -> LossModule:
        return TorchrlDqn(context.network, self)


class TorchrlDqn(DQNLoss):
    """`DQNLoss` that is given rows of T steps and T+1 observations as T transitions."""

    def __init__(self, network: Any, settings: TorchrlDqnSpec) -> None:
        policy = TensorDictSequential([*network.tensordict_module(), QValueModule(action_space="categorical")])
        super().__init__(
            policy,
            loss_function=settings.loss_function,
            delay_value=True,
            double_dqn=settings.double,
            action_space="categorical",
        )
        self.make_value_estimator(gamma=settings.gamma)
        self._states = network.states

    def forward(self, rows: TensorDictBase) -> TensorDict:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Loss of rows [B] as the sequence replay yields them; returns `loss` and the mean |δ| as `td_error`."""
        transitions = as_transitions(without_padding(rows, (keys.OBSERVATION,), self._states), self._states)
        loss = super().forward(transitions)["loss"]
        error = transitions["td_error"].reshape(rows[keys.MASK].shape).sqrt()  # TorchRL stores δ²
        return TensorDict({"loss": loss, "td_error": error[rows[keys.MASK]].mean().detach()})


def as_transitions(rows: Rows, states: tuple[str, ...]) -> TensorDict:
    """Write rows [B] of T steps as the transitions [B, T] that TorchRL's losses read."""
    observation, mask = rows[keys.OBSERVATION], rows[keys.MASK]
    batch = mask.shape
    no = torch.zeros(*batch, 1, dtype=torch.bool, device=mask.device)
    ends = rows[keys.TERMINATED].unsqueeze(-1)
    state = {key: torch.repeat_interleave(rows[key].unsqueeze(1), batch[1], 1) for key in states}
    return TensorDict(
        {
            keys.OBSERVATION: observation[:, :-1],
            keys.ACTION: rows[keys.ACTION],
            keys.IS_INIT: no,
            ("collector", "mask"): mask,
            "next": {
                keys.OBSERVATION: observation[:, 1:],
                keys.REWARD: rows[keys.REWARD].unsqueeze(-1),
                keys.TERMINATED: ends,
                keys.DONE: ends,
                keys.IS_INIT: no,
            },
            **state,
        },
        batch_size=batch,
    )
