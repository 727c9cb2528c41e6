"""Rows that an actor cuts, and their first priority, from the values that it had while acting."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from modules import keys
from modules.losses import ops
from modules.replay.rows import SequenceBuilder, SequenceSchema

VALUES = (keys.ACTED_VALUE, keys.GREEDY_VALUE)


@dataclass(frozen=True, kw_only=True)
class FirstErrors:
    """The |δ| of rows that no network has learned from yet (Ape-X, Horgan et al. 2018, section 3; R2D2, section 2.3).

    It is that of n-step Q-learning, with the values by which the actor chose in the place of both networks'. The value
    of the observation after a row's last step is not known yet, unless the episode terminated there: targets bootstrap
    one step earlier, and the last step has no error.

    Attributes:
        n_step: steps of reward before the bootstrap, or fewer where the row ends.
        rescale_eps: ε of the h by which values are rescaled; 0 means none.
        beta: weight of the intrinsic reward of each arm, [n].
        gamma: discount of each arm, [n].
        burn_in: first steps of a row, which are not learned from.
    """

    n_step: int
    rescale_eps: float
    beta: Tensor
    gamma: Tensor
    burn_in: int

    def __call__(self, rows: TensorDictBase) -> tuple[Tensor, Tensor]:
        """|δ| of the learned steps of `rows` [R], [R, T], and which of them are known, [R, T]."""
        acted, greedy, reward, terminated, mask = (
            rows[key][:, self.burn_in :]
            for key in (keys.ACTED_VALUE, keys.GREEDY_VALUE, keys.REWARD, keys.TERMINATED, keys.MASK)
        )
        last = torch.zeros_like(mask[:, :1])
        known = mask & (torch.cat((mask[:, 1:], last), 1) | terminated)
        v_t = torch.cat((greedy[:, 1:], torch.zeros_like(greedy[:, :1])), 1)
        v_t = torch.where(terminated, 0, v_t)
        eps = self.rescale_eps
        beta, gamma = self._of_arm(rows, self.beta), self._of_arm(rows, self.gamma)
        if (intrinsic := rows.get(keys.INTRINSIC, None)) is not None:
            reward = reward + beta * intrinsic[:, self.burn_in :]
        target = ops.n_step_return(
            reward,
            (~terminated).to(reward.dtype) * gamma,
            ops.signed_parabolic(v_t, eps) if eps else v_t,
            torch.cat((known[:, 1:], last), 1),
            self.n_step,
        )
        errors = ((ops.signed_hyperbolic(target, eps) if eps else target) - acted).abs()
        known &= errors.isfinite()
        return torch.where(known, errors, 0), known

    @staticmethod
    def _of_arm(rows: TensorDictBase, values: Tensor) -> Tensor:
        """What the arm of each row has, [R, 1]; [1] where there is only one."""
        arm = rows.get(keys.ARM, None)
        return values if arm is None else values[arm].unsqueeze(1)


class ActorRows:
    """Cuts an actor's batches into rows.

    Args:
        schema: of the rows.
        errors: their |δ| and which of these are known.
        priority: of rows [R] with these |δ| [R, T], as far as they are known, [R, T]; None: rows have none.
    """

    def __init__(
        self, schema: SequenceSchema, errors: FirstErrors, priority: Callable[[Tensor, Tensor], Tensor] | None
    ) -> None:
        values = VALUES if priority is not None else ()
        self._builder = SequenceBuilder(replace(schema, step_keys=(*schema.step_keys, *values)))
        self._errors, self._priority = errors, priority

    def push(self, batch: TensorDictBase) -> TensorDict:
        """Take in a batch [N, T]; return the rows that it completed, [R].

        Their priority is NaN where no error is known.
        """
        rows = self._builder.push(batch)
        if self._priority is None:
            return rows
        errors, known = self._errors(rows)
        found = torch.where(known.any(1), self._priority(errors, known), torch.nan)
        return rows.set(keys.PRIORITY, found).exclude(*VALUES)
