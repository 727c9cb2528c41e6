"""How stale are the recurrent states that rows are learned from? ΔQ of R2D2 (Kapturowski et al. 2019, section 3)."""

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import torch
from tensordict import TensorDictBase
from torch import Tensor

from modules import keys


@runtime_checkable
class Unroller(Protocol):
    """A loss that starts rows from their burned-in state."""

    burn_in: int
    states: tuple[str, ...]
    values: tuple[str, ...]  # keys of the action values, one for each stream of rewards

    def unroll(self, rows: TensorDictBase, which: Any) -> dict[str, Tensor]:
        """What the network puts out for the learned observations, among it the action values [B, T+1, A]."""
        ...

    def unroll_from(self, rows: TensorDictBase, state: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The same from a given state before the first learned observation."""
        ...

    def state_after(self, rows: TensorDictBase, state: tuple[Tensor, ...], steps: int) -> tuple[Tensor, ...]:
        """The state `steps` learned observations after it, each [B, …]."""
        ...


@torch.no_grad()
def delta_q(history: Iterable[TensorDictBase], loss: Unroller, stride: int, device: torch.device) -> dict[str, float]:
    """Compare values as they are learned with those of an agent that saw the whole episode.

    ΔQ_t = ‖q̂_t − q_t‖₂ / |max_{a,j} q̂_j(a)|, where q̂ starts from the row's stored (or zero) state and its burn-in,
    and q from the zero state at the episode's start, both with the newest weights. Numerator and denominator are
    averaged apart: where values are near 0, the quotient of a single row says nothing.

    Args:
        history: as `SequenceReplay.sample_with_prefix` gives it.
        loss: of the run.
        stride: steps between neighbouring rows.
        device: of the loss.

    Returns:
        ΔQ at the first learned step and at the last real one, over the rows; nothing without rows.
    """
    if not loss.states:
        return {}
    rows, state = None, ()
    for batch in history:
        after = () if rows is None else loss.state_after(rows, state, stride)
        rows = batch.to(device)
        state = tuple(torch.zeros_like(rows[key]) for key in loss.states)  # of the episodes that start here
        for zero, carried in zip(state, after, strict=False):
            zero[: len(carried)] = carried
    if rows is None:
        return {}
    outputs = loss.unroll(rows, "online"), loss.unroll_from(rows, state)
    learned, true = (torch.cat([values[key] for key in loss.values], -1) for values in outputs)
    mask = rows[keys.MASK][:, loss.burn_in :]
    scale = learned[:, :-1].amax(-1).masked_fill(~mask, -torch.inf).amax(1).abs().mean().clamp_min(1e-8)
    distance = (learned - true)[:, :-1].norm(dim=-1) / scale
    last = mask.sum(1) - 1
    return {
        "replay/delta_q_first": distance[:, 0].mean().item(),
        "replay/delta_q_last": distance.gather(1, last.unsqueeze(1)).mean().item(),
    }
