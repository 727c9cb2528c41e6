"""Equations of the losses as pure functions; time-indexed, batch first.

A row has T steps and T+1 observations: `r_t[:, t]` follows the action at step t, and `v_t[:, t]` is the
value of the observation that this step led to.
"""

import torch
from torch import Tensor


def signed_hyperbolic(x: Tensor, eps: float) -> Tensor:
    """Squash values: h(x) = sign(x)(√(|x|+1) − 1) + εx (Pohlen et al. 2018; R2D2, section 2.3)."""
    return x.sign() * ((x.abs() + 1).sqrt() - 1) + eps * x


def signed_parabolic(x: Tensor, eps: float) -> Tensor:
    """Invert `signed_hyperbolic` (Pohlen et al. 2018, proposition A.2, with the square that NGU drops).

    Evaluated in float64: near 0 the difference loses half its digits in float32.
    """
    wide = x.double()
    root = (1 + 4 * eps * (wide.abs() + 1 + eps)).sqrt()
    return (wide.sign() * (((root - 1) / (2 * eps)).square() - 1)).to(x.dtype)


def double_q_value(q_target_t: Tensor, q_online_t: Tensor) -> Tensor:
    """Value of the online network's greedy action under the target network (van Hasselt et al. 2016).

    Args:
        q_target_t: target network, [..., A].
        q_online_t: online network, [..., A].

    Returns:
        [...]
    """
    return q_target_t.gather(-1, q_online_t.argmax(-1, keepdim=True)).squeeze(-1)


def n_step_return(r_t: Tensor, discount_t: Tensor, v_t: Tensor, continues: Tensor, n: int) -> Tensor:
    """n-step bootstrapped returns on rows, with a shorter horizon where the row ends earlier.

    G_t = r_t + γ_t r_{t+1} + … + (γ_t … γ_{t+m-1}) v_{t+m}, where m = n or the number of steps left in the row.
    A terminal step has discount 0; a truncated one keeps γ and bootstraps from its real final observation.

    Args:
        r_t: rewards, [B, T].
        discount_t: γ, or 0 where the step terminated, [B, T].
        v_t: bootstrap value of the observation after each step, [B, T].
        continues: True where the next step is in the same row and episode, [B, T]; the last column is not read.
        n: number of steps, ≥ 1.

    Returns:
        [B, T]. Source: Sutton & Barto (2018), section 7.1; used by R2D2 with n = 5.
    """
    g_t = r_t + discount_t * v_t
    for _ in range(n - 1):
        ahead = torch.where(continues[:, :-1], g_t[:, 1:], v_t[:, :-1])
        g_t = r_t + discount_t * torch.cat((ahead, v_t[:, -1:]), 1)
    return g_t


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of `x` over the real steps; padded entries get no gradient, not even from a NaN."""
    return torch.where(mask, x, 0).sum() / mask.sum()


def sequence_priority(td_errors: Tensor, mask: Tensor, eta: float) -> Tensor:
    """Priority of each row: η · max + (1 − η) · mean of |δ| over its learned steps.

    Args:
        td_errors: δ, [B, T]; not read where `mask` is False.
        mask: True on learned steps, False on burn-in and padding, [B, T].
        eta: share of the maximum, 0 … 1.

    Returns:
        [B], ≥ 0; 0 for a row without any learned step. Source: R2D2, section 2.3, with η = 0.9.
    """
    size = torch.where(mask, td_errors, 0).abs()
    mean = size.sum(-1) / mask.sum(-1).clamp_min(1)
    return eta * size.amax(-1) + (1 - eta) * mean
